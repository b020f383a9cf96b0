"""Stacks of frames: the latest frames of an episode as one observation, in Python."""

import numpy as np

from mtq.tasks.spec import TaskSpec


class FrameStack:
    """The latest frames of each of N copies of an environment, stacked on the last axis, oldest first.

    At the start of an episode, its first frame is repeated for the missing ones.

    Args:
        spec: The spec of the stacks.
        num_copies: The number of copies N.
    """

    def __init__(self, spec: TaskSpec, num_copies: int) -> None:
        *others, last = spec.observation_shape
        self._num_frames, self._size = spec.frame_stack, last // spec.frame_stack
        self._frame_shape = (num_copies, *others, self._size)
        self._stacks = np.zeros((num_copies, *spec.observation_shape), spec.observation_dtype)

    def begin(self, frames: np.ndarray) -> np.ndarray:
        """Begins an episode in every copy.

        Args:
            frames: The first frames, `[N, …]`.

        Returns:
            The stacks, `[N, …]`.
        """
        self._stacks = np.concatenate([frames.reshape(self._frame_shape)] * self._num_frames, axis=-1)
        return self._stacks

    def push(self, reached: np.ndarray, current: np.ndarray, is_last: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Adds the frames of a step.

        Args:
            reached: The frames that the actions led to, `[N, …]`.
            current: The frames to act on next, `[N, …]`: the first of a new episode where one ended.
            is_last: Whether the episode ended, `[N]` bool.

        Returns:
            The stacks that the actions led to, and those to act on next.
        """
        frames = reached.reshape(self._frame_shape)
        stacks = np.concatenate([self._stacks[..., self._size :], frames], axis=-1)
        self._stacks = stacks
        if is_last.any():
            self._stacks = stacks.copy()
            first = current.reshape(self._frame_shape)[is_last]
            self._stacks[is_last] = np.concatenate([first] * self._num_frames, axis=-1)
        return stacks, self._stacks
