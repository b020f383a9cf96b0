"""Freeway: a chicken crosses a road with eight lanes of traffic."""

from typing import Any

import numpy as np
import tensorflow as tf

from mtq.dynamics.fields import Fields
from mtq.dynamics.minatar.board import DOWN, LAST, SIZE, UP, Game, choice, coin, draw, draw_all, moved, number

_CARS = 8  # one in each of the rows 1 to 8
_COLUMN = 4.0  # of the chicken
_PAUSE = 3.0  # frames from one move of the chicken to the next
_ROWS = np.arange(1.0, _CARS + 1, dtype=np.float32)


class Freeway(Game):
    """A chicken walks up and down a column. It gets a reward of 1 at the top, and cars send it back to the start.

    Channels: chicken, cars, and for each speed from 1 to 5 the cell behind a car of that speed.

    The game never becomes harder. Its limit of 2,500 frames is a time limit, past which values are bootstrapped,
    because the images do not show the time. The DQN of the paper treats it as a terminal.
    """

    observation_shape = (SIZE, SIZE, 7)
    num_random = 2 * _CARS
    max_episode_steps = 2_500
    # A car moves by 1 in the direction of its velocity's sign whenever its timer is 0; the timer then starts at the
    # velocity's absolute value.
    fields = Fields(chicken=(), pause=(), x=(_CARS,), velocity=(_CARS,), timer=(_CARS,))

    def initial_state(self, random: tf.Tensor) -> tf.Tensor:
        """Returns the chicken at the bottom, and cars of random velocities in the first column."""
        velocity = self._velocities(random)
        return self.fields.fill(random.shape[0], chicken=LAST, pause=_PAUSE, velocity=velocity, timer=tf.abs(velocity))

    def step(self, state: tf.Tensor, action: tf.Tensor, random: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor, tf.Tensor]:
        """Moves the chicken and the cars."""
        s = self.fields.unpack(state)
        moves = (s.pause == 0) & ((action == UP) | (action == DOWN))
        s.chicken = tf.where(moves, moved(s.chicken, action, UP, DOWN), s.chicken)
        s.pause = tf.maximum(tf.where(moves, _PAUSE, s.pause) - 1, 0.0)
        arrives = s.chicken == 0
        s.chicken = tf.where(arrives, LAST, s.chicken)
        velocity = self._velocities(random)
        s.velocity = tf.where(arrives[:, None], velocity, s.velocity)
        s.timer = tf.where(arrives[:, None], tf.abs(velocity), s.timer)
        drives = s.timer == 0
        x = tf.where(drives, tf.math.floormod(s.x + tf.sign(s.velocity), float(SIZE)), s.x)
        s.timer = tf.where(drives, tf.abs(s.velocity), s.timer - 1)
        is_hit = (s.chicken[:, None] == _ROWS) & ((s.x == _COLUMN) | (x == _COLUMN))
        s.chicken = tf.where(tf.reduce_any(is_hit, axis=1), LAST, s.chicken)
        s.x = x
        return self.fields.pack(s), number(arrives), tf.zeros_like(arrives)

    def channels(self, s: Any) -> list[tf.Tensor]:
        """Returns the images of the chicken, the cars and, for each speed, the cells behind cars of that speed."""
        behind = tf.math.floormod(s.x - tf.sign(s.velocity), float(SIZE))
        speeds = [draw_all(behind, _ROWS, tf.abs(s.velocity) == speed) for speed in range(1, 6)]
        chicken = draw(tf.fill(tf.shape(s.chicken), _COLUMN), s.chicken)
        return [chicken, draw_all(s.x, _ROWS, tf.ones_like(s.x, tf.bool)), *speeds]

    def _velocities(self, random: tf.Tensor) -> tf.Tensor:
        speed = choice(random[:, :_CARS], 1.0, 5.0)
        return tf.where(coin(random[:, _CARS:]), -speed, speed)
