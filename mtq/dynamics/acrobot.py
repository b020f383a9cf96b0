"""Acrobot, with the dynamics of Gymnasium's Acrobot-v1."""

import math

import tensorflow as tf

from mtq.dynamics.dynamics import Dynamics, runge_kutta

_SECONDS, _GRAVITY = 0.2, 9.8
_MAX_SPIN_1, _MAX_SPIN_2 = 4 * math.pi, 9 * math.pi


class Acrobot(Dynamics):
    """The task of swinging the tip of a double pendulum above a bar: reward −1 per step until it is reached.

    Reference: Sutton, "Generalization in Reinforcement Learning: Successful Examples Using Sparse Coarse Coding", 1996,
    with the equations of Sutton and Barto's book, as in Gymnasium.
    """

    observation_shape = (6,)
    num_actions = 3
    num_random = 4
    reward_threshold = -100.0

    def __init__(self, max_episode_steps: int | None = 500) -> None:
        super().__init__(max_episode_steps)

    def initial_state(self, random: tf.Tensor) -> tf.Tensor:
        """Returns two angles and their velocities, each uniform in ±0.1."""
        return 0.2 * random - 0.1

    def step(self, state: tf.Tensor, action: tf.Tensor, random: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor, tf.Tensor]:
        """Simulates 0.2 s with a torque of −1, 0 or 1 on the joint.

        An integration step multiplies rounding errors by up to a thousand, so it runs in double precision.
        """
        torque = tf.cast(action, tf.float64) - 1.0
        integrated = runge_kutta(lambda s: _derivative(s, torque), tf.cast(state, tf.float64), _SECONDS, substeps=1)
        angle_1, angle_2, spin_1, spin_2 = tf.unstack(integrated, axis=-1)
        angle_1, angle_2 = _wrap(angle_1), _wrap(angle_2)
        spin_1 = tf.clip_by_value(spin_1, -_MAX_SPIN_1, _MAX_SPIN_1)
        spin_2 = tf.clip_by_value(spin_2, -_MAX_SPIN_2, _MAX_SPIN_2)
        terminated = -tf.cos(angle_1) - tf.cos(angle_2 + angle_1) > 1.0
        next_state = tf.cast(tf.stack([angle_1, angle_2, spin_1, spin_2], axis=-1), tf.float32)
        return next_state, tf.where(terminated, 0.0, -1.0), terminated

    def observe(self, state: tf.Tensor) -> tf.Tensor:
        """Returns the cosine and the sine of each angle, and the angular velocities, `[N, 6]`."""
        angle_1, angle_2, spin_1, spin_2 = tf.unstack(state, axis=-1)
        return tf.stack([tf.cos(angle_1), tf.sin(angle_1), tf.cos(angle_2), tf.sin(angle_2), spin_1, spin_2], axis=-1)


def _derivative(state: tf.Tensor, torque: tf.Tensor) -> tf.Tensor:
    """Returns the time derivative of the state. Each link has mass 1, length 1, center of mass at ½ and inertia 1."""
    angle_1, angle_2, spin_1, spin_2 = tf.unstack(state, axis=-1)
    cos_2, sin_2 = tf.cos(angle_2), tf.sin(angle_2)
    d_1 = 0.25 + (1.25 + cos_2) + 2.0
    d_2 = 0.25 + 0.5 * cos_2 + 1.0
    phi_2 = 0.5 * _GRAVITY * tf.cos(angle_1 + angle_2 - math.pi / 2)
    phi_1 = -0.5 * spin_2**2 * sin_2 - spin_2 * spin_1 * sin_2 + 1.5 * _GRAVITY * tf.cos(angle_1 - math.pi / 2) + phi_2
    turn_2 = (torque + d_2 / d_1 * phi_1 - 0.5 * spin_1**2 * sin_2 - phi_2) / (1.25 - d_2**2 / d_1)
    turn_1 = -(d_2 * turn_2 + phi_1) / d_1
    return tf.stack([spin_1, spin_2, turn_1, turn_2], axis=-1)


def _wrap(angle: tf.Tensor) -> tf.Tensor:
    """Wraps an angle to ±π."""
    return angle - 2 * math.pi * tf.round(angle / (2 * math.pi))
