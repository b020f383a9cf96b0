"""The interfaces of tf-agents that mtq uses, for Python versions on which tf-agents cannot be installed.

Names, fields and methods are those of tf-agents 0.19, to which `tests/interfaces_test.py` compares them.
"""

import abc
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import numpy as np
import tensorflow as tf


class StepType:
    """The type of a time step: the first, a middle or the last step of its episode."""

    FIRST = np.asarray(0, dtype=np.int32)
    MID = np.asarray(1, dtype=np.int32)
    LAST = np.asarray(2, dtype=np.int32)


class TimeStep(NamedTuple):
    """The time steps that an environment returns.

    Attributes:
        step_type: The step types, `[N]` int32.
        reward: The rewards, `[N]` float32.
        discount: The discounts, `[N]` float32.
        observation: The observations, `[N, …]`.
    """

    step_type: Any
    reward: Any
    discount: Any
    observation: Any

    def is_first(self) -> Any:
        """Returns whether the steps are the first of their episodes, `[N]` bool."""
        return _equal(self.step_type, StepType.FIRST)

    def is_mid(self) -> Any:
        """Returns whether the steps are neither the first nor the last of their episodes, `[N]` bool."""
        return _equal(self.step_type, StepType.MID)

    def is_last(self) -> Any:
        """Returns whether the steps are the last of their episodes, `[N]` bool."""
        return _equal(self.step_type, StepType.LAST)


class PolicyStep(NamedTuple):
    """The result of a policy.

    Attributes:
        action: The actions, `[N]`.
        state: The next state of the policy.
        info: Further information.
    """

    action: Any = ()
    state: Any = ()
    info: Any = ()


class BoundedTensorSpec(tf.TensorSpec):
    """A `tf.TensorSpec` with bounds.

    Args:
        shape: The shape of the tensor.
        dtype: The dtype of the tensor.
        minimum: The smallest allowed value, broadcast to the shape.
        maximum: The largest allowed value, broadcast to the shape.
        name: The name of the tensor.
    """

    def __init__(self, shape: Any, dtype: Any, minimum: Any, maximum: Any, name: str | None = None) -> None:
        super().__init__(shape, dtype, name)
        numpy_dtype = tf.as_dtype(dtype).as_numpy_dtype
        self.minimum, self.maximum = np.asarray(minimum, numpy_dtype), np.asarray(maximum, numpy_dtype)


def time_step_spec(observation_spec: Any) -> TimeStep:
    """Returns the spec of the time steps of an environment.

    Args:
        observation_spec: The spec of its observations, without the batch dimension.
    """
    return TimeStep(
        tf.TensorSpec([], tf.int32, name="step_type"),
        tf.TensorSpec([], tf.float32, name="reward"),
        BoundedTensorSpec([], tf.float32, 0.0, 1.0, name="discount"),
        observation_spec,
    )


def restart(observation: Any, batch_size: int) -> TimeStep:
    """Returns the first time steps of episodes.

    Args:
        observation: The first observations, `[N, …]`.
        batch_size: The number of episodes, N.
    """
    step_type = tf.fill([batch_size], StepType.FIRST)
    return TimeStep(step_type, tf.zeros([batch_size]), tf.ones([batch_size]), observation)


class TFEnvironment(abc.ABC):
    """N copies of an environment, stepped by TensorFlow operations.

    Args:
        time_step_spec: The spec of the time steps, without the batch dimension.
        action_spec: The spec of the actions, without the batch dimension.
        batch_size: The number of copies, N.
    """

    batched = True

    def __init__(self, time_step_spec: Any = None, action_spec: Any = None, batch_size: int = 1) -> None:
        self._time_step_spec, self._action_spec, self._batch_size = time_step_spec, action_spec, batch_size

    def time_step_spec(self) -> Any:
        """Returns the spec of the time steps, without the batch dimension."""
        return self._time_step_spec

    def action_spec(self) -> Any:
        """Returns the spec of the actions, without the batch dimension."""
        return self._action_spec

    def observation_spec(self) -> Any:
        """Returns the spec of the observations, without the batch dimension."""
        return self.time_step_spec().observation

    def reward_spec(self) -> Any:
        """Returns the spec of the rewards, without the batch dimension."""
        return self.time_step_spec().reward

    @property
    def batch_size(self) -> int:
        """The number of copies, N."""
        return self._batch_size

    def current_time_step(self) -> TimeStep:
        """Returns the current time step, from which the next action is selected."""
        return self._current_time_step()

    def reset(self) -> TimeStep:
        """Starts a new episode in every copy, and returns its first time step."""
        return self._reset()

    def step(self, action: Any) -> TimeStep:
        """Takes one action in each copy, `[N]`, and returns the next time step."""
        return self._step(action)

    @abc.abstractmethod
    def _current_time_step(self) -> TimeStep: ...

    @abc.abstractmethod
    def _reset(self) -> TimeStep: ...

    @abc.abstractmethod
    def _step(self, action: Any) -> TimeStep: ...


