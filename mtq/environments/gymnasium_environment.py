"""Gymnasium environments with tf-agents' interface."""

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import tensorflow as tf

from mtq.environments.autoreset import AutoresetEnvironment
from mtq.environments.copies import Step
from mtq.environments.errors import kept
from mtq.environments.make import make_copies
from mtq.environments.specs import action_spec, observation_spec
from mtq.interfaces import TimeStep, restart, time_step_spec
from mtq.tasks.action_masks import split_observation
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
        self.task_name, self.spec = task.name, task.spec

    def reseed(self, seed: int) -> None:
        """Sets the seed from which the copies are seeded at the next `reset`."""
        self.copies.reseed(seed)

    def restart(self) -> TimeStep:
        """Starts a new episode in every copy without seeding it again. Returns the FIRST time step of each."""
        return self._first(self.copies.restart)

    def _reset(self) -> TimeStep:
        return self._first(self.copies.reset)

    def _first(self, begin: Callable[[], Any]) -> TimeStep:
        dtype, shape = self.spec.observation_dtype, [self.batch_size, *self.spec.observation_shape]
        if not self.spec.has_action_mask:
            observation = tf.ensure_shape(tf.numpy_function(kept(begin), [], dtype), shape)
            return restart(observation, batch_size=self.batch_size)
        observation, mask = tf.numpy_function(kept(begin), [], [dtype, tf.bool])
        masked = tf.ensure_shape(observation, shape), tf.ensure_shape(mask, [self.batch_size, self.spec.num_actions])
        return restart(masked, batch_size=self.batch_size)

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
    """Steps all environments in one host call, which packs its results by dtype, because each array costs time.

    The masks of legal actions are packed into an array of their own.
    """
    sizes = [environment.batch_size for environment in environments]
    ends = np.cumsum(sizes)
    dtypes = sorted({environment.spec.observation_dtype for environment in environments})
    masked = [environment for environment in environments if environment.spec.has_action_mask]
    mask_dtype = [tf.bool] if masked else []

    def step(joint_actions: np.ndarray) -> list[np.ndarray]:
        parts = np.split(joint_actions, ends[:-1])
        steps = [environment.copies.step(part) for environment, part in zip(environments, parts, strict=True)]
        observations = [_packed_observations(steps, np.dtype(dtype)) for dtype in dtypes]
        return [_packed_numbers(steps), *observations, *([_packed_masks(steps)] if masked else [])]

    outputs = [tf.float32, *dtypes, *mask_dtype]
    numbers, *packed_parts = tf.numpy_function(kept(step), [tf.concat(actions, axis=0)], outputs)
    observations = packed_parts[: len(dtypes)]
    masks = iter(_unpacked_masks(packed_parts[-1], masked) if masked else [])
    numbers = tf.unstack(tf.ensure_shape(numbers, [3, sum(sizes)]))  # reward, discount, is_last
    by_environment = zip(*(tf.split(row, sizes) for row in numbers), strict=True)
    unpacked = {
        dtype: iter(_unpacked(packed, [e for e in environments if e.spec.observation_dtype == dtype]))
        for dtype, packed in zip(dtypes, observations, strict=True)
    }
    results = []
    for environment, (reward, discount, is_last) in zip(environments, by_environment, strict=True):
        next_observation, observation = next(unpacked[environment.spec.observation_dtype])
        if environment.spec.has_action_mask:
            next_mask, mask = next(masks)
            next_observation, observation = (next_observation, next_mask), (observation, mask)
        results.append(environment.ended_and_current(is_last > 0, reward, discount, next_observation, observation))
    return results


def _packed_numbers(steps: Sequence[Step]) -> np.ndarray:
    fields = ("reward", "discount", "is_last")
    return np.stack([np.concatenate([getattr(step, field) for step in steps], dtype=np.float32) for field in fields])


def _packed_observations(steps: Sequence[Step], dtype: np.dtype) -> np.ndarray:
    pairs = [[split_observation(part)[0] for part in (step.next_observation, step.observation)] for step in steps]
    return np.concatenate([part.ravel() for pair in pairs if pair[1].dtype == dtype for part in pair])


def _packed_masks(steps: Sequence[Step]) -> np.ndarray:
    pairs = [[split_observation(part)[1] for part in (step.next_observation, step.observation)] for step in steps]
    return np.concatenate([mask.ravel() for pair in pairs if pair[1] is not None for mask in pair])


def _unpacked(packed: tf.Tensor, environments: Sequence[GymnasiumEnvironment]) -> list[tuple[tf.Tensor, tf.Tensor]]:
    """Returns the pair of `next_observation` and `observation` of each environment."""
    return _unpacked_pairs(packed, [[each.batch_size, *each.spec.observation_shape] for each in environments])


def _unpacked_masks(packed: tf.Tensor, environments: Sequence[GymnasiumEnvironment]) -> list[tuple[tf.Tensor, ...]]:
    """Returns the pair of masks of `next_observation` and `observation` of each environment."""
    return _unpacked_pairs(packed, [[each.batch_size, each.spec.num_actions] for each in environments])


def _unpacked_pairs(packed: tf.Tensor, shapes: Sequence[list[int]]) -> list[tuple[tf.Tensor, tf.Tensor]]:
    sizes = [int(np.prod(shape)) for shape in shapes for _ in range(2)]
    flat = tf.split(tf.ensure_shape(packed, [sum(sizes)]), sizes)
    return [(tf.reshape(flat[2 * i], shape), tf.reshape(flat[2 * i + 1], shape)) for i, shape in enumerate(shapes)]
