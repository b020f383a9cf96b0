"""Experience: what turns tasks and a model into batches to learn from."""

import fractions
import math
from typing import Any

import tensorflow as tf

from mtq import value_learning as vl
from mtq.checks import flag, integer, is_real
from mtq.distribution.checks import check_batch_size, check_host, check_outside_of_scope
from mtq.distribution.replicas import local_devices, local_replicas, replica_number, sums
from mtq.environments.checker import check_task
from mtq.experience import exploration as exploration_lib
from mtq.experience.batch_source import BatchSource
from mtq.experience.batches import made_when_used, of_experience
from mtq.experience.collection_statistics import CollectionStatistics
from mtq.experience.replay import UniformReplay
from mtq.experience.replica_experience import Shard, Share
from mtq.keras_internals import supports_jit
from mtq.tasks.task import Task, TaskSet, check_tasks

_SMALLEST_RATIO = 1e-4


class Experience:
    """Acts in every task's environments with the model's own policy, remembers, and yields batches.

    Collection and learning take strict turns: before every update each task's environments take `steps_per_update`
    steps with the weights of that moment, and before the first one `warmup_steps` more with random actions.
    Environments that live in Python may take the last of these steps while the update is computed, but only where the
    batch does not hold that step: all numbers are those of strict turns, to the bit.

    With several replicas (`mtq.distribution`) each has environments, seeds and a replay of its own, a **shard**. All
    numbers here are those of the whole run, of which every shard takes an even part; every shard has `num_envs` copies.

    Args:
        tasks: The tasks.
        model: The `MultiTaskDQN` that acts and learns.
        exploration: ε: a probability, a `keras.optimizers.schedules` schedule over the steps of a task's environments
            after the warm-up, a `mtq.exploration.EpsilonGreedy`, or a dict of them by task. By default
            `mtq.exploration.linear()`, from 1 to 0.05 in 10,000 steps.
        replay_capacity: How many steps are remembered of each task.
        warmup_steps: How many random steps each task's environments take before the first update; rounded up to a
            multiple of the task's `num_envs`.
        steps_per_update: The replay ratio: how many steps each task's environments take, all copies together, for one
            update. May be a fraction, such as 0.25 for four updates per step. After u updates a task's copies have
            taken ⌊u · steps_per_update / num_envs⌋ steps each, and those of the warm-up.
        n_step: How many steps the returns in a batch span.
        overlap: Whether environments that live in Python need not wait for the batch to be one that does not hold their
            last step: it then never holds it, and the step is always taken while the update is computed. The actions
            are still those of the newest weights. Nothing is left to chance by it: the same seed gives the same bits,
            though others than without it. It needs steps_per_update to be a multiple of every num_envs, and changes
            nothing where all tasks are in-graph.
        seed: Of the environments, the exploration and the sampling. The same seed gives the same bits.

    Raises:
        ValueError: A setting is out of its range, the tasks are not the model's, or an environment is broken; the
            message names the task and the remedy.

    Example:
        >>> import mtq
        >>> tasks = mtq.TaskSet([mtq.Task("cart_pole", "CartPole-v1", num_envs=2)])
        >>> model = mtq.MultiTaskDQN(mtq.networks.shared_q_network(tasks, mtq.networks.mlp([16])), tasks)
        >>> experience = mtq.Experience(tasks, model, warmup_steps=10, steps_per_update=4)
        >>> batch = next(iter(experience.dataset(batch_size=32)))
        >>> batch["cart_pole"].observation.shape, experience.env_steps
        (TensorShape([32, 4]), {'cart_pole': 14})
    """

    def __init__(
        self,
        tasks: TaskSet,
        model: Any,
        *,
        exploration: exploration_lib.Exploration = None,
        replay_capacity: int = 50_000,
        warmup_steps: int = 1_000,
        steps_per_update: float = 1,
        n_step: int = 1,
        overlap: bool = False,
        seed: int = 0,
    ) -> None:
        check_tasks("tasks of experience", tasks)
        if not hasattr(model, "paths"):
            raise ValueError(f"model of experience must be an mtq.MultiTaskDQN. Received: {model!r}.")
        if set(tasks) != set(model.tasks):
            raise ValueError(
                f"The tasks of experience must be the model's. Received: {list(tasks)}, where the model has "
                f"{list(model.tasks)}. Make both from one TaskSet."
            )
        for name, task in tasks.items():
            if task.spec != model.tasks[name].spec:
                raise ValueError(
                    f"Task '{name}' must have the shapes that the model was built for, {model.tasks[name].spec}. "
                    f"Received: {task.spec}. Make both from one TaskSet."
                )
            check_same_learning(task, model.tasks[name])
        if not is_real(steps_per_update) or not math.isfinite(steps_per_update) or steps_per_update < _SMALLEST_RATIO:
            raise ValueError(
                f"steps_per_update must be finite and at least {_SMALLEST_RATIO}. Received: {steps_per_update!r}."
            )
        n_step, seed, overlap = integer("n_step", n_step), integer("seed", seed, least=0), flag("overlap", overlap)
        replay_capacity = integer("replay_capacity", replay_capacity, least=0)
        warmup_steps = integer("warmup_steps", warmup_steps, least=0)
        self.tasks, self.replay_capacity, self.warmup_steps, self.n_step = tasks, replay_capacity, warmup_steps, n_step
        self.overlap, self.model, self._strategy = overlap, model, model.distribute_strategy
        check_outside_of_scope("Experience", self._strategy)
        replicas = self._strategy.num_replicas_in_sync
        ratio = fractions.Fraction(float(steps_per_update)).limit_denominator(round(1 / _SMALLEST_RATIO))
        share = Share(
            replicas, ratio / replicas, replay_capacity // replicas, -(-warmup_steps // replicas), n_step, overlap
        )
        if overlap and not share.has_whole_steps(tasks):
            raise ValueError(
                f"steps_per_update must be a multiple of every task's num_envs{_times(replicas)} where overlap=True. "
                f"Received: {steps_per_update}, for { ({name: task.num_envs for name, task in tasks.items()}) }."
            )
        explorations = exploration_lib.by_task(exploration, tasks)
        for task in tasks.values():
            self._check_warmup(task, share)
            if not task.spec.in_graph:
                check_host(task.name, self._strategy)
            check_task(task, seed)
        self.shards = []
        for device, number in zip(local_devices(self._strategy), local_replicas(self._strategy), strict=True):
            with tf.device(device):
                self.shards.append(Shard(tasks, model.paths, explorations, share, seed, number))
        self._sources: dict[int, BatchSource] = {}
        in_graph = all(task.spec.in_graph for task in tasks.values())
        self.compilable = in_graph and supports_jit(model.network)

    @property
    def replays(self) -> dict[str, UniformReplay]:
        """By task, of the first shard of this process."""
        return self.shards[0].replays

    @property
    def statistics(self) -> dict[str, CollectionStatistics]:
        """Likewise."""
        return self.shards[0].statistics

    @property
    def env_steps(self) -> dict[str, int]:
        """How many steps each task's environments have taken so far, in all shards, the warm-up's included."""
        replicas = self._strategy.num_replicas_in_sync  # which all take as many
        return {name: replicas * int(statistics.steps) for name, statistics in self.statistics.items()}

    def take_mean_returns(self) -> dict[str, float | None]:
        """Each task's mean return over the training episodes since the last call, None where none finished.

        Returns are as the environments gave them: undiscounted, unscaled. With several processes each must call it, and
        is told those of the run.
        """
        finished = [
            [shard.statistics[name].take_finished() for shard in self.shards] for name in self.tasks
        ]  # [T, shards, 2]
        numbers = sums(self._strategy, [sum(number for number, _ in of_task) for of_task in finished])
        totals = sums(self._strategy, [sum(total for _, total in of_task) for of_task in finished])
        return {
            name: total / number if number else None
            for name, number, total in zip(self.tasks, numbers, totals, strict=True)
        }

    def restart(self) -> None:
        """Begins new episodes everywhere; the open ones count as truncated, and not among the returns."""
        for shard in self.shards:
            shard.restart()

    def reset(self, seed: int) -> None:
        """Forgets everything and begins anew, as if made with this seed. Nothing that was compiled is lost.

        Args:
            seed: As the constructor takes it.

        Raises:
            ValueError: It is not an integer of at least 0.
        """
        seed = integer("seed", seed, least=0)
        for shard in self.shards:
            shard.reset(seed)

    def dataset(self, batch_size: int = 32) -> tf.data.Dataset:
        """Batches without end, each made when it is asked for and not before.

        `fit` knows it and draws the batches within its own graph. What `take`, `map` and their like make of it is a
        dataset as any other, from which `fit` draws one batch after the other, slower.

        Args:
            batch_size: B, of each task, all replicas together.

        Returns:
            A dataset of `{task: Transition}`.

        Raises:
            ValueError: The replay cannot hold a batch, or the replicas do not divide it.
        """
        batch_size = integer("batch_size", batch_size)
        check_batch_size(batch_size, self._strategy)
        rows = batch_size // self._strategy.num_replicas_in_sync
        for name, replay in self.replays.items():
            if replay.capacity < rows:
                raise ValueError(
                    f"replay_capacity of task '{name}' must hold a batch of {batch_size}. Received: "
                    f"{self.replay_capacity}. Raise replay_capacity or lower batch_size."
                )
        source = self._sources.setdefault(batch_size, BatchSource(self, rows))

        def make() -> tf.data.Dataset:
            options = tf.data.Options()
            options.autotune.enabled = False
            options.experimental_optimization.inject_prefetch = False  # it would run ahead of the policy
            options.experimental_optimization.apply_default_optimizations = False
            options.deterministic = True
            if self.compilable or rows < batch_size:
                dataset = tf.data.Dataset.from_generator(source.generate, output_signature=source.signature())
            else:
                dataset = tf.data.Dataset.counter().map(lambda _: self.next_batch(rows))
            return of_experience(dataset.with_options(options), self)

        # `fit` draws batches from the source without leaving its graph, so the dataset is not traced before it is used.
        return made_when_used(make, experience=self, batch_source=source)

    def next_batch(self, num_rows: int, warm_up: bool = True) -> dict[str, vl.Transition]:
        """Takes the steps that are due before the next update, then samples every task. For use in a graph.

        Called in a replica it is its own shard that does.

        Args:
            num_rows: Of each task.
            warm_up: Whether the warm-up's steps are taken if they were not yet; otherwise `warm_up` was called before.
        """
        return self.shards[replica_number() % len(self.shards)].next_batch(num_rows, warm_up)

    @property
    def is_warm(self) -> bool:
        """Whether the warm-up's steps were taken."""
        return self.shards[0].is_warm

    def warm_up(self) -> None:
        """Takes the warm-up's steps, if they were not taken yet. For use in a graph."""
        for shard in self.shards:
            shard.warm_up()

    def check_schedules(self) -> None:
        """Raises a ValueError if an exploration schedule returned a value outside `[0, 1]`. Call it outside graphs."""
        for shard in self.shards:
            shard.check_schedules()

    def _check_warmup(self, task: Task, share: Share) -> None:
        if share.warmup_rounds(task.num_envs) < self.n_step:
            copies = task.num_envs * share.replicas
            raise ValueError(
                f"warmup_steps must give each of the {copies} copies of task '{task.name}' at least n_step = "
                f"{self.n_step} steps. Received: {self.warmup_steps}. Give {self.n_step * copies} or more."
            )


def check_same_learning(task: Task, of_model: Task) -> None:
    """Raises a ValueError if a task of the experience and the model's own of this name are not the same problem.

    Args:
        task: The task of the experience.
        of_model: The task of the model, which evaluations and files of the model use.
    """
    settings = ["discount", "reward_scale", "reward_clip", "max_episode_steps"]
    if isinstance(task.environment, str) and isinstance(of_model.environment, str):
        settings.append("environment")
    for setting in settings:
        here, there = getattr(task, setting), getattr(of_model, setting)
        if here != there:
            raise ValueError(
                f"{setting} of task '{task.name}' must be that of the model's task, {there!r}. Received: {here!r}. "
                "Make both from one TaskSet; mtq.MultiTaskDQN(model.network, tasks) is the model with other tasks."
            )


def _times(replicas: int) -> str:
    return f" times {replicas} replicas" if replicas > 1 else ""
