"""The environments, policies and replay buffers of one replica, with their own seeds."""

import dataclasses
import fractions
import functools
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import numpy as np
import tensorflow as tf

from mtq.environments.gymnasium_environment import GymnasiumEnvironment
from mtq.environments.in_graph import InGraphEnvironment
from mtq.experience.collection_statistics import CollectionStatistics
from mtq.experience.driver import Observer, StepDriver, act_together, run_together
from mtq.experience.exploration import EpsilonGreedy
from mtq.experience.memory import memory_spec
from mtq.experience.old_replays import converted
from mtq.experience.policy import EpsilonGreedyPolicy
from mtq.experience.q_model import QModel, QValues
from mtq.experience.replay import Replay
from mtq.experience.running_returns import RunningReturns
from mtq.experience.sampler import Drawn, Sampler, Selection, UniformSampler
from mtq.experience.samplers import MakeSampler
from mtq.experience.transitions import as_transitions, transitions_of
from mtq.heads import exploration_noise
from mtq.interfaces import ReplayBuffer, TFPolicy
from mtq.random_numbers import Purpose, stream_seeds
from mtq.tasks import Task, TaskSet

MakeReplay = Callable[[Any, int, int], ReplayBuffer]
MakePolicy = Callable[[Task, Callable[[tf.Tensor], tf.Tensor]], TFPolicy]


