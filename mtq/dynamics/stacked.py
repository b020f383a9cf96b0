"""Stacks of frames: the latest frames of an episode as one observation, in the graph."""

import math

import tensorflow as tf

from mtq.dynamics.dynamics import Dynamics, DynamicsWrapper


def stacked_shape(frame: tuple[int, ...], num_frames: int) -> tuple[int, ...]:
    """Returns the shape of several frames that are stacked on the last axis.

    Args:
        frame: The shape of one frame. Two axes are those of a gray image, `[height, width]`, which gets a third one.
        num_frames: The number of frames.
    """
    return (*frame, num_frames) if len(frame) == 2 else (*frame[:-1], frame[-1] * num_frames)


class FrameStackDynamics(DynamicsWrapper):
    """Dynamics whose observations are the latest frames of the episode, stacked on the last axis, oldest first.

    At the start of an episode, its first frame is repeated for the missing ones. `mtq.Task(frame_stack=…)` uses it.

    Args:
        dynamics: The dynamics, whose observations are the frames.
        num_frames: The number of frames of an observation, k.
    """

    def __init__(self, dynamics: Dynamics, num_frames: int) -> None:
        super().__init__(dynamics)
        self.num_frames = num_frames
        self.observation_shape = stacked_shape(self.observation_shape, num_frames)
        self._size = math.prod(dynamics.observation_shape)

    def initial_state(self, random: tf.Tensor) -> tf.Tensor:
        """Returns the state at the start of an episode, followed by k copies of its frame."""
        state = self.dynamics.initial_state(random)
        return tf.concat([state, *[self._frame(state)] * self.num_frames], axis=1)

    def step(self, state: tf.Tensor, action: tf.Tensor, random: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor, tf.Tensor]:
        """Takes the action, and puts the frame that it leads to in the place of the oldest."""
        inner, frames = state[:, : -self._size * self.num_frames], state[:, -self._size * (self.num_frames - 1) :]
        reached, reward, terminated = self.dynamics.step(inner, action, random)
        return tf.concat([reached, frames, self._frame(reached)], axis=1), reward, terminated

    def observe(self, state: tf.Tensor) -> tf.Tensor:
        """Returns the stacks of frames."""
        frames = tf.reshape(
            state[:, -self._size * self.num_frames :], [-1, self.num_frames, *self.dynamics.observation_shape]
        )
        stacked = (
            tf.stack(tf.unstack(frames, axis=1), axis=-1)
            if len(self.dynamics.observation_shape) == 2
            else tf.concat(tf.unstack(frames, axis=1), axis=-1)
        )
        return tf.cast(stacked, self.observation_dtype)

    def action_mask(self, state: tf.Tensor) -> tf.Tensor | None:
        """Returns which actions are legal."""
        return self.dynamics.action_mask(state[:, : -self._size * self.num_frames])

    def _frame(self, state: tf.Tensor) -> tf.Tensor:
        """Returns the frame of a state as a vector, `[N, size]` float32."""
        return tf.reshape(tf.cast(self.dynamics.observe(state), tf.float32), [-1, self._size])
