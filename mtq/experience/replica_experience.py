"""What one replica acts with and remembers: environments, policies and replays of every task, with their own seeds."""

import dataclasses
import fractions
import functools
from collections.abc import Mapping
from typing import Any

import tensorflow as tf

from mtq import value_learning as vl
from mtq.environments.gymnasium_environment import GymnasiumEnvironment
from mtq.environments.in_graph import InGraphEnvironment
from mtq.experience import exploration as exploration_lib
from mtq.experience.collection_statistics import CollectionStatistics
from mtq.experience.driver import StepDriver, act_together, run_together
from mtq.experience.replay import UniformReplay
from mtq.random_numbers import Purpose, stream_seeds
from mtq.tasks.task import Task, TaskSet


@dataclasses.dataclass(frozen=True)
class Share:
    """One replica's part of what a run does. All numbers are of each task.

    Attributes:
        replicas: N, how many have such a part.
        steps_per_update: Environment steps, as a fraction.
        replay_capacity: Steps remembered.
        warmup_steps: Random steps before the first update, to be rounded up.
        n_step: Steps that a return spans.
        overlap: As `Experience` takes it.
    """

    replicas: int
    steps_per_update: fractions.Fraction
    replay_capacity: int
    warmup_steps: int
    n_step: int
    overlap: bool

    def warmup_rounds(self, num_envs: int) -> int:
        """How many random steps each copy takes."""
        return -(-self.warmup_steps // num_envs)

    def steps_due(self, num_envs: int, number: tf.Tensor | int) -> tf.Tensor | int:
        """How many steps each copy takes before the batch of this number, the warm-up's not included."""
        steps, updates = self.steps_per_update.numerator, self.steps_per_update.denominator * num_envs
        if steps % updates == 0:
            return steps // updates
        return tf.cast(number * steps // updates - (number - 1) * steps // updates, tf.int32)

    def has_whole_steps(self, tasks: TaskSet) -> bool:
        """Whether it is the same number before every batch."""
        return all(isinstance(self.steps_due(task.num_envs, 1), int) for task in tasks.values())


class Shard:
    """One replica's environments, policies and replays.

    Args:
        tasks: The tasks.
        paths: `task` → its network, by which it acts.
        explorations: How each task is explored; ε counts the steps of all replicas.
        share: What it is to do.
        seed: Of the run.
        replica: Its number, by which its seeds differ from others'.

    Attributes:
        statistics: Of each task.
        replays: Likewise.
    """

    def __init__(
        self,
        tasks: TaskSet,
        paths: Mapping[str, Any],
        explorations: Mapping[str, exploration_lib.EpsilonGreedy],
        share: Share,
        seed: int,
        replica: int = 0,
    ) -> None:
        self.tasks, self.share, self._seed, self._replica = tasks, share, seed, replica
        self.statistics: dict[str, CollectionStatistics] = {}
        self.replays: dict[str, UniformReplay] = {}
        self.drivers: dict[str, StepDriver] = {}
        for name, seeds in _seeds(tasks, seed, replica).items():
            self._add_task(tasks[name], paths[name], explorations[name], seeds)
        self._batches = tf.Variable(0, dtype=tf.int64, trainable=False)  # drawn so far
        self._is_warm = tf.Variable(False, trainable=False)
        # Where environments live in Python their last step before an update may be taken while that is computed, with
        # actions chosen before: unless the batch holds that very step, which the draw knows beforehand, nothing of the
        # update depends on it, and all numbers are those of strict turns.
        in_graph = all(task.spec.in_graph for task in tasks.values())
        self.steps_beside_updates = not in_graph and share.has_whole_steps(tasks)

    def check_schedules(self) -> None:
        """Raises a ValueError if an exploration schedule returned a value outside `[0, 1]`. Call it outside graphs."""
        for driver in self.drivers.values():
            driver.policy.check_schedule()

    def restart(self) -> None:
        """Begins new episodes everywhere; the open ones count as truncated, and not among the returns."""
        for name, driver in self.drivers.items():
            self.statistics[name].drop_open_episodes()
            self.replays[name].end_episodes()
            driver.restart()

    def reset(self, seed: int) -> None:
        """Forgets everything and begins anew.

        Args:
            seed: Of the run.
        """
        self._seed = seed
        for name, (of_environment, of_replay, of_policy) in _seeds(self.tasks, seed, self._replica).items():
            self.statistics[name].reset()
            self.replays[name].reset(of_replay)
            self.drivers[name].reset(of_environment, of_policy)
        self._batches.assign(0)
        self._is_warm.assign(False)

    def state(self) -> dict[str, tf.Variable]:
        """All variables, by name: what a run needs to go on."""
        found = {"batches": self._batches, "is_warm": self._is_warm}
        for name in self.tasks:
            kept = {
                "statistics": self.statistics[name].variables,
                "replay": self.replays[name].state(),
                "driver": self.drivers[name].state(),
            }
            for part, variables in kept.items():
                found.update({f"{name}/{part}/{number}": variable for number, variable in enumerate(variables)})
        return found

    def go_on(self, epoch: int) -> None:
        """Called when `state` was read back. Environments in Python cannot be: they begin new episodes.

        Args:
            epoch: How many are done, by which these differ from those of the beginning.
        """
        for name, (of_environment, _, _) in _seeds(self.tasks, self._seed, self._replica, epoch).items():
            if not self.tasks[name].spec.in_graph:
                self.statistics[name].drop_open_episodes()
                self.replays[name].end_episodes()
                self.drivers[name].env.reseed(of_environment)
                self.drivers[name].write(self.drivers[name].env.reset())

    def next_batch(self, num_rows: int, warm_up: bool = True) -> dict[str, vl.Transition]:
        """Takes the steps that are due before the next update, then samples a batch of every task. For use in a graph.

        Args:
            num_rows: Of each task.
            warm_up: Whether the warm-up's steps are taken if they were not yet; otherwise `warm_up` was called before.
        """
        number = self._batches.assign_add(1)  # of this batch, from 1
        if warm_up:
            self.warm_up()
        if not self.steps_beside_updates:
            for num_envs, drivers in self._drivers_by_num_envs().items():
                run_together(drivers, self.share.steps_due(num_envs, number))
            return {name: replay.sample(num_rows) for name, replay in self.replays.items()}

        last_steps = []
        for num_envs, drivers in self._drivers_by_num_envs().items():
            run_together(drivers, self.share.steps_due(num_envs, number) - 1)
            last_steps.append(act_together(drivers))

        @tf.autograph.experimental.do_not_convert
        def take_last_steps() -> tf.Tensor:
            for take_step in last_steps:
                take_step()
            return tf.constant(True)

        draws = {name: replay.draw(num_rows, 0 if self.share.overlap else 1) for name, replay in self.replays.items()}
        if self.share.overlap:
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
            run_together(drivers, tf.where(self._is_warm, 0, self.share.warmup_rounds(num_envs)))
        self._is_warm.assign(True)

    def _drivers_by_num_envs(self) -> dict[int, list[StepDriver]]:
        """Tasks with as many copies are stepped together."""
        groups: dict[int, list[StepDriver]] = {}
        for name, task in self.tasks.items():
            groups.setdefault(task.num_envs, []).append(self.drivers[name])
        return groups

    def _add_task(self, task: Task, network: Any, exploration: exploration_lib.EpsilonGreedy, seeds: list[int]) -> None:
        statistics = CollectionStatistics(task.num_envs)
        replay = UniformReplay(task, self.share.replay_capacity, self.share.n_step, seeds[1])
        warmup = self.share.warmup_rounds(task.num_envs) * task.num_envs
        replicas = self.share.replicas
        acting = functools.partial(network, training=False)  # some layers of Keras are in training mode by default
        policy = exploration_lib.EpsilonGreedyPolicy(
            task, acting, exploration, lambda: (statistics.steps - warmup) * replicas, seeds[2]
        )
        environment = (
            InGraphEnvironment(task, task.num_envs, seeds[0])
            if task.spec.in_graph
            else GymnasiumEnvironment(task, seeds[0])
        )
        self.statistics[task.name], self.replays[task.name] = statistics, replay
        self.drivers[task.name] = StepDriver(environment, policy, [replay.add_batch, statistics])


def _seeds(tasks: TaskSet, seed: int, replica: int, epoch: int = 0) -> dict[str, list[int]]:
    """For each task a seed of its environments, its replay and its policy."""
    return {
        name: stream_seeds(seed, Purpose.EXPERIENCE, number, replica, epoch, count=3)
        for number, name in enumerate(tasks)
    }
