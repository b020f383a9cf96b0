"""Breakout: a ball that is kept in play with a paddle breaks bricks."""

from typing import Any

import tensorflow as tf

from mtq.dynamics.fields import Fields
from mtq.dynamics.minatar.board import LAST, LEFT, RIGHT, SIZE, Game, draw, moved, number, side


class Breakout(Game):
    """A ball moves diagonally. It breaks bricks for a reward of 1 each, and must not pass the paddle on the lowest row.

    Channels: paddle, ball, trail of the ball, bricks.
    """

    observation_shape = (SIZE, SIZE, 4)
    # `right` and `down` are the ball's direction, each −1 or 1. `met` is 1 if the ball met a brick in the last frame.
    fields = Fields(
        ball_x=(), ball_y=(), right=(), down=(), trail_x=(), trail_y=(), paddle=(), met=(), bricks=(3, SIZE)
    )

    def initial_state(self, random: tf.Tensor) -> tf.Tensor:
        """Returns three rows of bricks, and the ball on the left or right side."""
        x, right = side(random[:, 0])
        return self.fields.fill(
            random.shape[0], ball_x=x, ball_y=3.0, right=right, down=1.0, trail_x=x, trail_y=3.0, paddle=4.0, bricks=1.0
        )

    def step(self, state: tf.Tensor, action: tf.Tensor, random: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor, tf.Tensor]:
        """Moves the paddle and the ball."""
        s = self.fields.unpack(state)
        s.paddle = moved(s.paddle, action, LEFT, RIGHT)
        s.trail_x, s.trail_y = s.ball_x, s.ball_y
        x, y = s.ball_x + s.right, s.ball_y + s.down
        s.right = tf.where((x < 0) | (x > LAST), -s.right, s.right)
        x = tf.clip_by_value(x, 0.0, LAST)
        # What the ball meets: the top, else a brick, else the lowest row, else nothing.
        is_above = y < 0
        cell = draw(x, y)[:, 1:4]  # of the rows of bricks
        meets = ~is_above & (tf.reduce_sum(cell * s.bricks, axis=[1, 2]) > 0)
        is_low = ~is_above & ~meets & (y == LAST)
        breaks = meets & (s.met == 0)  # a ball that met a brick in the last frame passes through this one
        is_cleared = is_low & (tf.reduce_sum(s.bricks, axis=[1, 2]) == 0)
        s.bricks = tf.where(is_cleared[:, None, None], 1.0, s.bricks - cell * number(breaks)[:, None, None])
        hits_old = is_low & (s.paddle == s.ball_x)
        hits_new = is_low & ~hits_old & (s.paddle == x)
        terminated = is_low & ~hits_old & ~hits_new
        bounces = breaks | hits_old | hits_new
        y = tf.where(is_above, 0.0, tf.where(bounces, s.ball_y, y))
        s.down = tf.where(is_above | bounces, -s.down, s.down)
        s.right = tf.where(hits_new, -s.right, s.right)
        s.ball_x, s.ball_y, s.met = x, y, meets
        return self.fields.pack(s), number(breaks), terminated

    def channels(self, s: Any) -> list[tf.Tensor]:
        """Returns the images of the paddle, the ball, its trail and the bricks."""
        bricks = tf.pad(s.bricks, [[0, 0], [1, SIZE - 4], [0, 0]])
        return [draw(s.paddle, LAST), draw(s.ball_x, s.ball_y), draw(s.trail_x, s.trail_y), bricks]
