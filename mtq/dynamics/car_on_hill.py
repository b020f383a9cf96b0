"""CarOnHill, as in the multi-task study of D'Eramo et al."""

import tensorflow as tf

from mtq.dynamics.dynamics import Dynamics, runge_kutta

_GRAVITY, _SECONDS, _FORCE, _MAX_SPEED, _SUBSTEPS, _SLOWEST = 9.81, 0.1, 4.0, 3.0, 8, 1e-6


class CarOnHill(Dynamics):
    """The task of driving a car of mass 1 up the hill on its right, without leaving the track or becoming too fast.

    The reward is 1, and the episode ends, if the position exceeds 1 at a speed of at most 3; it is −1, and the episode
    ends, if the position falls below −1 or the speed exceeds 3; otherwise it is 0. The car starts at −0.5 at rest. The
    dynamics are deterministic.

    Reference: Ernst, Geurts and Wehenkel, "Tree-Based Batch Mode Reinforcement Learning", 2005, as in D'Eramo et al.,
    "Sharing Knowledge in Multi-Task Deep Reinforcement Learning", ICLR 2020.
    """

    observation_shape = (2,)
    num_actions = 2

    def __init__(self, max_episode_steps: int | None = 100) -> None:
        super().__init__(max_episode_steps)

    def initial_state(self, random: tf.Tensor) -> tf.Tensor:
        """Returns the position −0.5 and the velocity 0."""
        zeros = tf.zeros_like(random[:, 0])
        return tf.stack([zeros - 0.5, zeros], axis=-1)

    def step(self, state: tf.Tensor, action: tf.Tensor, random: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor, tf.Tensor]:
        """Simulates 0.1 s with a force of −4 (action 0) or 4 (action 1)."""
        force = _FORCE * (2.0 * tf.cast(action, tf.float32) - 1.0)
        _, next_state = tf.while_loop(  # not unrolled, because that would take seconds to compile
            lambda done, _: done < _SUBSTEPS,
            lambda done, state: (done + 1, _substep(state, force, _SECONDS / _SUBSTEPS)),
            [tf.constant(0), state],
        )
        position, velocity = tf.unstack(next_state, axis=-1)
        lost = (position < -1.0) | (tf.abs(velocity) > _MAX_SPEED)
        won = (position > 1.0) & ~lost
        return next_state, tf.where(lost, -1.0, tf.where(won, 1.0, 0.0)), lost | won


def _substep(state: tf.Tensor, force: tf.Tensor, seconds: float) -> tf.Tensor:
    """Integrates one substep, split in two where the car passes the foot of the hill, at which h'' is discontinuous.

    The time of passing is estimated from speed and acceleration, and then corrected by one step of Newton's method.
    """
    position, velocity = tf.unstack(state, axis=-1)
    is_left = (position < 0) | (tf.equal(position, 0) & (velocity < 0))

    def ahead(duration: float | tf.Tensor) -> tf.Tensor:
        return runge_kutta(lambda s: _derivative(s, force, is_left), state, duration, 1)

    end = ahead(seconds)
    passes = (end[:, 0] < 0) != is_left
    to_the_foot = tf.where(is_left, 1.0, -1.0)
    speed, distance = to_the_foot * velocity, tf.abs(position)
    acceleration = to_the_foot * _derivative(state, force, is_left)[:, 1]
    root = tf.sqrt(tf.maximum(tf.square(speed) + 2.0 * acceleration * distance, 0.0))
    time = tf.clip_by_value(2.0 * distance / tf.maximum(speed + root, _SLOWEST), 0.0, seconds)
    near_p, near_v = tf.unstack(ahead(time[:, None]), axis=-1)
    correction = near_p / tf.where(tf.abs(near_v) > _SLOWEST, near_v, 1.0)
    time = tf.clip_by_value(time - correction, 0.0, seconds)
    foot = tf.stack([tf.zeros_like(time), ahead(time[:, None])[:, 1]], axis=-1)
    beyond = runge_kutta(lambda s: _derivative(s, force, ~is_left), foot, (seconds - time)[:, None], 1)
    return tf.where(passes[:, None], beyond, end)


def _derivative(state: tf.Tensor, force: tf.Tensor, is_left: tf.Tensor) -> tf.Tensor:
    """Returns the time derivative of the state, by the hill's equation for the left or the right of its foot."""
    position, velocity = tf.unstack(state, axis=-1)
    root = tf.math.rsqrt(1.0 + 5.0 * tf.square(position))
    cube = root * root * root  # computing (…)^-1.5 and (…)^-2.5 as powers costs ten times as much
    slope = tf.where(is_left, 2.0 * position + 1.0, cube)  # h'
    curvature = tf.where(is_left, 2.0 * tf.ones_like(position), -15.0 * position * cube * root * root)  # h''
    pull = force - _GRAVITY * slope - tf.square(velocity) * slope * curvature
    return tf.stack([velocity, pull / (1.0 + tf.square(slope))], axis=-1)
