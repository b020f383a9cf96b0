"""The replay buffer: tables with one row per step, and one frame per step, from which a sampler selects."""

import math
from typing import Any, NamedTuple

import tensorflow as tf

from mtq.experience.bits import num_bytes, pack_bits, unpack_bits
from mtq.experience.further_columns import FurtherColumns
from mtq.experience.memory import NUM_COLUMNS, Memory, Numbers, with_fields
from mtq.experience.sampler import Sampler, Selection, UniformSampler
from mtq.interfaces import ReplayBuffer


class Draw(NamedTuple):
    """The steps that were selected for a sample.

    Attributes:
        rows: The row numbers of the steps, `[B, n]` int64.
        needs_coming: Whether any of the steps is not stored yet, a bool scalar.
        selection: The selection of the sampler.
    """

    rows: tf.Tensor
    needs_coming: tf.Tensor
    selection: Selection


_SMALL = 64  # bytes of a frame up to which there are places for episodes of any length
_EXACT = 2**24  # places that float32 tells apart
_LARGE = 4096  # bytes of a frame above which there are fewer further places, because episodes of large images are long
_SHARE, _SHARE_OF_LARGE, _LEAST = 8, 64, 64  # a further place for so many steps, and a constant number of them


class Replay(ReplayBuffer):
    """The latest steps of the N copies of one task's environment, with one frame for each step.

    The class has tf-agents' interface of replay buffers. A frame is a whole observation, or the newest of the k frames
    that are stacked in an observation. The rows of one copy are contiguous: row `i mod length` of them holds step i,
    and the place of its frame in the copy's ring of frames. The frames of an episode, with the one after its last step,
    follow each other in the ring, so that the next observation's frame is at the next place. When steps are read, a
    stack is built from the frame at a place and the k − 1 frames before it. At the start of an episode, its first frame
    is repeated for the missing ones.

    So the steps must be added in order: unless a step is the last of its episode, its next observation must be the
    observation of the copy's next step. Call `end_episodes` before adding steps that do not continue the stored ones.

    The ring has one place for each step. For the frames after the last steps of episodes it has 64 more, and one for
    every 8 steps, or for every 64 steps if a frame has more than 4,096 bytes. If many short episodes fill these, fewer
    steps than `capacity` are stored. Frames of at most 64 bytes get enough places for episodes of any length.

    Args:
        spec: The specs of one step, from `memory_spec`.
        num_envs: The number of copies of the environment, N.
        capacity: The number of steps that are stored, over all copies. It is rounded down to a multiple of N.
        sampler: The sampler; by default a `UniformSampler`.
        seed: The seed of the sampler.
        frame_stack: The number of frames k that are stacked on the last axis of each observation, oldest first.
        is_binary: Whether observations are uint8 of 0 and 1, which are stored as bits.

    Attributes:
        sampler: The sampler.
        num_envs: The number of copies of the environment, N.
        length: The number of steps of each copy that are stored at most.
        num_places: The number of places for frames of each copy.
        observation_shape: The shape of an observation.
        frame_stack: The number of frames in an observation.
        frame_size: The number of numbers in a frame.
        is_binary: Whether frames are stored as bits.
    """

    def __init__(
        self,
        spec: Memory,
        num_envs: int,
        capacity: int,
        sampler: Sampler | None = None,
        seed: int = 0,
        frame_stack: int = 1,
        is_binary: bool = False,
    ) -> None:
        self.length = capacity // num_envs
        super().__init__(spec, self.length * num_envs)
        self.num_envs, self.observation_shape, self.frame_stack = num_envs, spec.observation.shape, frame_stack
        *others, last = self.observation_shape
        if last % frame_stack:
            raise ValueError(
                f"frame_stack of a Replay must divide the last axis of the observations, {last}. Received: "
                f"{frame_stack}."
            )
        self._frame_shape = [*others, last // frame_stack]
        size, dtype = math.prod(self._frame_shape), spec.observation.dtype
        self.num_places = _num_places(self.length, size * dtype.size, frame_stack)  # of each copy
        if self.num_places > _EXACT:
            raise ValueError(
                f"capacity of a Replay must lead to at most {_EXACT:,} places for the frames of each copy. "
                f"Received: {self.num_places:,}, for {self.length:,} steps. Lower it, or use more copies (num_envs)."
            )
        self._further = FurtherColumns(spec)
        numbers = tf.zeros([self.length * num_envs, NUM_COLUMNS + self._further.number])
        self._numbers = tf.Variable(numbers, trainable=False, name="numbers")
        self.frame_size, self.is_binary = size, is_binary
        frames = tf.zeros([self.num_places * num_envs, num_bytes(size) if is_binary else size], dtype)
        self._frames = tf.Variable(frames, trainable=False, name="frames")
        self._last_step = tf.Variable(-1, dtype=tf.int64, trainable=False)
        self._first_step = tf.Variable(0, dtype=tf.int64, trainable=False)  # whose frames have not been replaced
        self._place = tf.Variable(tf.zeros([num_envs], tf.int64), trainable=False)  # of the coming step's frame
        self._removes_steps = self.num_places < _most_places(self.length, frame_stack)
        # An episode takes at most two places for each of its steps. Those of the next step and its stack stay free.
        self._least_steps = self.num_places // 2 - frame_stack if self._removes_steps else self.length
        owners = tf.fill([self.num_places * num_envs if self._removes_steps else 0], tf.constant(-1, tf.int64))
        self._owners = tf.Variable(owners, trainable=False)  # the step to which the frame at each place belongs
        self.sampler = UniformSampler() if sampler is None else sampler
        if self.sampler.is_built:
            raise ValueError(
                "sampler of a Replay must be one that no other replay uses. Received: a "
                f"{type(self.sampler).__name__} that was built. Make a sampler for each replay."
            )
        self._seed = seed
        self.sampler.build(self.length, num_envs, seed)
        self.sampler.is_built = True

    def reset(self, seed: int) -> None:
        """Removes all steps, and resets the sampler to another seed."""
        self._seed = seed
        self.clear()

    def state(self) -> list[tf.Variable]:
        """Returns the variables for checkpoints, always in the same order."""
        steps = [self._numbers, self._frames, self._last_step, self._first_step, self._place, self._owners]
        return [*steps, *self.sampler.state()]

    def end_episodes(self) -> None:
        """Marks the newest step of each copy as the last of its episode, as after a truncation."""

        def mark() -> tf.Tensor:
            rows = self._last_step.read_value() % self.length + self._first_of_copies(self.length)
            numbers = self.numbers(rows)
            _scatter(self._numbers, rows, numbers._replace(is_last=tf.ones_like(numbers.is_last)).pack())
            self._advance(tf.where(numbers.is_last, tf.constant(0, tf.int64), 1), ~numbers.is_last)
            return tf.constant(True)

        tf.cond(self._last_step.read_value() >= 0, mark, lambda: tf.constant(False))

    def draw(self, batch_size: int, num_steps: int = 1, coming: int = 0, sampler: Sampler | None = None) -> Draw:
        """Selects the steps of a sample, among them some that will be stored before they are read.

        Args:
            batch_size: The number of rows of the sample, B.
            num_steps: The number of consecutive steps in each row of the sample, n.
            coming: The number of steps of each copy that will be stored between now and the reading, 0 or 1.
            sampler: The sampler; by default the replay's own.

        Returns:
            The selected steps.
        """
        if num_steps > self._least_steps:
            raise ValueError(
                f"num_steps must be at most {self._least_steps}, the number of steps of each copy that are stored "
                f"with any lengths of episodes. Received: {num_steps}. Raise the capacity."
            )
        newest = self._last_step.read_value() + coming
        oldest = tf.maximum(newest - self.length + 1, self._first_step)
        sampler = sampler or self.sampler
        selection = sampler.select(batch_size, oldest, newest - num_steps + 2 - oldest)
        if (selection.weight is not None) != bool(sampler.has_weights):
            raise ValueError(
                f"select of {type(sampler).__name__} must return weights if, and only if, has_weights is True. "
                f"Received: has_weights = {sampler.has_weights}, and {'no ' if selection.weight is None else ''}"
                "weights. Set has_weights of the sampler's class."
            )
        steps = selection.step[:, None] + tf.range(num_steps, dtype=tf.int64)
        rows = steps % self.length + selection.copy[:, None] * self.length  # [B, n]
        needs_coming = tf.reduce_any(selection.step + num_steps - 1 > newest - coming)
        return Draw(rows, needs_coming, selection)

    def numbers(self, rows: tf.Tensor) -> Numbers:
        """Returns what is stored of the steps in some rows beside their observations.

        Args:
            rows: The row numbers, an int64 tensor of any shape. The rows of the first copy come first, then those of
                the second, and so on.
        """
        return Numbers.unpack(tf.gather(self._numbers, rows))

    def observations(self, copy: tf.Tensor, place: tf.Tensor, age: tf.Tensor) -> tf.Tensor:
        """Returns the observations whose newest frames are at some places.

        Args:
            copy: The numbers of the copies, an int64 tensor of any shape.
            place: The places, int64 of the same shape. The first place follows the last.
            age: The numbers of frames of the same episode before those at the places, int64 of the same shape.
        """
        shape = [*place.shape, *self.observation_shape]
        if self.frame_stack == 1:
            return tf.reshape(self._frames_in(copy * self.num_places + place % self.num_places), shape)
        back = tf.minimum(tf.range(self.frame_stack - 1, -1, -1, tf.int64), age[..., None])  # […, k]
        rows = copy[..., None] * self.num_places + (place[..., None] - back) % self.num_places
        frames = self._frames_in(rows)  # […, k, size]
        size, channels, count = self.frame_size, self._frame_shape[-1], math.prod(place.shape)
        if channels == 1:  # an axis of one channel would make the transposition slower
            return tf.reshape(tf.transpose(tf.reshape(frames, [count, self.frame_stack, size]), [0, 2, 1]), shape)
        pixels = tf.reshape(frames, [count, self.frame_stack, size // channels, channels])
        return tf.reshape(tf.transpose(pixels, [0, 2, 1, 3]), shape)

    def read(self, rows: tf.Tensor) -> Memory:
        """Returns the steps in some rows, `[…]`.

        Args:
            rows: The row numbers, as for `numbers`.
        """
        action, reward, discount, is_last, place, age, further = self.numbers(rows)
        copy = rows // self.length
        observation, next_observation = (self.observations(copy, place + ahead, age + ahead) for ahead in (0, 1))
        steps = Memory(observation, action, reward, discount, next_observation, is_last)
        return with_fields(steps, **self.further_fields(further))

    def further_fields(self, further: tf.Tensor | None) -> dict[str, tf.Tensor]:
        """Returns the fields of steps that only some tasks have, by name.

        Args:
            further: The columns, as `numbers` returns them.
        """
        return self._further.unpack(further)

    def check_valid(self) -> None:
        """Raises an AssertionError if the stored steps are inconsistent. For tests."""
        stored = self.gather_all()
        inside = ~stored.is_last.numpy()
        assert not (stored.discount.numpy()[inside] == 0).any(), "a discount of 0 inside an episode"
        assert int(self.num_frames()) <= self.capacity, "more rows than the capacity"

    def _num_frames(self) -> tf.Tensor:
        return self._num_stored() * self.num_envs

    def _num_stored(self) -> tf.Tensor:
        """Returns the number of steps that are stored of each copy."""
        last = self._last_step.read_value()
        return tf.minimum(last + 1 - self._first_step, self.length)

    def _add_batch(self, items: Memory) -> tf.Tensor:
        age = self._coming_age()
        step = self._last_step.assign_add(1)
        rows = step % self.length + self._first_of_copies(self.length)
        further = self._further.pack(items)
        numbers = Numbers(items.action, items.reward, items.discount, items.is_last, self._place, age, further)
        _scatter(self._numbers, rows, numbers.pack())
        places = tf.concat([self._rows_of_places(0), self._rows_of_places(1)], axis=0)
        frames = tf.concat([items.observation, items.next_observation], axis=0)[..., -self._frame_shape[-1] :]
        frames = tf.reshape(frames, [2 * self.num_envs, self.frame_size])
        _scatter(self._frames, places, pack_bits(frames) if self.is_binary else frames)
        if self._removes_steps:
            _scatter(self._owners, places, tf.fill([2 * self.num_envs], step))
        self._advance(1 + tf.cast(items.is_last, tf.int64), items.is_last)
        self.sampler.added(step)
        return step

    def _frames_in(self, rows: tf.Tensor) -> tf.Tensor:
        """Returns the frames in some rows of the table, `[…, size]`."""
        stored = tf.gather(self._frames, rows)
        return unpack_bits(stored, self.frame_size) if self.is_binary else stored

    def _coming_age(self) -> tf.Tensor:
        """Returns the number of frames of the same episode in the stack before the coming step's frame, `[N]` int64."""
        if self.frame_stack == 1:
            return tf.zeros([self.num_envs], tf.int64)
        last_step = self._last_step.read_value()
        newest = self.numbers(last_step % self.length + self._first_of_copies(self.length))
        continues = (last_step >= 0) & ~newest.is_last
        return tf.where(continues, tf.minimum(newest.age + 1, self.frame_stack - 1), 0)

    def _advance(self, number: tf.Tensor, ended: tf.Tensor) -> None:
        """Advances the write positions in the rings of frames, and removes the steps whose frames are overwritten next.

        Args:
            number: The number of places by which each copy moves on, `[N]` int64.
            ended: Whether an episode ends with this, `[N]` bool. Else the coming step's frame is in its place.
        """
        self._place.assign((self._place + number) % self.num_places)
        if not self._removes_steps:
            return
        first, second = (tf.gather(self._owners, self._rows_of_places(ahead)) for ahead in (0, 1))
        removed = tf.reduce_max(tf.maximum(second, tf.where(ended, first, -1)))
        kept = tf.where(removed < 0, tf.constant(0, tf.int64), removed + self.frame_stack)
        self._first_step.assign(tf.maximum(self._first_step, kept))

    def _first_of_copies(self, number: int) -> tf.Tensor:
        """Returns the number of each copy's first row in a table with a number of rows for each copy, `[N]` int64."""
        return tf.range(self.num_envs, dtype=tf.int64) * number

    def _rows_of_places(self, ahead: int) -> tf.Tensor:
        """Returns the rows of the coming step's places in the table of frames, `[N]` int64.

        Args:
            ahead: 0 for the frame of the observation, 1 for that of the next observation.
        """
        return self._first_of_copies(self.num_places) + (self._place + ahead) % self.num_places

    def _get_next(self, sample_batch_size: int | None, num_steps: int | None, time_stacked: bool) -> tuple[Any, Any]:
        draw = self.draw(sample_batch_size or 1, num_steps or 1)
        steps = self.read(draw.rows)
        if num_steps is None:
            steps = tf.nest.map_structure(lambda values: values[:, 0], steps)
        if sample_batch_size is None:
            steps = tf.nest.map_structure(lambda values: values[0], steps)
        if num_steps is not None and not time_stacked:
            axis = 0 if sample_batch_size is None else 1
            parts = [tf.unstack(values, axis=axis) for values in steps]
            return tuple(type(steps)(*fields) for fields in zip(*parts, strict=True)), draw.rows
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
        return steps % self.length + self._first_of_copies(self.length)[:, None]

    def _clear(self) -> None:
        self._last_step.assign(-1)
        self._first_step.assign(0)
        self._place.assign(tf.zeros_like(self._place))
        self._owners.assign(-tf.ones_like(self._owners))
        self.sampler.reset(self._seed)  # what it knows are steps that are gone


def _most_places(length: int, frame_stack: int) -> int:
    """Returns the number of places that suffices for episodes of any length: two for each step, and a stack's."""
    return 2 * length + 1 + frame_stack


def _num_places(length: int, num_bytes: int, frame_stack: int) -> int:
    """Returns the number of places for frames of each copy.

    Args:
        length: The number of steps that are stored of each copy.
        num_bytes: The number of bytes of a frame.
        frame_stack: The number of frames in an observation.
    """
    most = _most_places(length, frame_stack)
    share = _SHARE if num_bytes <= _LARGE else _SHARE_OF_LARGE
    if num_bytes <= _SMALL:
        return most
    places = min(length + length // share + _LEAST, most)
    # Else no steps of long stacks would be stored with some lengths of episodes.
    return places if places // 2 > frame_stack else min(2 * (frame_stack + min(length, _LEAST)), most)


def _scatter(table: tf.Variable, rows: tf.Tensor, values: tf.Tensor) -> None:
    """Writes values into the rows of a table, `[N]`.

    A single row is written twice: XLA would merge its write into the reads that follow, and copy the table for each.
    """
    if rows.shape[0] == 1:
        rows, values = tf.repeat(rows, 2), tf.repeat(values, 2, axis=0)
    table.scatter_update(tf.IndexedSlices(values, rows))
