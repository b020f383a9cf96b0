"""Space Invaders: a cannon shoots at rows of aliens that come closer."""

from typing import Any

import numpy as np
import tensorflow as tf

from mtq.dynamics.fields import Fields
from mtq.dynamics.minatar.board import FIRE, LAST, LEFT, RIGHT, SIZE, Game, draw, moved, number

_START = np.zeros((SIZE, SIZE), np.float32)
_START[:4, 2:8] = 1.0
_COLUMNS = np.arange(float(SIZE), dtype=np.float32)
_SHOT, _ALIEN_SHOT = 5.0, 10.0  # frames from one shot to the next
_FASTEST = 6.0  # the shortest move interval that the difficulty leads to


class SpaceInvaders(Game):
    """Aliens move sideways, come down at the edges and shoot. Each alien that is shot gives a reward of 1.

    Channels: cannon, aliens, aliens while they move to the left, aliens while they move to the right, bullets of the
    cannon, bullets of the aliens.
    """

    observation_shape = (SIZE, SIZE, 6)
    num_random = 0
    # Intervals and timers are in frames. `direction` of the aliens is −1 or 1. A board is 1 where something is.
    fields = Fields(
        cannon=(),
        shot_timer=(),
        direction=(),
        move_interval=(),
        move_timer=(),
        alien_shot_timer=(),
        bullets=(SIZE, SIZE),
        alien_bullets=(SIZE, SIZE),
        aliens=(SIZE, SIZE),
    )

    def initial_state(self, random: tf.Tensor) -> tf.Tensor:
        """Returns four rows of aliens that move to the left."""
        return self.fields.fill(
            random.shape[0],
            cannon=5.0,
            direction=-1.0,
            move_interval=12.0,
            move_timer=12.0,
            alien_shot_timer=_ALIEN_SHOT,
            aliens=_START,
        )

    def step(self, state: tf.Tensor, action: tf.Tensor, random: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor, tf.Tensor]:
        """Moves the cannon, the bullets and, at their intervals, the aliens."""
        s = self.fields.unpack(state)
        fires = (action == FIRE) & (s.shot_timer == 0)
        s.shot_timer = tf.maximum(tf.where(fires, _SHOT, s.shot_timer) - 1, 0.0)
        s.cannon = moved(s.cannon, action, LEFT, RIGHT)
        column = number(s.cannon[:, None] == _COLUMNS)  # [N, 10], of the cannon
        none = tf.zeros_like(column)[:, None]
        fired = s.bullets[:, 9:] + (column * number(fires)[:, None])[:, None]
        s.bullets = tf.concat([s.bullets[:, 1:9], fired, none], axis=1)
        s.alien_bullets = tf.concat([none, s.alien_bullets[:, :9]], axis=1)
        terminated = _hits(s.alien_bullets, column) | _hits(s.aliens, column)
        terminated |= self._move(s, column)
        self._shoot(s)
        killed = s.aliens * s.bullets
        s.aliens -= killed
        s.bullets -= killed
        s.move_timer -= 1
        s.alien_shot_timer -= 1
        self._refill(s)
        return self.fields.pack(s), tf.reduce_sum(killed, axis=[1, 2]), terminated

    def channels(self, s: Any) -> list[tf.Tensor]:
        """Returns the images of the cannon, the aliens, the aliens by direction, and the bullets of both sides."""
        is_left = number(s.direction < 0)[:, None, None]
        return [
            draw(s.cannon, LAST),
            s.aliens,
            s.aliens * is_left,
            s.aliens * (1 - is_left),
            s.bullets,
            s.alien_bullets,
        ]

    def _move(self, s: Any, column: tf.Tensor) -> tf.Tensor:
        """Moves the aliens when it is time. Returns whether they reach the cannon or the lowest row."""
        moves = s.move_timer == 0
        count = tf.reduce_sum(s.aliens, axis=[1, 2])
        s.move_timer = tf.where(moves, tf.minimum(count, s.move_interval), s.move_timer)
        is_left = s.direction < 0
        at_edge = tf.where(is_left, tf.reduce_sum(s.aliens[:, :, 0], axis=1), tf.reduce_sum(s.aliens[:, :, 9], axis=1))
        turns = moves & (at_edge > 0)
        is_low = turns & (tf.reduce_sum(s.aliens[:, 9], axis=1) > 0)
        sideways = tf.where(is_left[:, None, None], tf.roll(s.aliens, -1, axis=2), tf.roll(s.aliens, 1, axis=2))
        s.aliens = tf.where((moves & ~turns)[:, None, None], sideways, s.aliens)
        s.aliens = tf.where(turns[:, None, None], tf.roll(s.aliens, 1, axis=1), s.aliens)
        s.direction = tf.where(turns, -s.direction, s.direction)
        return is_low | (moves & _hits(s.aliens, column))

    def _shoot(self, s: Any) -> None:
        """Lets the lowest alien of the column nearest to the cannon shoot when it is time."""
        shoots = s.alien_shot_timer == 0
        s.alien_shot_timer = tf.where(shoots, _ALIEN_SHOT, s.alien_shot_timer)
        distance = tf.abs(_COLUMNS - s.cannon[:, None]) + 0.5 * number(s.cannon[:, None] < _COLUMNS)  # left goes first
        occupied = tf.reduce_any(s.aliens > 0, axis=1)
        nearest = tf.one_hot(tf.argmin(tf.where(occupied, distance, 100.0), axis=1), SIZE)  # [N, 10]
        in_column = tf.reduce_sum(s.aliens * nearest[:, None], axis=2)  # [N, 10], of the rows
        below = tf.cumsum(in_column, axis=1, reverse=True, exclusive=True)
        lowest = in_column * number(below == 0)
        shot = lowest[:, :, None] * nearest[:, None] * number(shoots)[:, None, None]
        s.alien_bullets = tf.maximum(s.alien_bullets, shot)

    def _refill(self, s: Any) -> None:
        """Brings new aliens when none is left, which move faster if the difficulty increases."""
        is_cleared = tf.reduce_sum(s.aliens, axis=[1, 2]) == 0
        if self.difficulty_ramping:
            s.move_interval -= number(is_cleared & (s.move_interval > _FASTEST))
        s.aliens = tf.where(is_cleared[:, None, None], _START, s.aliens)


def _hits(board: tf.Tensor, column: tf.Tensor) -> tf.Tensor:
    """Returns whether something of a board is in the cannon's cell, `[N]` bool."""
    return tf.reduce_sum(board[:, 9] * column, axis=1) > 0
