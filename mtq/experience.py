"""Experience: what turns tasks and a model into batches to learn from."""

import fractions
import math
from typing import Any

import numpy as np
import tensorflow as tf

from mtq import exploration as exploration_lib
from mtq import value_learning as vl
from mtq.batch_source import BatchSource
from mtq.driver import StepDriver, act_together, run_together
from mtq.environments.checker import check_task
from mtq.environments.gymnasium_environment import GymnasiumEnvironment
from mtq.environments.in_graph import InGraphEnvironment
from mtq.numeric import is_real, is_whole
from mtq.replay import UniformReplay
from mtq.statistics import CollectionStatistics
from mtq.tasks import Task, TaskSet

_SMALLEST_RATIO = 1e-4


class Experience:
    """Acts in every task's environments with the model's own policy, remembers, and yields batches.

    Collection and learning take strict turns: before every update each task's environments take `steps_per_update`
    steps with the weights of that moment, and before the first one `warmup_steps` more with random actions.
    Environments that live in Python may take the last of these steps while the update is computed, but only where the
    batch does not hold that step: all numbers are those of strict turns, to the bit.

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
        if not is_real(steps_per_update) or not math.isfinite(steps_per_update) or steps_per_update < _SMALLEST_RATIO:
            raise ValueError(
                f"steps_per_update must be finite and at least {_SMALLEST_RATIO}. Received: {steps_per_update!r}."
            )
        self._ratio = fractions.Fraction(float(steps_per_update)).limit_denominator(round(1 / _SMALLEST_RATIO))
        if not is_whole(n_step) or n_step < 1:
            raise ValueError(f"n_step must be a whole number from 1. Received: {n_step!r}.")
        self.tasks, self.replay_capacity, self.warmup_steps, self.n_step = tasks, replay_capacity, warmup_steps, n_step
        self.overlap = overlap
        if overlap and not self._has_whole_steps():
            raise ValueError(
                f"steps_per_update must be a multiple of every task's num_envs where overlap=True. Received: "
                f"{steps_per_update}, for { ({name: task.num_envs for name, task in tasks.items()}) }."
            )
        seeds = _seeds(tasks, seed)
        explorations = exploration_lib.by_task(exploration, tasks)
        for task in tasks.values():
            self._check_warmup(task)
            check_task(task, seed)
        self.statistics: dict[str, CollectionStatistics] = {}
        self.replays: dict[str, UniformReplay] = {}
        self._drivers: dict[str, StepDriver] = {}
        for name, task in tasks.items():
            self._add_task(task, model.paths[name], explorations[name], seeds[name])
        self._batches = tf.Variable(0, dtype=tf.int64, trainable=False)  # drawn so far
        self._is_warm = tf.Variable(False, trainable=False)
        self._sources: dict[int, BatchSource] = {}
        self.model = model
        in_graph = all(task.spec.in_graph for task in tasks.values())
        self.compilable = in_graph and all(layer.supports_jit for layer in model.network._flatten_layers())
        # Where environments live in Python their last step before an update may be taken while that is computed, with
        # actions chosen before: unless the batch holds that very step, which the draw knows beforehand, nothing of the
        # update depends on it, and all numbers are those of strict turns.
        self._steps_beside_updates = not in_graph and self._has_whole_steps()

    @property
    def env_steps(self) -> dict[str, int]:
        """How many steps each task's environments have taken so far, the warm-up's included."""
        return {name: int(statistics.steps) for name, statistics in self.statistics.items()}

    def take_mean_returns(self) -> dict[str, float | None]:
        """Each task's mean return over the training episodes since the last call, None where none finished.

        Returns are as the environments gave them: undiscounted, unscaled.
        """
        return {name: statistics.take_mean_return() for name, statistics in self.statistics.items()}

    def restart(self) -> None:
        """Begins new episodes everywhere; the open ones count as truncated, and not among the returns."""
        for name, driver in self._drivers.items():
            self.statistics[name].drop_open_episodes()
            self.replays[name].end_episodes()
            driver.restart()

    def reset(self, seed: int) -> None:
        """Forgets everything and begins anew, as if made with this seed. Nothing that was compiled is lost.

        Args:
            seed: As the constructor takes it.

        Raises:
            ValueError: It is not a whole number from 0.
        """
        for name, (of_environment, of_replay, of_policy) in _seeds(self.tasks, seed).items():
            self.statistics[name].reset()
            self.replays[name].reset(of_replay)
            self._drivers[name].reset(of_environment, of_policy)
        self._batches.assign(0)
        self._is_warm.assign(False)

    def dataset(self, batch_size: int = 32) -> tf.data.Dataset:
        """Batches without end, each made when it is asked for and not before.

        `fit` knows it and draws the batches within its own graph. What `take`, `map` and their like make of it is a
        dataset as any other, from which `fit` draws one batch after the other, slower.

        Args:
            batch_size: B, of each task.

        Returns:
            A dataset of `{task: Transition}`.

        Raises:
            ValueError: The replay cannot hold a batch.
        """
        if not is_whole(batch_size) or batch_size < 1:
            raise ValueError(f"batch_size must be a whole number from 1. Received: {batch_size!r}.")
        for name, replay in self.replays.items():
            if replay.capacity < batch_size:
                raise ValueError(
                    f"replay_capacity of task '{name}' must hold a batch of {batch_size}. Received: "
                    f"{self.replay_capacity}. Raise replay_capacity or lower batch_size."
                )
        options = tf.data.Options()
        options.autotune.enabled = False
        options.experimental_optimization.inject_prefetch = False  # it would run ahead of the policy
        options.experimental_optimization.apply_default_optimizations = False
        options.deterministic = True
        source = self._sources.setdefault(batch_size, BatchSource(self, batch_size))
        if self.compilable:  # `fit` goes another way, so nothing is traced here before it is used
            dataset = tf.data.Dataset.from_generator(source.generate, output_signature=source.signature())
        else:
            dataset = tf.data.Dataset.counter().map(lambda _: self.next_batch(batch_size))
        dataset = dataset.with_options(options)
        dataset.batch_source = source  # by which `fit` draws batches without leaving its graph
        return dataset

    def next_batch(self, batch_size: int, warm_up: bool = True) -> dict[str, vl.Transition]:
        """Takes the steps that are due before the next update, then samples a batch of every task. For use in a graph.

        Args:
            batch_size: B, of each task.
            warm_up: Whether the warm-up's steps are taken if they were not yet; otherwise `warm_up` was called before.
        """
        number = self._batches.assign_add(1)  # of this batch, from 1
        if warm_up:
            self.warm_up()
        if not self._steps_beside_updates:
            for num_envs, drivers in self._drivers_by_num_envs().items():
                run_together(drivers, self._steps_due(num_envs, number))
            return {name: replay.sample(batch_size) for name, replay in self.replays.items()}

        last_steps = []
        for num_envs, drivers in self._drivers_by_num_envs().items():
            run_together(drivers, self._steps_due(num_envs, number) - 1)
            last_steps.append(act_together(drivers))

        @tf.autograph.experimental.do_not_convert
        def take_last_steps() -> tf.Tensor:
            for take_step in last_steps:
                take_step()
            return tf.constant(True)

        draws = {name: replay.draw(batch_size, 0 if self.overlap else 1) for name, replay in self.replays.items()}
        if self.overlap:
            batch = {name: replay.take(draws[name]) for name, replay in self.replays.items()}
            take_last_steps()
            return batch
        nothing = lambda: tf.constant(False)  # noqa: E731
        is_needed = tf.reduce_any([draw.needs_coming for draw in draws.values()])
        tf.cond(is_needed, take_last_steps, nothing)
        batch = {name: replay.take(draws[name]) for name, replay in self.replays.items()}
        tf.cond(is_needed, nothing, take_last_steps)
        return batch

    @property
    def is_warm(self) -> bool:
        """Whether the warm-up's steps were taken."""
        return bool(self._is_warm)

    def warm_up(self) -> None:
        """Takes the warm-up's steps, if they were not taken yet. For use in a graph."""
        for num_envs, drivers in self._drivers_by_num_envs().items():
            run_together(drivers, tf.where(self._is_warm, 0, self._warmup_rounds(num_envs)))
        self._is_warm.assign(True)

    def _drivers_by_num_envs(self) -> dict[int, list[StepDriver]]:
        """Tasks with as many copies are stepped together."""
        groups: dict[int, list[StepDriver]] = {}
        for name, task in self.tasks.items():
            groups.setdefault(task.num_envs, []).append(self._drivers[name])
        return groups

    def _steps_due(self, num_envs: int, number: tf.Tensor | int) -> tf.Tensor | int:
        """How many steps each copy takes before the batch of this number, the warm-up's not included."""
        steps, updates = self._ratio.numerator, self._ratio.denominator * num_envs
        if steps % updates == 0:
            return steps // updates
        return tf.cast(number * steps // updates - (number - 1) * steps // updates, tf.int32)

    def _has_whole_steps(self) -> bool:
        return all(isinstance(self._steps_due(task.num_envs, 1), int) for task in self.tasks.values())

    def _warmup_rounds(self, num_envs: int) -> int:
        return -(-self.warmup_steps // num_envs)

    def _check_warmup(self, task: Task) -> None:
        if self._warmup_rounds(task.num_envs) < self.n_step:
            raise ValueError(
                f"warmup_steps must give each of the {task.num_envs} copies of task '{task.name}' at least n_step = "
                f"{self.n_step} steps. Received: {self.warmup_steps}. Give {self.n_step * task.num_envs} or more."
            )

    def _add_task(self, task: Task, network: Any, exploration: exploration_lib.EpsilonGreedy, seeds: list[int]) -> None:
        statistics = CollectionStatistics(task.num_envs)
        replay = UniformReplay(task, self.replay_capacity, self.n_step, seeds[1])
        warmup = self._warmup_rounds(task.num_envs) * task.num_envs
        policy = exploration_lib.EpsilonGreedyPolicy(
            task, network, exploration, lambda: statistics.steps - warmup, seeds[2]
        )
        environment = (
            InGraphEnvironment(task, task.num_envs, seeds[0])
            if task.spec.in_graph
            else GymnasiumEnvironment(task, seeds[0])
        )
        self.statistics[task.name], self.replays[task.name] = statistics, replay
        self._drivers[task.name] = StepDriver(environment, policy, [replay.add_batch, statistics])


def _seeds(tasks: TaskSet, seed: int) -> dict[str, list[int]]:
    """For each task a seed of its environments, its replay and its policy."""
    if not is_whole(seed) or seed < 0:
        raise ValueError(f"seed must be a whole number from 0. Received: {seed!r}.")
    sequences = np.random.SeedSequence(seed).spawn(len(tasks))
    return {name: sequence.generate_state(3).tolist() for name, sequence in zip(tasks, sequences, strict=True)}
