"""Remembering: a replay buffer of whole transitions, on tf-agents' `TFUniformReplayBuffer`."""

import importlib
import math
from typing import Any, NamedTuple

import tensorflow as tf

import mtq.interfaces  # noqa: F401  (imports tf-agents)
from mtq import value_learning as vl
from mtq.random_numbers import make_generator, reseed
from mtq.tasks.task import Task

tf_uniform_replay_buffer: Any = importlib.import_module("tf_agents.replay_buffers.tf_uniform_replay_buffer")


class Memory(NamedTuple):
    """One remembered step, as the environment gave it: neither scaled nor discounted.

    It holds the next observation itself, so that no pair of rows has to be read together and none can straddle the end
    of an episode.
    """

    observation: tf.Tensor
    action: tf.Tensor
    reward: tf.Tensor
    discount: tf.Tensor
    next_observation: tf.Tensor
    is_last: tf.Tensor


class Draw(NamedTuple):
    """Which steps a sample consists of.

    Attributes:
        rows: Of the replay, `[B, n_step]` int64.
        needs_coming: Whether any of them is not remembered yet, a bool scalar.
    """

    rows: tf.Tensor
    needs_coming: tf.Tensor


class _Packing:
    """Memories as one vector per type of number, so that a row is written and read at once and not field by field.

    Floats hold the reward, the discount, the action (exact below 2²⁴) and is_last; both observations, flat, are with
    the numbers of their type.

    Args:
        task: The task.
    """

    def __init__(self, task: Task) -> None:
        self._shape, self._dtype = task.spec.observation_shape, task.spec.observation_dtype
        self._size = math.prod(self._shape)
        widths = {"float32": 4}
        widths[self._dtype] = widths.get(self._dtype, 0) + 2 * self._size
        self.spec = {dtype: tf.TensorSpec([width], dtype) for dtype, width in widths.items()}

    def pack(self, memory: Memory) -> dict[str, tf.Tensor]:
        """`Memory` of `[N, …]` → `[N, width]` by type."""
        numbers = [
            memory.reward,
            memory.discount,
            tf.cast(memory.action, tf.float32),
            tf.cast(memory.is_last, tf.float32),
        ]
        packed = {"float32": [tf.stack(numbers, axis=1)]}
        for observation in (memory.observation, memory.next_observation):
            packed.setdefault(self._dtype, []).append(tf.reshape(observation, [-1, self._size]))
        return {dtype: tf.concat(parts, axis=1) if len(parts) > 1 else parts[0] for dtype, parts in packed.items()}

    def unpack(self, packed: dict[str, tf.Tensor]) -> Memory:
        """`[…, width]` by type → `Memory` of `[…]`."""
        reward, discount, action, is_last = tf.unstack(packed["float32"][..., :4], axis=-1)
        first, second = tf.split(packed[self._dtype][..., -2 * self._size :], 2, axis=-1)
        shape = [*reward.shape, *self._shape]
        observation, next_observation = tf.reshape(first, shape), tf.reshape(second, shape)
        return Memory(observation, tf.cast(action, tf.int32), reward, discount, next_observation, is_last > 0)


