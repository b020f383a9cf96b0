"""InvertedPendulum, as in the multi-task study of D'Eramo et al."""

import math

import tensorflow as tf

from mtq.dynamics.dynamics import Dynamics, runge_kutta

_MASS, _CART_MASS, _LENGTH, _GRAVITY, _SECONDS, _SUBSTEPS = 2.0, 8.0, 0.5, 9.8, 0.1, 4
_ALPHA = 1.0 / (_MASS + _CART_MASS)
_FORCE, _NOISE = 50.0, 10.0


class InvertedPendulum(Dynamics):
    """The task of balancing a pendulum on a cart by noisy forces: reward −1, and the episode ends, when it falls.

    The pendulum has fallen when it is below the horizontal. All other rewards are 0.

    Reference: Lagoudakis and Parr, "Least-Squares Policy Iteration", 2003, as in D'Eramo et al., "Sharing Knowledge in
    Multi-Task Deep Reinforcement Learning", ICLR 2020.
    """

    observation_shape = (2,)
    num_actions = 3

    def __init__(self, max_episode_steps: int | None = 3_000) -> None:
        super().__init__(max_episode_steps)

    def initial_state(self, random: tf.Tensor) -> tf.Tensor:
        """Returns an angle uniform in ±π/8 and the angular velocity 0."""
        angle = (2.0 * random[:, 0] - 1.0) * math.pi / 8
        return tf.stack([angle, tf.zeros_like(angle)], axis=-1)

    def step(self, state: tf.Tensor, action: tf.Tensor, random: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor, tf.Tensor]:
        """Simulates 0.1 s with a force of −50, 0 or 50 plus uniform noise of ±10."""
        force = _FORCE * (tf.cast(action, tf.float32) - 1.0) + _NOISE * (2.0 * random[:, 0] - 1.0)
        next_state = runge_kutta(lambda s: _derivative(s, force), state, _SECONDS, _SUBSTEPS)
        fallen = tf.abs(next_state[:, 0]) > math.pi / 2
        return next_state, tf.where(fallen, -1.0, 0.0), fallen


def _derivative(state: tf.Tensor, force: tf.Tensor) -> tf.Tensor:
    angle, spin = tf.unstack(state, axis=-1)
    drive = _GRAVITY * tf.sin(angle) - _ALPHA * _MASS * _LENGTH * spin**2 * tf.sin(2 * angle) / 2
    inertia = 4.0 / 3.0 * _LENGTH - _ALPHA * _MASS * _LENGTH * tf.cos(angle) ** 2
    return tf.stack([spin, (drive - _ALPHA * tf.cos(angle) * force) / inertia], axis=-1)
