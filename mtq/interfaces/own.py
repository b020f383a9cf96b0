"""The interfaces of tf-agents that mtq uses, for Pythons on which tf-agents cannot be installed.

Names, fields and methods are those of tf-agents 0.19; `tests/interfaces_test.py` compares them.
"""

import abc
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import numpy as np
import tensorflow as tf


class StepType:
    """The place of a time step in its episode."""

    FIRST = np.asarray(0, dtype=np.int32)
    MID = np.asarray(1, dtype=np.int32)
    LAST = np.asarray(2, dtype=np.int32)


class TimeStep(NamedTuple):
    """What an environment returns: the place in the episode, a reward, a discount and an observation."""

    step_type: Any
    reward: Any
    discount: Any
    observation: Any

    def is_first(self) -> Any:
        """Whether these are the first steps of episodes."""
        return _equal(self.step_type, StepType.FIRST)

    def is_mid(self) -> Any:
        """Whether these are neither first nor last steps."""
        return _equal(self.step_type, StepType.MID)

    def is_last(self) -> Any:
        """Whether these are the last steps of episodes."""
        return _equal(self.step_type, StepType.LAST)


class PolicyStep(NamedTuple):
    """What a policy returns: an action, its own next state, and further information."""

    action: Any = ()
    state: Any = ()
    info: Any = ()


class BoundedTensorSpec(tf.TensorSpec):
    """A `tf.TensorSpec` with bounds.

    Args:
        shape: The shape.
        dtype: The type.
        minimum: The smallest value.
        maximum: The largest value.
        name: The name.
    """

    def __init__(self, shape: Any, dtype: Any, minimum: Any, maximum: Any, name: str | None = None) -> None:
        super().__init__(shape, dtype, name)
        numbers = tf.as_dtype(dtype).as_numpy_dtype
        self.minimum, self.maximum = np.asarray(minimum, numbers), np.asarray(maximum, numbers)


def time_step_spec(observation_spec: Any) -> TimeStep:
    """The spec of the time steps with such observations.

    Args:
        observation_spec: The spec of one observation.
    """
    return TimeStep(
        tf.TensorSpec([], tf.int32, name="step_type"),
        tf.TensorSpec([], tf.float32, name="reward"),
        BoundedTensorSpec([], tf.float32, 0.0, 1.0, name="discount"),
        observation_spec,
    )


def restart(observation: Any, batch_size: int) -> TimeStep:
    """The first time steps of episodes.

    Args:
        observation: The first observations, `[N, …]`.
        batch_size: N.
    """
    step_type = tf.fill([batch_size], StepType.FIRST)
    return TimeStep(step_type, tf.zeros([batch_size]), tf.ones([batch_size]), observation)


class TFEnvironment(abc.ABC):
    """N copies of an environment, stepped by operations of TensorFlow.

    Args:
        time_step_spec: The spec of its time steps, without the batch dimension.
        action_spec: The spec of its actions, without the batch dimension.
        batch_size: N.
    """

    batched = True

    def __init__(self, time_step_spec: Any = None, action_spec: Any = None, batch_size: int = 1) -> None:
        self._time_step_spec, self._action_spec, self._batch_size = time_step_spec, action_spec, batch_size

    def time_step_spec(self) -> Any:
        """The spec of its time steps."""
        return self._time_step_spec

    def action_spec(self) -> Any:
        """The spec of its actions."""
        return self._action_spec

    def observation_spec(self) -> Any:
        """The spec of its observations."""
        return self.time_step_spec().observation

    def reward_spec(self) -> Any:
        """The spec of its rewards."""
        return self.time_step_spec().reward

    @property
    def batch_size(self) -> int:
        """N."""
        return self._batch_size

    def current_time_step(self) -> TimeStep:
        """The time step to act on."""
        return self._current_time_step()

    def reset(self) -> TimeStep:
        """Begins an episode in every copy."""
        return self._reset()

    def step(self, action: Any) -> TimeStep:
        """Takes one action in each copy."""
        return self._step(action)

    @abc.abstractmethod
    def _current_time_step(self) -> TimeStep: ...

    @abc.abstractmethod
    def _reset(self) -> TimeStep: ...

    @abc.abstractmethod
    def _step(self, action: Any) -> TimeStep: ...


