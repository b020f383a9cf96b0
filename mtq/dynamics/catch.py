"""Catch: the task of catching a falling ball."""

import tensorflow as tf

from mtq.dynamics.dynamics import Dynamics


class Catch(Dynamics):
    """A ball falls from a random column of a small board; a paddle on the lowest row moves left, stays, or moves right.

    The reward is 1 if the paddle is below the ball when it lands, and −1 if not. An episode has `rows − 1` steps.

    Args:
        rows: The number of rows of the board.
        columns: The number of columns of the board.

    Reference: Osband et al., "Behaviour Suite for Reinforcement Learning", ICLR 2020.
    """

    num_actions = 3

    def __init__(self, rows: int = 10, columns: int = 5) -> None:
        super().__init__(None)
        self.rows, self.columns = rows, columns
        self.observation_shape = (rows * columns,)
        self.reward_threshold = 1.0

    def initial_state(self, random: tf.Tensor) -> tf.Tensor:
        """Returns the ball's row 0 and random column, and the middle column for the paddle."""
        column = tf.minimum(tf.floor(random[:, 0] * self.columns), self.columns - 1.0)
        return tf.stack([tf.zeros_like(column), column, tf.fill(tf.shape(column), float(self.columns // 2))], axis=-1)

    def step(self, state: tf.Tensor, action: tf.Tensor, random: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor, tf.Tensor]:
        """Moves the paddle left (action 0), not at all (1) or right (2), and lets the ball fall by one row."""
        row, column, paddle = tf.unstack(state, axis=-1)
        paddle = tf.clip_by_value(paddle + tf.cast(action, tf.float32) - 1.0, 0.0, self.columns - 1.0)
        row = row + 1.0
        terminated = row >= self.rows - 1
        reward = tf.where(terminated, tf.where(tf.equal(paddle, column), 1.0, -1.0), 0.0)
        return tf.stack([row, column, paddle], axis=-1), reward, terminated

    def observe(self, state: tf.Tensor) -> tf.Tensor:
        """Returns the board, 1 at the ball and the paddle and 0 elsewhere, `[N, rows · columns]`."""
        row, column, paddle = tf.unstack(tf.cast(state, tf.int32), axis=-1)
        cells = self.rows * self.columns
        ball = tf.one_hot(row * self.columns + column, cells)
        return tf.maximum(ball, tf.one_hot((self.rows - 1) * self.columns + paddle, cells))
