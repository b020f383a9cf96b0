"""Batches drawn within a graph."""

from collections.abc import Iterator
from typing import Any

import tensorflow as tf

from mtq import value_learning as vl
from mtq.tasks.task import Task

_LONG_WARM_UP = 5_000


class BatchSource:
    """Batches drawn within a graph, for `fit`.

    Args:
        experience: The `mtq.Experience` that is sampled.
        num_rows: Of each task, for each replica.

    Attributes:
        compilable: Whether XLA can compile the drawing of a batch, acting and stepping included: where all tasks are
            in-graph.
    """

    def __init__(self, experience: Any, num_rows: int) -> None:
        self._experience, self._num_rows = experience, num_rows
        self.compilable = experience.compilable
        self._draw: dict[bool, Any] = {}
        self._warm_up: Any = None
        self.train_function: tuple[Any, Any] = (None, None)  # the last model compiled for it, and what that made of it

    def prepare(self) -> None:
        """Takes the warm-up's steps, if they were not taken yet. Called outside of graphs."""
        if self._experience.is_warm:
            return
        if self._warm_up is None:
            is_long = self._experience.warmup_steps > _LONG_WARM_UP  # else compiling it takes longer than it does
            on_one_device = len(self._experience.shards) == 1  # which is all that XLA can reach
            uses_xla = is_long and on_one_device and self._uses_xla()
            warm_up = tf.function(self._experience.warm_up, autograph=False, jit_compile=uses_xla or None)
            self._warm_up = warm_up.get_concrete_function()
        self._warm_up()

    def check(self) -> None:
        """Raises a ValueError if an exploration schedule returned a value outside `[0, 1]`. Call it outside graphs."""
        self._experience.check_schedules()

    def next_batch(self) -> dict[str, vl.Transition]:
        """Graph code that takes the steps that are due and gives `{task: Transition}`; only after `prepare`."""
        return self._experience.next_batch(self._num_rows, warm_up=False)

    def next_batches(self) -> list[dict[str, vl.Transition]]:
        """The same for every replica of this process, outside of them."""
        return [shard.next_batch(self._num_rows, warm_up=False) for shard in self._experience.shards]

    def generate(self) -> Iterator[dict[str, vl.Transition]]:
        """The same from Python, without end."""
        replicas = self._experience.model.distribute_strategy.num_replicas_in_sync
        if replicas > 1:
            raise ValueError(
                f"The batches of {replicas} replicas must be drawn by fit, each in its own replica. Received: a loop "
                "over the dataset, or one that map, take or the like made of it. Pass fit what Experience.dataset "
                "returned."
            )
        uses_xla = self._uses_xla()
        if uses_xla not in self._draw:
            self._draw[uses_xla] = tf.function(self.next_batch, autograph=False, jit_compile=uses_xla or None)
        while True:
            self.prepare()
            yield self._draw[uses_xla]()

    def _uses_xla(self) -> bool:
        return self.compilable and self._experience.model.uses_xla

    def signature(self) -> dict[str, vl.Transition]:
        """The batches' shapes and types."""

        def of_task(task: Task) -> vl.Transition:
            observation = tf.TensorSpec([self._num_rows, *task.spec.observation_shape], task.spec.observation_dtype)
            number = tf.TensorSpec([self._num_rows], tf.float32)
            return vl.Transition(observation, tf.TensorSpec([self._num_rows], tf.int32), number, number, observation)

        return {name: of_task(task) for name, task in self._experience.tasks.items()}