class TFPolicy(tf.Module):
    """A policy that selects actions by TensorFlow operations.

    Args:
        time_step_spec: The spec of the time steps, without the batch dimension.
        action_spec: The spec of the actions, without the batch dimension.
        policy_state_spec: The spec of the policy's state, without the batch dimension.
        automatic_state_reset: Whether tf-agents resets the policy's state at the start of each episode. These
            interfaces never do; pass False.
    """

    def __init__(
        self, time_step_spec: Any, action_spec: Any, policy_state_spec: Any = (), automatic_state_reset: bool = True
    ) -> None:
        super().__init__()
        self._time_step_spec, self._action_spec = time_step_spec, action_spec
        self._policy_state_spec = policy_state_spec

    @property
    def time_step_spec(self) -> Any:
        """The spec of the time steps, without the batch dimension."""
        return self._time_step_spec

    @property
    def action_spec(self) -> Any:
        """The spec of the actions, without the batch dimension."""
        return self._action_spec

    @property
    def policy_state_spec(self) -> Any:
        """The spec of the policy's state, without the batch dimension."""
        return self._policy_state_spec

    def get_initial_state(self, batch_size: int | None = None) -> Any:
        """Returns the state before the first action, for one copy of the environment or a batch of copies."""
        leading = [] if batch_size is None else [batch_size]
        return tf.nest.map_structure(
            lambda spec: tf.zeros([*leading, *spec.shape], spec.dtype), self._policy_state_spec
        )

    def action(self, time_step: TimeStep, policy_state: Any = (), seed: Any = None) -> PolicyStep:
        """Returns the actions that the policy selects at a time step, clipped to the bounds of the action spec."""
        step = self._action(time_step=time_step, policy_state=policy_state, seed=seed)
        return step._replace(action=tf.nest.map_structure(_clipped, step.action, self._action_spec))

    def _action(self, time_step: TimeStep, policy_state: Any, seed: Any = None) -> PolicyStep:
        raise NotImplementedError


def _clipped(action: Any, spec: Any) -> tf.Tensor:
    action = tf.convert_to_tensor(action)
    if action.dtype != spec.dtype:
        raise TypeError(f"The actions of a policy must be {spec.dtype.name}. Received: {action.dtype.name}.")
    return tf.clip_by_value(action, spec.minimum, spec.maximum) if hasattr(spec, "minimum") else action


class Driver(abc.ABC):
    """The base class of drivers, which step an environment with the actions of a policy.

    Args:
        env: The environment.
        policy: The policy that selects actions.
        observers: The functions that are called with the result of each step.
    """

    def __init__(self, env: Any, policy: Any, observers: Sequence[Callable[[Any], Any]] | None = None) -> None:
        self._env, self._policy, self._observers = env, policy, list(observers or [])

    @property
    def env(self) -> Any:
        """The environment."""
        return self._env

    @property
    def policy(self) -> Any:
        """The policy that selects actions."""
        return self._policy

    @property
    def observers(self) -> list[Callable[[Any], Any]]:
        """The functions that are called with the result of each step."""
        return self._observers

    @abc.abstractmethod
    def run(self) -> Any:
        """Steps the environment."""


class ReplayBuffer(tf.Module, metaclass=abc.ABCMeta):
    """The base class of replay buffers, which store items and sample batches of them.

    Args:
        data_spec: The spec of one item.
        capacity: The maximum number of items.
        stateful_dataset: Whether the datasets of `as_dataset` contain stateful operations.
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
        """The maximum number of items."""
        return self._capacity

    def num_frames(self) -> Any:
        """Returns the number of stored items."""
        return self._num_frames()

    def add_batch(self, items: Any) -> Any:
        """Stores a batch of items, one of each copy of the environment."""
        return self._add_batch(items)

    def get_next(
        self, sample_batch_size: int | None = None, num_steps: int | None = None, time_stacked: bool = True
    ) -> Any:
        """Returns sampled items and information on them, such as their row numbers."""
        return self._get_next(sample_batch_size, num_steps, time_stacked)

    def as_dataset(
        self,
        sample_batch_size: int | None = None,
        num_steps: int | None = None,
        num_parallel_calls: int | None = None,
        sequence_preprocess_fn: Any = None,
        single_deterministic_pass: bool = False,
    ) -> Any:
        """Returns a dataset of samples, or of all items once if `single_deterministic_pass` is True."""
        make = self._single_deterministic_pass_dataset if single_deterministic_pass else self._as_dataset
        return make(sample_batch_size, num_steps, sequence_preprocess_fn, num_parallel_calls)

    def gather_all(self) -> Any:
        """Returns all stored items."""
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


def _equal(step_type: Any, expected: np.ndarray) -> Any:
    return tf.equal(step_type, expected) if tf.is_tensor(step_type) else np.equal(step_type, expected)
