"""The board of MinAtar's games: its size, the actions, and the drawing of images."""

import abc
from typing import Any

import tensorflow as tf

from mtq.dynamics.dynamics import Dynamics
from mtq.dynamics.fields import Entities, Fields

SIZE = 10  # rows and columns
LAST = SIZE - 1.0
NOTHING, LEFT, UP, RIGHT, DOWN, FIRE = range(6)


class Game(Dynamics, abc.ABC):
    """A game of MinAtar without sticky actions. `mtq.dynamics.Sticky` adds them.

    An observation is a binary image `[10, 10, channels]`. A column x counts from the left, and a row y from the top.

    Args:
        difficulty_ramping: Whether the game becomes harder over time.
        max_episode_steps: The number of frames after which an episode is truncated; None for the game's own limit.

    Attributes:
        fields: The fields of the state.
    """

    fields: Fields
    observation_dtype = "uint8"
    observation_high = 1.0
    num_actions = 6

    def __init__(self, difficulty_ramping: bool = True, max_episode_steps: int | None = None) -> None:
        super().__init__(max_episode_steps)
        self.difficulty_ramping = difficulty_ramping

    def observe(self, state: tf.Tensor) -> tf.Tensor:
        """Returns the images of states, `[N, 10, 10, channels]` uint8."""
        return tf.cast(tf.stack(self.channels(self.fields.unpack(state)), axis=-1), tf.uint8)

    @abc.abstractmethod
    def channels(self, s: Any) -> list[tf.Tensor]:
        """Returns the channels of the images, each `[N, 10, 10]` float32, 1 where something is and 0 elsewhere.

        Args:
            s: The fields of the states.
        """


def number(condition: tf.Tensor) -> tf.Tensor:
    """Returns 1 where a condition is true and 0 elsewhere, float32."""
    return tf.cast(condition, tf.float32)


def coin(random: tf.Tensor) -> tf.Tensor:
    """Returns the tosses of a fair coin, bool, for uniform random numbers of any shape."""
    return random < 0.5


def side(random: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
    """Returns the column of a random side, and the direction away from it, −1 or 1, float32.

    Args:
        random: Uniform random numbers, `[N]` float32.
    """
    is_left = coin(random)
    return tf.where(is_left, 0.0, LAST), tf.where(is_left, 1.0, -1.0)


def shorten_intervals(s: Any, where: tf.Tensor, least_move_interval: float) -> None:
    """Increases the difficulty: spawns come more often and, every second time, things move faster.

    Args:
        s: The fields of the states, of which `spawn_interval`, `move_interval` and `ramps` are changed.
        where: Whether the difficulty increases in a copy, `[N]` bool.
        least_move_interval: The shortest interval of moves, in frames. That of spawns is 1.
    """
    is_odd = tf.math.floormod(s.ramps, 2.0) == 1
    s.move_interval -= number(where & is_odd & (s.move_interval > least_move_interval))
    s.spawn_interval -= number(where & (s.spawn_interval > 1))
    s.ramps += number(where)


def choice(random: tf.Tensor, first: float, last: float) -> tf.Tensor:
    """Returns uniform whole numbers from `first` to `last`, float32, for uniform random numbers of any shape."""
    return tf.minimum(first + tf.floor(random * (last + 1 - first)), last)


def moved(x: tf.Tensor, action: tf.Tensor, less: int, more: int, least: float = 0.0, most: float = LAST) -> tf.Tensor:
    """Returns the coordinate after an action, kept within bounds.

    Args:
        x: The coordinate, `[N]` float32.
        action: The actions, `[N]` int32.
        less: The action that decreases the coordinate by 1.
        more: The action that increases it by 1.
        least: The smallest coordinate.
        most: The largest coordinate.

    Returns:
        The coordinate, `[N]` float32.
    """
    return tf.clip_by_value(x + number(action == more) - number(action == less), least, most)


def is_off(x: tf.Tensor) -> tf.Tensor:
    """Returns whether a column is outside the board."""
    return (x < 0) | (x > LAST)


def draw(x: tf.Tensor, y: tf.Tensor) -> tf.Tensor:
    """Returns an image of one cell, `[N, 10, 10]` float32. It is empty if the cell is outside the board.

    Args:
        x: The columns, `[N]` float32.
        y: The rows, `[N]` float32, or one number.
    """
    cells = tf.range(float(SIZE))
    rows = number(cells == tf.convert_to_tensor(y, tf.float32)[..., None])
    return rows[..., :, None] * number(cells == x[:, None])[:, None, :]


def draw_all(x: tf.Tensor, y: tf.Tensor, shown: tf.Tensor) -> tf.Tensor:
    """Returns an image of several cells, `[N, 10, 10]` float32. Cells outside the board are not shown.

    Args:
        x: The columns, `[N, K]` float32.
        y: The rows, `[N, K]` or `[K]` float32.
        shown: Whether each cell is shown, `[N, K]` bool.
    """
    cells = tf.range(float(SIZE))
    rows = number((cells == y[..., None]) & shown[..., None])  # [N, K, 10]
    columns = number(cells == x[..., None])
    return tf.minimum(tf.reduce_sum(rows[..., :, None] * columns[..., None, :], axis=1), 1.0)


def is_at(entities: Entities, x: tf.Tensor, y: tf.Tensor) -> tf.Tensor:
    """Returns which entities are in a cell, `[N, K]` bool.

    Args:
        entities: The entities, with the features `x` and `y`.
        x: The column of the cell, `[N]` float32.
        y: The row of the cell, `[N]` float32.
    """
    return entities.alive & (entities.x == x[:, None]) & (entities.y == y[:, None])
