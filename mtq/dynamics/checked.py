"""Wraps dynamics so that errors in them are reported with the task's name while a graph is traced."""

from typing import Any

import tensorflow as tf

from mtq.dynamics.dynamics import Dynamics, DynamicsWrapper
from mtq.dynamics.stacked import FrameStackDynamics
from mtq.errors import InvalidAnswerError, raised_in


class CheckedDynamics(DynamicsWrapper):
    """The functions of a task's dynamics, with checks of their exceptions and of the dtypes and shapes they return.

    The checks run in Python when a function is called. In a graph that happens once, during tracing.

    Args:
        name: The task's name, for messages.
        dynamics: The dynamics.
        frame_stack: The number of frames that are stacked to an observation.
        uses_masks: Whether policies respect the masks of legal actions.
    """

    def __init__(self, name: str, dynamics: Dynamics, frame_stack: int = 1, uses_masks: bool = False) -> None:
        super().__init__(
            dynamics if frame_stack == 1 else FrameStackDynamics(CheckedDynamics(name, dynamics), frame_stack)
        )
        self._name, self._uses_masks = name, uses_masks

    def initial_state(self, random: tf.Tensor) -> tf.Tensor:
        """Returns the state at the start of an episode, as `Dynamics.initial_state` does."""
        with raised_in(self._name, "initial_state"):
            state = self.dynamics.initial_state(random)
        return self._checked("initial_state", "the state", state, tf.float32, [random.shape[0], None])

    def step(self, state: tf.Tensor, action: tf.Tensor, random: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor, tf.Tensor]:
        """Returns the result of an action, as `Dynamics.step` does."""
        with raised_in(self._name, "step"):
            answer = self.dynamics.step(state, action, random)
        if not isinstance(answer, tuple | list) or len(answer) != 3:
            received = f"{len(answer)} values" if isinstance(answer, tuple | list) else type(answer).__name__
            raise InvalidAnswerError(
                f"The dynamics of task '{self._name}' must return three values from step: state, reward, terminated. "
                f"Received: {received}. Fix their step."
            )
        reached, reward, terminated = answer
        rows = state.shape[:1]
        return (
            self._checked("step", "the state", reached, tf.float32, state.shape),
            self._checked("step", "the reward", reward, tf.float32, rows),
            self._checked("step", "terminated", terminated, tf.bool, rows),
        )

    def observe(self, state: tf.Tensor) -> tf.Tensor:
        """Returns the observation of a state, as `Dynamics.observe` does."""
        with raised_in(self._name, "observe"):
            observation = self.dynamics.observe(state)
        shape, dtype = [state.shape[0], *self.observation_shape], tf.as_dtype(self.observation_dtype)
        return self._checked("observe", "the observation", observation, dtype, shape)

    def action_mask(self, state: tf.Tensor) -> tf.Tensor:
        """Returns which actions are legal, as `Dynamics.action_mask` does."""
        with raised_in(self._name, "action_mask"):
            mask = self.dynamics.action_mask(state)
        return self._checked("action_mask", "the mask", mask, tf.bool, [state.shape[0], self.num_actions])

    def acted_on(self, state: tf.Tensor) -> tf.Tensor | tuple[tf.Tensor, tf.Tensor]:
        """Returns what a policy acts on: the observation of a state or, with masks, the pair of it and the mask."""
        return (self.observe(state), self.action_mask(state)) if self._uses_masks else self.observe(state)

    def _checked(self, call: str, role: str, value: Any, dtype: tf.DType, shape: Any) -> tf.Tensor:
        try:
            tensor = tf.convert_to_tensor(value)
        except (ValueError, TypeError):
            tensor = None
        if tensor is None or tensor.dtype != dtype or not tensor.shape.is_compatible_with(shape):
            received = type(value).__name__ if tensor is None else f"{tensor.dtype.name} of shape {tensor.shape}"
            raise InvalidAnswerError(
                f"The dynamics of task '{self._name}' must return {role} from {call} as {dtype.name} of shape "
                f"{tf.TensorShape(shape)}. Received: {received}. Fix their {call}."
            )
        return tensor