@dataclasses.dataclass(frozen=True)
class Share:
    """One replica's share of a run. All numbers are those of one task.

    Attributes:
        num_replicas: The number of replicas, all of which have an equal share.
        steps_per_update: The number of environment steps per update, a fraction.
        replay_capacity: The number of environment steps that are stored.
        warmup_steps: The number of environment steps with random actions before the first update, not yet rounded up
            to a multiple of the task's `num_envs`.
        n_step: The number of steps that a return spans.
        overlap: Whether the last environment step always runs concurrently with the update; see `Experience`.
    """

    num_replicas: int
    steps_per_update: fractions.Fraction
    replay_capacity: int
    warmup_steps: int
    n_step: int
    overlap: bool

    def warmup_rounds(self, num_envs: int) -> int:
        """Returns the number of random steps that each copy takes in the warm-up."""
        return -(-self.warmup_steps // num_envs)

    def steps_due(self, num_envs: int, number: tf.Tensor | int) -> tf.Tensor | int:
        """Returns the number of steps that each copy takes before a batch, in addition to those of the warm-up.

        Args:
            num_envs: The number of copies.
            number: The number of the batch, counted from 1.
        """
        steps, updates = self.steps_per_update.numerator, self.steps_per_update.denominator * num_envs
        if steps % updates == 0:
            return steps // updates
        return tf.cast(number * steps // updates - (number - 1) * steps // updates, tf.int32)

    def has_whole_steps(self, tasks: TaskSet) -> bool:
        """Whether each copy takes the same number of steps before every batch."""
        return all(isinstance(self.steps_due(task.num_envs, 1), int) for task in tasks.values())


@dataclasses.dataclass(frozen=True)
class Parts:
    """The user's functions that create parts in place of mtq's own; None for mtq's own.

    Attributes:
        replay: A function `(spec, num_envs, capacity)` that returns a replay buffer.
        samplers: The functions without arguments that return the sampler of one replay buffer, by task.
        policy: A function `(task, network)` that returns a policy.
    """

    replay: MakeReplay | None = None
    samplers: Mapping[str, MakeSampler] | None = None
    policy: MakePolicy | None = None


class _Group(NamedTuple):
    """The drivers of tasks with equally many copies, which are stepped together.

    Attributes:
        num_envs: The number of copies of each task.
        drivers: The drivers.
        q_values: The function that computes the action values of these tasks; None if the policies are the user's own,
            which compute what they need.
    """

    num_envs: int
    drivers: list[StepDriver]
    q_values: QValues | None


class ReplicaExperience:
    """One replica's environments, policies and replay buffers.

    Args:
        tasks: The tasks.
        model: The model whose action values the policies use.
        explorations: The exploration of each task. Schedules of ε count the steps of all replicas.
        share: This replica's share of the run.
        parts: The user's own parts.
        seed: The seed of the run.
        replica: The number of this replica, from which its random numbers follow, together with the seed.

    Attributes:
        tasks: The tasks.
        share: This replica's share of the run.
        steps_beside_updates: Whether the last environment step may run concurrently with the update.
        statistics: The statistics of each task.
        replays: The replay buffer of each task.
        drivers: The driver of each task.
        running_returns: The running returns of the tasks whose returns the model scales by them.
    """

    def __init__(
        self,
        tasks: TaskSet,
        model: QModel,
        explorations: Mapping[str, EpsilonGreedy],
        share: Share,
        parts: Parts,
        seed: int,
        replica: int = 0,
    ) -> None:
        self.tasks, self.share, self._parts, self._seed, self._replica = tasks, share, parts, seed, replica
        self.statistics: dict[str, CollectionStatistics] = {}
        self.replays: dict[str, ReplayBuffer] = {}
        self.drivers: dict[str, StepDriver] = {}
        self.running_returns = {name: RunningReturns(tasks[name]) for name in tasks if name in model.running_returns}
        for name, seeds in _seeds(tasks, seed, replica).items():
            self._add_task(tasks[name], model.paths[name], explorations[name], seeds)
        self._groups = self._make_groups(model)
        self._num_batches = tf.Variable(0, dtype=tf.int64, trainable=False)
        self._is_warm = tf.Variable(False, trainable=False)
        in_graph = all(task.spec.in_graph for task in tasks.values())
        draws_ahead = all(isinstance(replay, Replay) for replay in self.replays.values())
        self.steps_beside_updates = not in_graph and draws_ahead and share.has_whole_steps(tasks)
        if not self.steps_beside_updates:
            self._next_batch = self._after_all_steps
        else:
            self._next_batch = self._before_the_last_step if share.overlap else self._beside_the_last_step

    def check_recorded(self) -> None:
        """Raises the errors that compiled graphs record, as `Experience.check_recorded`. For use outside graphs."""
        for driver in self.drivers.values():
            driver.env.check_masks()
            if isinstance(driver.policy, EpsilonGreedyPolicy):
                driver.policy.check_schedule()
        for replay in self.replays.values():
            if isinstance(replay, Replay):
                replay.sampler.check_recorded()

    def restart(self) -> None:
        """Starts new episodes in all environments. Open episodes are truncated, and their returns are not counted."""
        for name, driver in self.drivers.items():
            self._drop_open_episodes(name)
            driver.restart()

    def reset(self, seed: int) -> None:
        """Removes all stored steps, and starts again.

        Args:
            seed: The seed of the run.
        """
        self._seed = seed
        for name, (environment_seed, replay_seed, policy_seed) in _seeds(self.tasks, seed, self._replica).items():
            self.statistics[name].reset()
            if name in self.running_returns:
                self.running_returns[name].reset()
            replay = self.replays[name]
            if isinstance(replay, Replay):
                replay.reset(replay_seed)
            else:
                replay.clear()
            self.drivers[name].reset(environment_seed, policy_seed)
        self._num_batches.assign(0)
        self._is_warm.assign(False)

    def state(self) -> dict[str, tf.Variable]:
        """Returns all variables that are needed to resume a run, by name."""
        variables_by_name = {"batches": self._num_batches, "is_warm": self._is_warm}
        for name in self.tasks:
            replay = self.replays[name]
            by_part = {
                "statistics": self.statistics[name].variables,
                "replay": _state(replay),
                "driver": self.drivers[name].state(),
            }
            if name in self.running_returns:
                by_part["running_returns"] = self.running_returns[name].variables
            for part, variables in by_part.items():
                variables_by_name.update({f"{name}/{part}/{i}": variable for i, variable in enumerate(variables)})
        return variables_by_name

    def converted(self, saved: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
        """Returns the variables of a checkpoint with the names and shapes of `state`, also those of earlier versions.

        Args:
            saved: The variables of the checkpoint, by name.
        """
        return converted(saved, self.replays)

    def resume(self, epoch: int) -> None:
        """Starts new episodes in environments in Python, which cannot be restored. Called after `state` was restored.

        Args:
            epoch: The number of completed epochs. The seeds depend on it, so that the first episodes are not repeated.
        """
        for name, (environment_seed, _, _) in _seeds(self.tasks, self._seed, self._replica, epoch).items():
            if not self.tasks[name].spec.in_graph:
                self._drop_open_episodes(name)
                self.drivers[name].env.reseed(environment_seed)
                self.drivers[name].write(self.drivers[name].env.reset())

    def next_batch(self, num_rows: int) -> Drawn:
        """Takes the environment steps that are due before the next update, then samples a batch of every task.

        For use in a graph, after the warm-up.

        Args:
            num_rows: The number of rows of each task.

        Returns:
            The batch `{task: Transition}`, and the selections of the samplers.
        """
        return self._next_batch(num_rows, self._num_batches.assign_add(1))

    def make_samplers(self, seed: int) -> dict[str, UniformSampler]:
        """Makes uniform samplers for `sample` that leave those of the training as they are.

        Args:
            seed: The seed of all of them.
        """
        samplers = {}
        for name, replay in self.replays.items():
            num_envs = self.tasks[name].num_envs
            samplers[name] = UniformSampler()
            samplers[name].build(replay.capacity // num_envs, num_envs, seed)
        return samplers

    def sample(self, num_rows: int, samplers: Mapping[str, Sampler] | None = None) -> Drawn:
        """Samples a batch of every task from the stored steps. For use in a graph.

        Args:
            num_rows: The number of rows of each task.
            samplers: The samplers of mtq's replays, by task; by default their own.

        Returns:
            The batch `{task: Transition}`, and the selections of the samplers.
        """
        batch, selections = {}, {}
        for name, replay in self.replays.items():
            if isinstance(replay, Replay):
                sampler = None if samplers is None else samplers[name]
                draw = replay.draw(num_rows, self.share.n_step, sampler=sampler)
                selections[name] = draw.selection
                batch[name] = transitions_of(self.tasks[name], replay, draw)
            else:
                steps, _ = replay.get_next(num_rows, self.share.n_step)
                batch[name] = as_transitions(self.tasks[name], steps)
        return Drawn(batch, selections)

    def update_samplers(self, selections: Mapping[str, Selection], errors: Mapping[str, tf.Tensor]) -> None:
        """Passes the samplers that need them the errors of an update. For use in a graph.

        Args:
            selections: The selections for the batch of the update, by task.
            errors: The temporal-difference errors of the rows, `{task: [B]}`.
        """
        for name, selection in selections.items():
            sampler = self.replays[name].sampler
            if sampler.needs_errors:
                sampler.update(selection, errors[name])

    @property
    def needs_errors(self) -> bool:
        """Whether a sampler needs the errors of each update."""
        return any(isinstance(replay, Replay) and replay.sampler.needs_errors for replay in self.replays.values())

    @property
    def is_warm(self) -> bool:
        """Whether the warm-up has been done."""
        return bool(self._is_warm)

    def warm_up(self) -> None:
        """Takes the steps of the warm-up, unless they have been taken. For use in a graph."""
        for num_envs, drivers, q_values in self._groups:
            run_together(drivers, tf.where(self._is_warm, 0, self.share.warmup_rounds(num_envs)), q_values)
        self._is_warm.assign(True)

    def _after_all_steps(self, num_rows: int, number: tf.Tensor) -> Drawn:
        """Takes all steps that are due, then samples the batch."""
        for num_envs, drivers, q_values in self._groups:
            run_together(drivers, self.share.steps_due(num_envs, number), q_values)
        return self.sample(num_rows)

    def _before_the_last_step(self, num_rows: int, number: tf.Tensor) -> Drawn:
        """Samples the batch, then takes the last step. TensorFlow can run the update concurrently with that step."""
        take_last_steps = self._all_but_the_last_steps(number)
        drawn = self.sample(num_rows)
        take_last_steps()
        return drawn

    def _beside_the_last_step(self, num_rows: int, number: tf.Tensor) -> Drawn:
        """Reads the batch before the last step if it does not contain that step, else after it.

        The draw shows beforehand whether the batch contains the last step. If not, the update does not depend on that
        step. TensorFlow can then compute both concurrently, and all numbers are those of strict alternation.
        """
        take_last_steps = self._all_but_the_last_steps(number)
        draws = {name: self.replays[name].draw(num_rows, self.share.n_step, coming=1) for name in self.tasks}
        nothing = lambda: tf.constant(False)  # noqa: E731
        is_needed = tf.reduce_any([draw.needs_coming for draw in draws.values()])
        tf.cond(is_needed, take_last_steps, nothing)
        batch = {name: transitions_of(self.tasks[name], self.replays[name], draw) for name, draw in draws.items()}
        tf.cond(is_needed, nothing, take_last_steps)
        return Drawn(batch, {name: draw.selection for name, draw in draws.items()})

    def _all_but_the_last_steps(self, number: tf.Tensor) -> Callable[[], tf.Tensor]:
        """Takes all steps that are due except the last, and selects the actions for the last step.

        Returns:
            A function without arguments that takes the last step.
        """
        last_steps = []
        for num_envs, drivers, q_values in self._groups:
            run_together(drivers, self.share.steps_due(num_envs, number) - 1, q_values)
            last_steps.append(act_together(drivers, q_values))

        @tf.autograph.experimental.do_not_convert
        def take_last_steps() -> tf.Tensor:
            for take_step in last_steps:
                take_step()
            return tf.constant(True)

        return take_last_steps

    def _drop_open_episodes(self, name: str) -> None:
        """Ends the open episodes of a task as by truncations. Their returns are not counted."""
        self.statistics[name].drop_open_episodes()
        if name in self.running_returns:
            self.running_returns[name].reset()
        self._end_episodes(name)

    def _end_episodes(self, name: str) -> None:
        """Marks the newest steps as the last of their episodes, so that no return spans the break."""
        replay = self.replays[name]
        if isinstance(replay, Replay):
            replay.end_episodes()
        elif self.share.n_step > 1:
            raise ValueError(
                f"The replay of task '{name}' must be an mtq Replay to start new episodes with n_step = "
                f"{self.share.n_step}, because returns would otherwise span the break. Received: "
                f"{type(replay).__name__}. Use n_step=1, or leave replay out."
            )

    def _make_groups(self, model: QModel) -> list[_Group]:
        names: dict[int, list[str]] = {}
        for name, task in self.tasks.items():
            names.setdefault(task.num_envs, []).append(name)
        has_own = self._parts.policy is not None
        return [
            _Group(
                num_envs,
                [self.drivers[name] for name in together],
                None if has_own else model.joint_q_values(together),
            )
            for num_envs, together in names.items()
        ]

    def _add_task(self, task: Task, network: Any, exploration: EpsilonGreedy, seeds: list[int]) -> None:
        statistics = CollectionStatistics(task.num_envs)
        replay = self._make_replay(task, seeds[1])
        warmup = self.share.warmup_rounds(task.num_envs) * task.num_envs
        replicas = self.share.num_replicas
        acting = functools.partial(_acting, network)
        if self._parts.policy is not None:
            policy = self._parts.policy(task, acting)
            _check_policy(task, policy)
        else:
            steps = lambda: (statistics.steps - warmup) * replicas  # noqa: E731
            policy = EpsilonGreedyPolicy(task, acting, exploration, steps, seeds[2])
        environment = (
            InGraphEnvironment(task, task.num_envs, seeds[0])
            if task.spec.in_graph
            else GymnasiumEnvironment(task, seeds[0])
        )
        self.statistics[task.name], self.replays[task.name] = statistics, replay
        self.drivers[task.name] = StepDriver(environment, policy, [self._storing(task.name, replay), statistics])

    def _storing(self, name: str, replay: ReplayBuffer) -> Observer:
        """Returns the observer that stores a task's steps."""
        running_returns = self.running_returns.get(name)
        if running_returns is None:
            return replay.add_batch
        return lambda steps: replay.add_batch(running_returns(steps))

    def _make_replay(self, task: Task, seed: int) -> ReplayBuffer:
        capacity, n_step = self.share.replay_capacity, self.share.n_step
        if capacity // task.num_envs < n_step:
            raise ValueError(
                f"replay_capacity must hold at least n_step = {n_step} steps of each of the {task.num_envs} copies of "
                f"task '{task.name}'. Received: {capacity}. Pass {n_step * task.num_envs} or more."
            )
        spec = memory_spec(task, has_running_returns=task.name in self.running_returns)
        if self._parts.replay is not None:
            replay = self._parts.replay(spec, task.num_envs, capacity)
            if not isinstance(replay, ReplayBuffer):
                raise ValueError(
                    "replay must be a function (spec, num_envs, capacity) that returns a replay buffer with tf-agents' "
                    f"interface. Received: for task '{task.name}' one that returned {replay!r}. Return an object of "
                    "mtq.interfaces.ReplayBuffer."
                )
            if type(replay).__name__ == "TFUniformReplayBuffer" and len(self.tasks) > 1:
                raise ValueError(
                    "replay must not return a stock TFUniformReplayBuffer if there are several tasks, because the "
                    "critical sections of several buffers in one graph starve each other, and fit never ends. "
                    f"Received: one for '{task.name}'. Leave replay out, or override _get_last_id and "
                    "_increment_last_id in a subclass."
                )
            if isinstance(replay, Replay) and not int(replay.num_frames()):
                replay.sampler.reset(seed)  # which the user's function does not know
            elif isinstance(replay, Replay):
                replay.end_episodes()  # the first step of the experience does not continue what is stored
            return replay
        sampler = None if self._parts.samplers is None else self._parts.samplers[task.name]()
        is_binary = task.spec.is_binary and task.spec.in_graph  # without XLA, bits take a fifth longer
        return Replay(spec, task.num_envs, capacity, sampler, seed, task.frame_stack, is_binary)


def _acting(network: Any, observation: tf.Tensor) -> tf.Tensor:
    """Computes the action values with which actions are selected during training."""
    with exploration_noise():
        return network(observation, training=False)  # some Keras layers are in training mode by default


def _state(replay: ReplayBuffer) -> list[tf.Variable]:
    """The variables of a replay; tf-agents' buffers have them as a method."""
    if isinstance(replay, Replay):
        return replay.state()
    variables: Any = replay.variables
    return list(variables() if callable(variables) else variables)


def _check_policy(task: Task, policy: Any) -> None:
    """Raises a ValueError unless a user's policy can be used for a task."""
    if not isinstance(policy, TFPolicy):
        raise ValueError(
            "policy must be a function (task, network) that returns a policy with tf-agents' interface. Received: for "
            f"task '{task.name}' one that returned {policy!r}."
        )
    if tf.nest.flatten(policy.policy_state_spec):
        raise ValueError(
            f"policy must return a policy without a policy state. Received: for task '{task.name}' one with the state "
            f"{policy.policy_state_spec}. Store its state in variables."
        )


def _seeds(tasks: TaskSet, seed: int, replica: int, epoch: int = 0) -> dict[str, list[int]]:
    """Returns the seeds of each task's environments, replay buffer and policy."""
    return {
        name: stream_seeds(seed, Purpose.EXPERIENCE, number, replica, epoch, count=3)
        for number, name in enumerate(tasks)
    }
