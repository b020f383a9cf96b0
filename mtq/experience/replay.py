"""The replay buffer: a table with one row per step, from which a sampler selects."""

from typing import Any, NamedTuple

import tensorflow as tf

from mtq.experience.memory import Memory, Packing
from mtq.experience.sampler import Sampler, Selection, UniformSampler
from mtq.interfaces import ReplayBuffer


class Draw(NamedTuple):
    """The steps that were selected for a sample.

    Attributes:
        rows: The row numbers of the steps in the table, `[B, n]` int64.
        needs_coming: Whether any of the steps is not stored yet, a bool scalar.
        selection: The selection of the sampler.
    """

    rows: tf.Tensor
    needs_coming: tf.Tensor
    selection: Selection


class Replay(ReplayBuffer):
    """The latest steps of the N copies of one task's environment, in a table with one row per step.

    It is a replay buffer with tf-agents' interface. The rows of one copy are contiguous: of these, row `i mod length`
    holds step i.

    Args:
        spec: The specs of one step, from `memory_spec`.
        num_envs: The number of copies of the environment, N.
        capacity: The number of steps that are stored, over all copies. It is rounded down to a multiple of N.
        sampler: The sampler; by default a `UniformSampler`.
        seed: The seed of the sampler.

    Attributes:
        sampler: The sampler.
    """

    def __init__(
        self, spec: Memory, num_envs: int, capacity: int, sampler: Sampler | None = None, seed: int = 0
    ) -> None:
        self._length = capacity // num_envs
        super().__init__(spec, self._length * num_envs)
        self._num_envs, self._packing = num_envs, Packing(spec)
        self._table = {
            dtype: tf.Variable(tf.zeros([self._length * num_envs, width], dtype), trainable=False, name=dtype)
            for dtype, width in sorted(self._packing.widths.items())
        }
        self._last_step = tf.Variable(-1, dtype=tf.int64, trainable=False)
        self.sampler = UniformSampler() if sampler is None else sampler
        self.sampler.build(self._length, num_envs, seed)

    def reset(self, seed: int) -> None:
        """Removes all steps, and resets the sampler to another seed."""
        self.clear()
        self.sampler.reset(seed)

    def state(self) -> list[tf.Variable]:
        """Returns the variables for checkpoints, always in the same order."""
        return [*self._table.values(), self._last_step, *self.sampler.state()]

    def end_episodes(self) -> None:
        """Marks the newest step of each copy as the last of its episode, as after a truncation."""
        newest = tf.maximum(self._last_step.read_value(), 0) % self._length
        rows = newest + tf.range(self._num_envs, dtype=tf.int64) * self._length

        def mark() -> tf.Tensor:
            memory = self.read(rows)
            self._write(rows, memory._replace(is_last=tf.ones_like(memory.is_last)))
            return tf.constant(True)

        tf.cond(self._last_step.read_value() >= 0, mark, lambda: tf.constant(False))

    def draw(self, batch_size: int, num_steps: int = 1, coming: int = 0, sampler: Sampler | None = None) -> Draw:
        """Selects the steps of a sample, among them some that will be stored before `take` reads the sample.

        Args:
            batch_size: The number of rows of the sample, B.
            num_steps: The number of consecutive steps in each row of the sample, n.
            coming: The number of steps of each copy that will be stored between now and `take`.
            sampler: The sampler; by default the replay's own.

        Returns:
            The selected steps.
        """
        newest = self._last_step.read_value() + coming
        oldest = tf.maximum(newest - self._length + 1, 0)
        sampler = sampler or self.sampler
        selection = sampler.select(batch_size, oldest, newest - num_steps + 2 - oldest)
        if (selection.weight is not None) != bool(sampler.has_weights):
            raise ValueError(
                f"select of {type(sampler).__name__} must return weights if, and only if, has_weights is True. "
                f"Received: has_weights = {sampler.has_weights}, and {'no ' if selection.weight is None else ''}"
                "weights. Set has_weights of the sampler's class."
            )
        steps = selection.step[:, None] + tf.range(num_steps, dtype=tf.int64)
        rows = steps % self._length + selection.copy[:, None] * self._length  # [B, n]
        needs_coming = tf.reduce_any(selection.step + num_steps - 1 > newest - coming)
        return Draw(rows, needs_coming, selection)

    def take(self, draw: Draw) -> Memory:
        """Returns the steps that `draw` selected, `[B, n, …]`."""
        return self.read(draw.rows)

    def read(self, rows: tf.Tensor) -> Memory:
        """Returns the steps in some rows of the table.

        Args:
            rows: The row numbers, an int64 tensor of any shape. The rows of the first copy come first, then those of
                the second, and so on.
        """
        return self._packing.unpack({dtype: tf.gather(table, rows) for dtype, table in self._table.items()})

    def check_valid(self) -> None:
        """Raises an AssertionError if the stored steps are inconsistent. For tests."""
        stored = self.gather_all()
        inside = ~stored.is_last.numpy()
        assert not (stored.discount.numpy()[inside] == 0).any(), "a discount of 0 inside an episode"
        assert int(self.num_frames()) <= self.capacity, "more rows than the capacity"

    def _num_frames(self) -> tf.Tensor:
        return self._num_stored() * self._num_envs

    def _num_stored(self) -> tf.Tensor:
        """Returns the number of steps that are stored of each copy."""
        return tf.minimum(self._last_step.read_value() + 1, self._length)

    def _add_batch(self, items: Memory) -> tf.Tensor:
        step = self._last_step.assign_add(1)
        rows = step % self._length + tf.range(self._num_envs, dtype=tf.int64) * self._length
        self._write(rows, items)
        self.sampler.added(step)
        return step

    def _write(self, rows: tf.Tensor, items: Memory) -> None:
        packed = self._packing.pack(items)
        if rows.shape[0] == 1:
            # XLA would merge the write of a single row into the reads that follow, and copy the whole table for each.
            rows, packed = tf.repeat(rows, 2), {dtype: tf.repeat(values, 2, axis=0) for dtype, values in packed.items()}
        for dtype, values in packed.items():
            self._table[dtype].scatter_update(tf.IndexedSlices(values, rows))

    def _get_next(self, sample_batch_size: int | None, num_steps: int | None, time_stacked: bool) -> tuple[Any, Any]:
        draw = self.draw(sample_batch_size or 1, num_steps or 1)
        steps = self.take(draw)
        if num_steps is None:
            steps = tf.nest.map_structure(lambda values: values[:, 0], steps)
        if sample_batch_size is None:
            steps = tf.nest.map_structure(lambda values: values[0], steps)
        if num_steps is not None and not time_stacked:
            axis = 0 if sample_batch_size is None else 1
            parts = [tf.unstack(values, axis=axis) for values in steps]
            return tuple(Memory(*fields) for fields in zip(*parts, strict=True)), draw.rows
        return steps, draw.rows

    def _as_dataset(
        self, sample_batch_size: Any, num_steps: Any, sequence_preprocess_fn: Any, num_parallel_calls: Any
    ) -> tf.data.Dataset:
        if sequence_preprocess_fn is not None:
            raise NotImplementedError(
                "sequence_preprocess_fn of as_dataset must be None. Received: a function. Use the dataset's map."
            )
        return tf.data.Dataset.counter().map(lambda _: self._get_next(sample_batch_size, num_steps, True))

    def _single_deterministic_pass_dataset(
        self, sample_batch_size: Any, num_steps: Any, sequence_preprocess_fn: Any, num_parallel_calls: Any
    ) -> tf.data.Dataset:
        if sample_batch_size is not None or num_steps is not None or sequence_preprocess_fn is not None:
            raise NotImplementedError(
                "Arguments of a single deterministic pass must be None, because it yields single steps. Received: one "
                "that is not. Use the dataset's batch."
            )
        rows = tf.reshape(self._stored_rows(), [-1])
        return tf.data.Dataset.from_tensor_slices((self.read(rows), rows))

    def _gather_all(self) -> Memory:
        return self.read(self._stored_rows())

    def _stored_rows(self) -> tf.Tensor:
        """Returns the numbers of the rows that hold a step, `[N, L]`, of each copy from its oldest to its newest."""
        last = self._last_step.read_value()
        steps = tf.range(last + 1 - self._num_stored(), last + 1)
        copies = tf.range(self._num_envs, dtype=tf.int64)
        return steps % self._length + copies[:, None] * self._length

    def _clear(self) -> None:
        self._last_step.assign(-1)
