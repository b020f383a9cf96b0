"""Gymnasium environments with tf-agents' interface."""

from collections.abc import Callable, Sequence

import numpy as np
import tensorflow as tf

from mtq.environments.autoreset import AutoresetEnvironment
from mtq.environments.copies import Step
from mtq.environments.errors import kept
from mtq.environments.make import make_copies
from mtq.environments.specs import action_spec, observation_spec
from mtq.interfaces import TimeStep, restart, time_step_spec
from mtq.tasks.task import Task

TimeSteps = tuple[TimeStep, TimeStep]


class GymnasiumEnvironment(AutoresetEnvironment):
    """The copies of a task's Gymnasium or tf-agents environment, as one `TFEnvironment`.

    Args:
        task: The task. Its `num_envs` is the number of copies N.
        seed: The seed of the copies' first resets.
    """

    def __init__(self, task: Task, seed: int) -> None:
        specs = time_step_spec(observation_spec(task))
        super().__init__(specs, action_spec(task), batch_size=task.num_envs)
        self.copies = make_copies(task, task.num_envs, seed)
        self.spec = task.spec

    def reseed(self, seed: int) -> None:
        """Sets the seed from which the copies are seeded at the next `reset`."""
        self.copies.reseed(seed)

    def restart(self) -> TimeStep:
        """Starts a new episode in every copy without seeding it again. Returns the FIRST time step of each."""
        return self._first(self.copies.restart)

    def _reset(self) -> TimeStep:
        return self._first(self.copies.reset)

    def _first(self, begin: Callable[[], np.ndarray]) -> TimeStep:
        observation = tf.numpy_function(kept(begin), [], self.spec.observation_dtype)
        observation = tf.ensure_shape(observation, [self.batch_size, *self.spec.observation_shape])
        return restart(observation, batch_size=self.batch_size)

    def step_and_restart(self, action: tf.Tensor) -> TimeSteps:
        """Takes one action in each copy.

        Args:
            action: The actions, `[N]` int32.

        Returns:
            The time step that the action led to, and the time step to act on next.
        """
        return _step_on_host([self], [action])[0]


def step_together(environments: Sequence[AutoresetEnvironment], actions: Sequence[tf.Tensor]) -> list[TimeSteps]:
    """Takes one action in each copy of each environment, with a single host call for all Python environments.

    Args:
        environments: The environments, a sequence of length T.
        actions: The actions for each environment, T tensors `[N]` int32.

    Returns:
        A list of length T with the pairs of time steps that each environment's `step_and_restart` would return.
    """
    on_host = [i for i, environment in enumerate(environments) if isinstance(environment, GymnasiumEnvironment)]
    stepped = _step_on_host([environments[i] for i in on_host], [actions[i] for i in on_host]) if on_host else []  # type: ignore[misc]
    results = dict(zip(on_host, stepped, strict=True))
    for i, (environment, action) in enumerate(zip(environments, actions, strict=True)):
        if i not in results:
            results[i] = environment.step_and_restart(action)
    return [results[i] for i in range(len(environments))]


def _step_on_host(environments: Sequence[GymnasiumEnvironment], actions: Sequence[tf.Tensor]) -> list[TimeSteps]:
    """Steps all environments in one host call, which packs its results by dtype, because each array costs time."""
    sizes = [environment.batch_size for environment in environments]
    ends = np.cumsum(sizes)
    dtypes = sorted({environment.spec.observation_dtype for environment in environments})

    def step(joint_actions: np.ndarray) -> list[np.ndarray]:
        parts = np.split(joint_actions, ends[:-1])
        steps = [environment.copies.step(part) for environment, part in zip(environments, parts, strict=True)]
        return [_packed_numbers(steps)] + [_packed_observations(steps, np.dtype(dtype)) for dtype in dtypes]

    numbers, *observations = tf.numpy_function(kept(step), [tf.concat(actions, axis=0)], [tf.float32, *dtypes])
    numbers = tf.unstack(tf.ensure_shape(numbers, [3, sum(sizes)]))  # reward, discount, is_last
    by_environment = zip(*(tf.split(row, sizes) for row in numbers), strict=True)
    unpacked = {
        dtype: iter(_unpacked(packed, [e for e in environments if e.spec.observation_dtype == dtype]))
        for dtype, packed in zip(dtypes, observations, strict=True)
    }
    results = []
    for environment, (reward, discount, is_last) in zip(environments, by_environment, strict=True):
        next_observation, observation = next(unpacked[environment.spec.observation_dtype])
        results.append(environment.ended_and_current(is_last > 0, reward, discount, next_observation, observation))
    return results


def _packed_numbers(steps: Sequence[Step]) -> np.ndarray:
    fields = ("reward", "discount", "is_last")
    return np.stack([np.concatenate([getattr(step, field) for step in steps], dtype=np.float32) for field in fields])


def _packed_observations(steps: Sequence[Step], dtype: np.dtype) -> np.ndarray:
    same_dtype = [step for step in steps if step.observation.dtype == dtype]
    return np.concatenate([part.ravel() for step in same_dtype for part in (step.next_observation, step.observation)])


def _unpacked(packed: tf.Tensor, environments: Sequence[GymnasiumEnvironment]) -> list[tuple[tf.Tensor, tf.Tensor]]:
    """Returns the pair of `next_observation` and `observation` of each environment."""
    shapes = [[environment.batch_size, *environment.spec.observation_shape] for environment in environments]
    sizes = [int(np.prod(shape)) for shape in shapes for _ in range(2)]
    flat = tf.split(tf.ensure_shape(packed, [sum(sizes)]), sizes)
    return [(tf.reshape(flat[2 * i], shape), tf.reshape(flat[2 * i + 1], shape)) for i, shape in enumerate(shapes)]