class TFPolicy(tf.Module):
    """A policy that selects actions by operations of TensorFlow.

    Args:
        time_step_spec: The spec of the time steps that it acts on.
        action_spec: The spec of its actions.
        policy_state_spec: The spec of its state.
        automatic_state_reset: Whether its state is reset at the first steps of episodes; must be False here.
    """

    def __init__(
        self, time_step_spec: Any, action_spec: Any, policy_state_spec: Any = (), automatic_state_reset: bool = True
    ) -> None:
        super().__init__()
        self._time_step_spec, self._action_spec = time_step_spec, action_spec
        self._policy_state_spec = policy_state_spec

    @property
    def time_step_spec(self) -> Any:
        """The spec of the time steps that it acts on."""
        return self._time_step_spec

    @property
    def action_spec(self) -> Any:
        """The spec of its actions."""
        return self._action_spec

    @property
    def policy_state_spec(self) -> Any:
        """The spec of its state."""
        return self._policy_state_spec

    def get_initial_state(self, batch_size: int | None = None) -> Any:
        """The state before the first action."""
        leading = [] if batch_size is None else [batch_size]
        return tf.nest.map_structure(
            lambda spec: tf.zeros([*leading, *spec.shape], spec.dtype), self._policy_state_spec
        )

    def action(self, time_step: TimeStep, policy_state: Any = (), seed: Any = None) -> PolicyStep:
        """Selects actions for a time step."""
        return self._action(time_step, policy_state, seed)

    def _action(self, time_step: TimeStep, policy_state: Any, seed: Any = None) -> PolicyStep:
        raise NotImplementedError


class Driver(abc.ABC):
    """Steps an environment with a policy.

    Args:
        env: The environment.
        policy: The policy.
        observers: Functions that are called with what came of each step.
    """

    def __init__(self, env: Any, policy: Any, observers: Sequence[Callable[[Any], Any]] | None = None) -> None:
        self._env, self._policy, self._observers = env, policy, list(observers or [])

    @property
    def env(self) -> Any:
        """The environment."""
        return self._env

    @property
    def policy(self) -> Any:
        """The policy."""
        return self._policy

    @property
    def observers(self) -> list[Callable[[Any], Any]]:
        """The functions that are called with what came of each step."""
        return self._observers

    @abc.abstractmethod
    def run(self) -> Any:
        """Takes steps."""


class ReplayBuffer(tf.Module, metaclass=abc.ABCMeta):
    """A store of items from which batches are sampled.

    Args:
        data_spec: The spec of one item.
        capacity: The number of items that it holds at most.
        stateful_dataset: Whether its dataset has stateful operations.
    """

    def __init__(self, data_spec: Any, capacity: int, stateful_dataset: bool = False) -> None:
        super().__init__()
        self._data_spec, self._capacity, self._stateful_dataset = data_spec, capacity, stateful_dataset

    @property
    def data_spec(self) -> Any:
        """The spec of one item."""
        return self._data_spec

    @property
    def capacity(self) -> int:
        """The number of items that it holds at most."""
        return self._capacity

    def num_frames(self) -> Any:
        """The number of items that it holds."""
        return self._num_frames()

    def add_batch(self, items: Any) -> Any:
        """Adds an item of each copy."""
        return self._add_batch(items)

    def get_next(
        self, sample_batch_size: int | None = None, num_steps: int | None = None, time_stacked: bool = True
    ) -> Any:
        """Samples items."""
        return self._get_next(sample_batch_size, num_steps, time_stacked)

    def as_dataset(
        self,
        sample_batch_size: int | None = None,
        num_steps: int | None = None,
        num_parallel_calls: int | None = None,
        sequence_preprocess_fn: Any = None,
        single_deterministic_pass: bool = False,
    ) -> Any:
        """A dataset of samples, or with `single_deterministic_pass` of all items once."""
        make = self._single_deterministic_pass_dataset if single_deterministic_pass else self._as_dataset
        return make(sample_batch_size, num_steps, sequence_preprocess_fn, num_parallel_calls)

    def gather_all(self) -> Any:
        """All items."""
        return self._gather_all()

    def clear(self) -> Any:
        """Removes all items."""
        return self._clear()

    @abc.abstractmethod
    def _num_frames(self) -> Any: ...

    @abc.abstractmethod
    def _add_batch(self, items: Any) -> Any: ...

    @abc.abstractmethod
    def _get_next(self, sample_batch_size: Any, num_steps: Any, time_stacked: Any) -> Any: ...

    @abc.abstractmethod
    def _as_dataset(
        self, sample_batch_size: Any, num_steps: Any, sequence_preprocess_fn: Any, num_parallel_calls: Any
    ) -> Any: ...

    @abc.abstractmethod
    def _single_deterministic_pass_dataset(
        self, sample_batch_size: Any, num_steps: Any, sequence_preprocess_fn: Any, num_parallel_calls: Any
    ) -> Any: ...

    @abc.abstractmethod
    def _gather_all(self) -> Any: ...

    @abc.abstractmethod
    def _clear(self) -> Any: ...


def _equal(step_type: Any, kind: np.ndarray) -> Any:
    return tf.equal(step_type, kind) if tf.is_tensor(step_type) else np.equal(step_type, kind)
