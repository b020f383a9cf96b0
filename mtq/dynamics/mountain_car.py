"""MountainCar, with the dynamics of Gymnasium's MountainCar-v0."""

import tensorflow as tf

from mtq.dynamics.dynamics import Dynamics

_FORCE, _GRAVITY = 0.001, 0.0025
_LEFT, _RIGHT, _GOAL, _MAX_SPEED = -1.2, 0.6, 0.5, 0.07


class MountainCar(Dynamics):
    """The task of driving an underpowered car up a hill: reward −1 per step until it reaches the top.

    The default time limit is 1,000 steps; Gymnasium's is 200.

    Reference: Moore, "Efficient Memory-based Learning for Robot Control", 1990, as in Gymnasium.
    """

    observation_shape = (2,)
    num_actions = 3
    reward_threshold = -110.0

    def __init__(self, max_episode_steps: int | None = 1_000) -> None:
        super().__init__(max_episode_steps)

    def initial_state(self, random: tf.Tensor) -> tf.Tensor:
        """Returns a position uniform between −0.6 and −0.4 and the velocity 0."""
        position = 0.2 * random[:, 0] - 0.6
        return tf.stack([position, tf.zeros_like(position)], axis=-1)

    def step(self, state: tf.Tensor, action: tf.Tensor, random: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor, tf.Tensor]:
        """Takes one step with a force to the left (action 0), none (1) or to the right (2)."""
        position, velocity = tf.unstack(state, axis=-1)
        velocity += _FORCE * (tf.cast(action, tf.float32) - 1.0) - _GRAVITY * tf.cos(3.0 * position)
        velocity = tf.clip_by_value(velocity, -_MAX_SPEED, _MAX_SPEED)
        position = tf.clip_by_value(position + velocity, _LEFT, _RIGHT)
        velocity = tf.where((position <= _LEFT) & (velocity < 0), 0.0, velocity)
        terminated = (position >= _GOAL) & (velocity >= 0)
        return tf.stack([position, velocity], axis=-1), -tf.ones_like(position), terminated