class UniformReplay(tf_uniform_replay_buffer.TFUniformReplayBuffer):
    """The last steps of one task's copies, sampled uniformly from a seed of its own.

    Args:
        task: The task.
        capacity: How many steps are kept, over all copies together.
        n_step: How many steps a sample looks ahead.
        seed: Of the samples.

    Raises:
        ValueError: The capacity does not hold `n_step` steps of each copy.
    """

    def __init__(self, task: Task, capacity: int, n_step: int = 1, seed: int = 0) -> None:
        length = capacity // task.num_envs
        if length < n_step:
            raise ValueError(
                f"replay_capacity must hold at least n_step = {n_step} steps of each of the {task.num_envs} copies of "
                f"task '{task.name}'. Received: {capacity}. Give {n_step * task.num_envs} or more."
            )
        self._packing = _Packing(task)
        super().__init__(self._packing.spec, batch_size=task.num_envs, max_length=length, scope=f"{task.name}_replay")
        self._task = task
        self._n_step = n_step
        self._random = make_generator(seed)

    def reset(self, seed: int) -> None:
        """Forgets everything, and draws from another seed."""
        self.clear()
        reseed(self._random, seed)

    def state(self) -> list[tf.Variable]:
        """All that is remembered, and where the random numbers are."""
        return [*self._data_table.variables(), self._last_id, self._random.state]

    def end_episodes(self) -> None:
        """Says of the newest step of each copy that its episode was truncated there; does nothing without steps."""
        newest = self._get_last_id() % self._max_length
        rows = newest + tf.range(self._batch_size, dtype=tf.int64) * self._max_length

        def mark() -> tf.Tensor:
            memory = self.read(rows)
            marked = self._packing.pack(memory._replace(is_last=tf.ones_like(memory.is_last)))
            with tf.device(self._device), tf.name_scope(self._scope):
                self._data_table.write(rows, marked)
            return tf.constant(True)

        tf.cond(self._get_last_id() >= 0, mark, lambda: tf.constant(False))

    def sample(self, batch_size: int) -> vl.Transition:
        """Draws transitions with replacement, each start equally likely.

        Args:
            batch_size: B.

        Returns:
            Transitions with rewards scaled and clipped and discounts with γ in them, as the task says.
        """
        return self.take(self.draw(batch_size))

    def draw(self, batch_size: int, coming: int = 0) -> Draw:
        """Says which steps a sample consists of, as soon as it is known how many there will be.

        Args:
            batch_size: B.
            coming: How many steps each copy will have taken, not remembered yet, when the sample is taken.
        """
        newest = self._get_last_id() + coming  # of the rows written to every copy, counted from the beginning
        oldest = tf.maximum(newest - self._max_length + 1, 0)
        starts = (newest - self._n_step + 2 - oldest) * self._batch_size  # of all copies
        drawn = self._random.uniform([batch_size], 0, starts, tf.int64)
        start, copy = oldest + drawn // self._batch_size, drawn % self._batch_size
        ahead = tf.range(self._n_step, dtype=tf.int64)
        rows = (start[:, None] + ahead) % self._max_length + copy[:, None] * self._max_length  # [B, n]
        return Draw(rows, tf.reduce_any(start + self._n_step - 1 > newest - coming))

    def take(self, draw: Draw) -> vl.Transition:
        """The sample of a draw."""
        return self._fold(self.read(draw.rows))

    def read(self, rows: tf.Tensor) -> Memory:
        """What is remembered in some rows; each copy has `capacity // num_envs` of them, one copy after the other."""
        with tf.device(self._device), tf.name_scope(self._scope):
            return self._packing.unpack(self._data_table.read(rows))

    def _add_batch(self, memory: Memory) -> tf.Operation:
        return super()._add_batch(self._packing.pack(memory))

    def _get_next(self, *args: Any, **kwargs: Any) -> tuple[Any, Any]:
        packed, info = super()._get_next(*args, **kwargs)
        is_several = isinstance(packed, tuple | list)  # steps that are not stacked
        return tuple(map(self._packing.unpack, packed)) if is_several else self._packing.unpack(packed), info

    def _gather_all(self) -> Memory:
        return self._packing.unpack(super()._gather_all())

    def _get_last_id(self) -> tf.Tensor:
        return tf.convert_to_tensor(self._last_id)

    def _increment_last_id(self, increment: int = 1) -> tf.Tensor:
        # The base class goes through a CriticalSection here. Collection and sampling take turns anyway, and several
        # buffers' critical sections in one graph can starve each other of threads and stop for good.
        return self._last_id.assign_add(increment)

    def check_valid(self) -> None:
        """Raises an AssertionError if what is remembered contradicts itself; for tests."""
        rows = self.read(tf.range(self.num_frames()))
        assert not (rows.discount.numpy()[~rows.is_last.numpy()] == 0).any(), "a discount of 0 inside an episode"
        assert int(self.num_frames()) <= self.capacity, "more rows than the capacity"

    def _fold(self, steps: Memory) -> vl.Transition:
        reward = steps.reward * self._task.reward_scale
        if self._task.reward_clip is not None:
            reward = tf.clip_by_value(reward, -self._task.reward_clip, self._task.reward_clip)
        discount = steps.discount * self._task.discount
        if self._n_step == 1:
            return vl.Transition(
                steps.observation[:, 0], steps.action[:, 0], reward[:, 0], discount[:, 0], steps.next_observation[:, 0]
            )
        returns, discounts, position = vl.n_step_returns(reward, discount, steps.is_last)
        bootstrap = tf.gather(steps.next_observation, position, axis=1, batch_dims=1)
        return vl.Transition(steps.observation[:, 0], steps.action[:, 0], returns, discounts, bootstrap)
