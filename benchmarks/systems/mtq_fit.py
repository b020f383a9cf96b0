"""mtq through `fit`: with in-graph tasks, with Gymnasium's, and updates only on a fixed batch."""

from typing import Any

import keras
import numpy as np
import tensorflow as tf

import mtq
from benchmarks.systems.work import Work
from mtq.experience.batches import Batches
from mtq.experience.sampler import Drawn

_GYMNASIUM = ("CartPole-v1", "Acrobot-v1", "MountainCar-v0", "CartPole-v1", "MountainCar-v0")


class MtqInGraph:
    """mtq on the in-graph tasks of `mtq.suites.classic`, which are repeated if there are more than five."""

    overlap = double = False

    def __init__(self, work: Work) -> None:
        self.work, self.round_to = work, work.steps_per_execution
        self.tasks = mtq.TaskSet([self.task(i) for i in range(work.tasks)])
        self.model = mtq.MultiTaskDQN(
            self.make_network(), self.tasks, target_update_period=work.target_update_period, double=self.double
        )
        self.model.compile(
            keras.optimizers.Adam(work.learning_rate),
            loss="huber",
            aggregator="normalized_sum",
            steps_per_execution=work.steps_per_execution,
        )
        self.batches = self.make_batches()

    def task(self, i: int) -> mtq.Task:
        """Returns the task with index `i`."""
        suite = list(mtq.suites.classic().values())
        task = suite[i % len(suite)]
        return mtq.Task(f"task_{i}", task.environment, discount=task.discount, num_envs=self.work.num_envs)

    def make_network(self) -> keras.Model:
        """Returns the network."""
        return mtq.networks.shared_q_network(
            self.tasks,
            backbone=mtq.networks.mlp([self.work.hidden]),
            encoders={name: mtq.networks.dense_encoder(task, self.work.hidden) for name, task in self.tasks.items()},
            seed=0,
        )

    def make_batches(self) -> Any:
        """Returns the batches that `fit` receives."""
        self.experience = mtq.Experience(
            self.tasks,
            self.model,
            exploration=self.work.epsilon,
            replay_capacity=self.work.replay_capacity,
            warmup_steps=self.work.warmup_steps,
            steps_per_update=self.work.num_envs,
            overlap=self.overlap,
        )
        return self.experience.batches(self.work.batch_size)

    def run(self, updates: int) -> None:
        """Calls `fit` as a user would, and checks the number of updates."""
        before = int(self.model.updates)
        self.model.fit(self.batches, steps_per_epoch=updates, verbose=0)
        made = int(self.model.updates) - before
        if made != updates:
            raise RuntimeError(f"mtq must make {updates} updates. It made: {made}.")

    def env_steps(self) -> int:
        """Returns the number of environment steps that the experience has counted."""
        return sum(self.experience.env_steps.values())


class MtqGymnasium(MtqInGraph):
    """mtq on Gymnasium's CartPole, Acrobot and MountainCar, which are repeated: it has no other comparable tasks."""

    def task(self, i: int) -> mtq.Task:
        """Returns the task with index `i`."""
        return mtq.Task(f"task_{i}", _GYMNASIUM[i % len(_GYMNASIUM)], num_envs=self.work.num_envs)


class MtqGymnasiumOverlap(MtqGymnasium):
    """mtq on Gymnasium's tasks with `overlap=True`."""

    overlap = True


class UpdatesOnly(MtqInGraph):
    """Updates only: the same model and `fit`, on fixed batches."""

    num_batches = 1

    def make_batches(self) -> Any:
        """Returns batches without end, which `fit` reads from variables as it reads a replay buffer."""
        self._updates = 0
        return _FixedBatches(super().make_batches(), self.num_batches)

    def run(self, updates: int) -> None:
        """Makes updates, counts them for `env_steps`, and checks that no environment has been stepped meanwhile."""
        super().run(updates)
        self._updates += updates
        warm_up = -(-self.work.warmup_steps // self.work.num_envs) * self.work.num_envs
        if set(self.experience.env_steps.values()) != {warm_up}:
            raise RuntimeError(
                f"Updates alone must step no environment after the warm-up of {warm_up} steps. Received: "
                f"{self.experience.env_steps} steps."
            )

    def env_steps(self) -> int:
        """Returns the number of environment steps that would accompany the updates; none are taken."""
        return self._updates * self.work.num_envs * self.work.tasks


class MtqUpdate(UpdatesOnly):
    """Updates only, on one fixed batch."""


class _FixedBatches(Batches):
    """Fixed random batches, one after the other, in place of the batches that the experience draws.

    Args:
        batches: Batches of the same tasks and size.
        number: The number of different batches. With several, XLA cannot move work on them out of the loop.
    """

    def __init__(self, batches: Batches, number: int) -> None:
        super().__init__(batches.experience, batches.batch_size)
        random, tasks = np.random.default_rng(0), batches.experience.tasks
        rows = number * batches.batch_size
        self._rows = {name: self._transition(task, rows, random) for name, task in tasks.items()}
        self._number, self._next = number, tf.Variable(0)

    def draw(self) -> Drawn:
        """Returns the next batch, read from its variables."""
        if self._number == 1:
            return Drawn(tf.nest.map_structure(tf.convert_to_tensor, self._rows), {})
        first = self._next.assign_add(1) % self._number * self.batch_size
        rows = first + tf.range(self.batch_size)
        return Drawn(tf.nest.map_structure(lambda variable: tf.gather(variable, rows), self._rows), {})

    def _transition(self, task: mtq.Task, size: int, random: np.random.Generator) -> mtq.value_learning.Transition:
        def observations() -> tf.Variable:
            shape = (size, *task.spec.observation_shape)
            if task.spec.observation_dtype == "uint8":
                return tf.Variable(random.integers(2, size=shape).astype(np.uint8))
            return tf.Variable(random.normal(size=shape).astype(np.float32))

        return mtq.value_learning.Transition(
            observations(),
            tf.Variable(random.integers(task.num_actions, size=size).astype(np.int32)),
            tf.Variable(random.normal(size=size).astype(np.float32)),
            tf.Variable(np.full(size, task.discount, np.float32)),
            observations(),
        )
