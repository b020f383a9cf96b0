"""CartPole, with the dynamics of Gymnasium's CartPole-v1."""

import math

import tensorflow as tf

from mtq.dynamics.dynamics import Dynamics

_GRAVITY, _TOTAL_MASS, _HALF_LENGTH, _POLE_MOMENT, _POLE_MASS = 9.8, 1.1, 0.5, 0.05, 0.1
_FORCE, _SECONDS = 10.0, 0.02
_MAX_POSITION, _MAX_ANGLE = 2.4, 12 * 2 * math.pi / 360


class CartPole(Dynamics):
    """The task of balancing a pole on a cart: reward 1 per step, until the pole falls or the cart leaves the track.

    Reference: Barto, Sutton and Anderson, "Neuronlike Adaptive Elements That Can Solve Difficult Learning Control
    Problems", 1983, as in Gymnasium.
    """

    observation_shape = (4,)
    num_actions = 2
    num_random = 4
    reward_threshold = 475.0

    def __init__(self, max_episode_steps: int | None = 500) -> None:
        super().__init__(max_episode_steps)

    def initial_state(self, random: tf.Tensor) -> tf.Tensor:
        """Returns position, velocity, angle and angular velocity, each uniform in ±0.05."""
        return 0.1 * random - 0.05

    def step(self, state: tf.Tensor, action: tf.Tensor, random: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor, tf.Tensor]:
        """Takes one Euler step of 0.02 s with a force of 10 N to the left (action 0) or to the right (action 1)."""
        x, v, angle, spin = tf.unstack(state, axis=-1)
        force = _FORCE * (2.0 * tf.cast(action, tf.float32) - 1.0)
        cos, sin = tf.cos(angle), tf.sin(angle)
        push = (force + _POLE_MOMENT * spin**2 * sin) / _TOTAL_MASS
        turn = (_GRAVITY * sin - cos * push) / (_HALF_LENGTH * (4.0 / 3.0 - _POLE_MASS * cos**2 / _TOTAL_MASS))
        acceleration = push - _POLE_MOMENT * turn * cos / _TOTAL_MASS
        x, v = x + _SECONDS * v, v + _SECONDS * acceleration
        angle, spin = angle + _SECONDS * spin, spin + _SECONDS * turn
        terminated = (tf.abs(x) > _MAX_POSITION) | (tf.abs(angle) > _MAX_ANGLE)
        return tf.stack([x, v, angle, spin], axis=-1), tf.ones_like(x), terminated
