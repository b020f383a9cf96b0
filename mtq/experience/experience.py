"""`Experience`: acts in the tasks' environments, stores the steps, and yields batches to train on."""

import fractions
import math
from typing import Any

import keras
import tensorflow as tf

from mtq import value_learning as vl
from mtq.checks import flag, integer, is_real
from mtq.distribution.checks import check_batch_size, check_host, check_outside_of_scope
from mtq.distribution.replicas import local_devices, local_replicas, replica_number, sums
from mtq.environments.checker import check_task
from mtq.experience import exploration as exploration_lib
from mtq.experience import samplers as samplers_lib
from mtq.experience.batches import Batches, check_errors_are_not_lost
from mtq.experience.collection_statistics import CollectionStatistics
from mtq.experience.q_model import QModel, check_specs
from mtq.experience.replica_experience import MakePolicy, MakeReplay, Parts, ReplicaExperience, Share
from mtq.heads import NoisyDense
from mtq.interfaces import ReplayBuffer
from mtq.keras_internals import flatten_layers, supports_jit
from mtq.tasks import Task, TaskSet, check_tasks

_SMALLEST_RATIO = 1e-4
_LONG_WARM_UP = 5_000  # from so many steps, XLA saves more time in the warm-up than it takes to compile it


class Experience:
    """Acts in every task's environments with the model's own policy, stores the steps, and yields batches.

    Collection and learning strictly alternate: before every update, each task's environments take `steps_per_update`
    steps with the current weights. Before the first update they also take `warmup_steps` steps with random actions. The
    last step of environments in Python may be taken concurrently with the update, but only if the batch does not
    contain that step. All numbers are those of strict alternation, to the bit, except where a replay of images removes
    steps early (`mtq.experience.replay.Replay`).

    With several replicas (`mtq.distribution`), each replica has its own environments, seeds and replay buffers. All
    numbers here are those of the whole run, and every replica does an equal share of it. Each replica has `num_envs`
    copies of every environment.

    Args:
        model: The `MultiTaskDQN` that acts and learns.
        tasks: The tasks; by default those of the model. Pass them if their environments were left out of a saved model,
            or to train with other environments of the same shapes. `Experience(tasks, model)` works too.
        exploration: The probability ε of a random action: a number, a `keras.optimizers.schedules` schedule over a
            task's environment steps after the warm-up, a `mtq.exploration.EpsilonGreedy`, or a dict of them by
            task. By default `mtq.exploration.linear()`, from 1 to 0.05 in 10,000 steps, or 0 if the network has layers
            whose noise explores, `mtq.heads.NoisyDense`.
        replay_capacity: The number of environment steps that are stored of each task.
        warmup_steps: The number of environment steps of each task with random actions before the first update, rounded
            up to a multiple of the task's `num_envs`.
        steps_per_update: The number of environment steps of each task per update, over all copies: the inverse of the
            replay ratio. It may be a fraction, such as 0.25 for four updates per environment step. After u updates each
            copy has taken ⌊u · steps_per_update / num_envs⌋ steps in addition to those of the warm-up.
        n_step: The number of steps that the returns in a batch span.
        overlap: If True, always run the last environment step concurrently with the update. The batch then never
            contains that step. Actions still follow from the newest weights. The same seed gives the same bits, but not
            those of `overlap=False`. `steps_per_update` must be a multiple of every task's `num_envs`. The setting has
            no effect if all tasks are in-graph.
        seed: The seed of the environments, the exploration and the sampling. The same seed gives the same bits.
        sampler: Which transitions a batch consists of: `"uniform"` or `"prioritized"`, a `mtq.samplers.Sampler` such as
            `mtq.samplers.Prioritized(alpha=0.5)`, of which each task and replica gets its own copy, a function without
            arguments that returns one, or a dict of them by task. By default sampling is uniform. `evaluate` and
            `validation_data` always sample uniformly.
        replay: A function `(spec, num_envs, capacity)` that returns a replay buffer with tf-agents' interface for the
            steps that `spec` describes, such as `lambda spec, num_envs, capacity: TFUniformReplayBuffer(spec, num_envs,
            max_length=capacity // num_envs)`, which works with one task only. By default
            `mtq.experience.replay.Replay`. The sampler of a `Replay` that is still empty gets this experience's seed.
        policy: A function `(task, network)` that returns the policy of a task, with tf-agents' interface, in place of
            the ε-greedy one. `network` maps `observation [N, …]` to `q_values [N, A]`. In the time steps that the
            policy receives, only the observation and the step type change; reward and discount are constant. If the
            task has masks of legal actions, the observation is the pair `(observation, action_mask [N, A])`.

    Raises:
        ValueError: A setting is out of its range, the tasks are not those of the model, or an environment is invalid.
            The message names the task and the remedy.

    Example:
        >>> import mtq
        >>> tasks = mtq.TaskSet([mtq.Task("cart_pole", "CartPole-v1", num_envs=2)])
        >>> model = mtq.MultiTaskDQN(mtq.networks.shared_q_network(tasks, mtq.networks.mlp([16])), tasks)
        >>> experience = mtq.Experience(model, warmup_steps=10, steps_per_update=4)
        >>> batch = next(iter(experience.batches(32)))
        >>> batch["cart_pole"].observation.shape, experience.env_steps
        (TensorShape([32, 4]), {'cart_pole': 14})
    """

    def __init__(
        self,
        model: QModel,
        tasks: TaskSet | None = None,
        *,
        exploration: exploration_lib.Exploration = None,
        replay_capacity: int = 50_000,
        warmup_steps: int = 1_000,
        steps_per_update: float = 1,
        n_step: int = 1,
        overlap: bool = False,
        seed: int = 0,
        sampler: samplers_lib.Samplers = None,
        replay: MakeReplay | None = None,
        policy: MakePolicy | None = None,
    ) -> None:
        model, tasks = _in_order(model, tasks)
        for name, task in tasks.items():
            _check_same_learning(task, model.tasks[name])
        n_step, seed, overlap = integer("n_step", n_step), integer("seed", seed, least=0), flag("overlap", overlap)
        replay_capacity = integer("replay_capacity", replay_capacity, least=0)
        warmup_steps = integer("warmup_steps", warmup_steps, least=0)
        parts = _parts(replay, sampler, policy, exploration, tasks)
        self.tasks, self.replay_capacity, self.warmup_steps, self.n_step = tasks, replay_capacity, warmup_steps, n_step
        self.overlap, self.model, self._strategy = overlap, model, model.distribute_strategy
        check_outside_of_scope("Experience", self._strategy)
        share = _share(self.num_replicas, steps_per_update, replay_capacity, warmup_steps, n_step, overlap)
        if overlap and not share.has_whole_steps(tasks):
            raise ValueError(
                f"steps_per_update must be a multiple of every task's num_envs{_times(self.num_replicas)} if "
                f"overlap=True. Received: {steps_per_update}, for "
                f"{ ({name: task.num_envs for name, task in tasks.items()}) }. Change steps_per_update or num_envs."
            )
        if exploration is None:
            exploration = {name: 0.0 if _is_noisy(model.paths[name]) else exploration_lib.linear() for name in tasks}
        explorations = exploration_lib.by_task(exploration, tasks)
        for task in tasks.values():
            self._check_warmup(task, share)
            if not task.spec.in_graph:
                check_host(task.name, self._strategy)
            check_task(task, seed)
        self.replicas = []
        for device, number in zip(local_devices(self._strategy), local_replicas(self._strategy), strict=True):
            with tf.device(device):
                self.replicas.append(ReplicaExperience(tasks, model, explorations, share, parts, seed, number))
        self._batches: dict[int, Batches] = {}
        self._warm_up: Any = None
        has_default_parts = replay is None and policy is None
        in_graph = has_default_parts and all(task.spec.in_graph for task in tasks.values())
        self.compilable = in_graph and supports_jit(model.network)

    @property
    def num_replicas(self) -> int:
        """The number of replicas of the run, over all processes."""
        return self._strategy.num_replicas_in_sync

    @property
    def replays(self) -> dict[str, ReplayBuffer]:
        """The replay buffer of each task, for the first replica of this process."""
        return self.replicas[0].replays

    @property
    def statistics(self) -> dict[str, CollectionStatistics]:
        """The statistics of each task, for the first replica of this process."""
        return self.replicas[0].statistics

    @property
    def env_steps(self) -> dict[str, int]:
        """The number of environment steps of each task so far, over all replicas and including the warm-up."""
        return {name: self.num_replicas * int(statistics.steps) for name, statistics in self.statistics.items()}

    def take_mean_returns(self) -> dict[str, float | None]:
        """Computes each task's mean return over the training episodes that have finished since the last call.

        With several processes, every process must call this, and receives the means of the whole run.

        Returns:
            The mean returns by task, undiscounted sums of the environment's own rewards; None where no episode has
            finished.
        """
        return {name: total / number if number else None for name, (number, total) in self.take_finished().items()}

    def take_finished(self) -> dict[str, tuple[float, float]]:
        """Counts each task's training episodes that have finished since the last call, and adds up their returns.

        It counts the same episodes as `take_mean_returns`; use one of them.

        Returns:
            The number of episodes and the sum of their undiscounted returns, by task.
        """
        finished = [
            [replica.statistics[name].take_finished() for replica in self.replicas] for name in self.tasks
        ]  # [T, replicas, 2]
        numbers = sums(self._strategy, [sum(number for number, _ in replicas) for replicas in finished])
        totals = sums(self._strategy, [sum(total for _, total in replicas) for replicas in finished])
        return dict(zip(self.tasks, zip(numbers, totals, strict=True), strict=True))

    def restart(self) -> None:
        """Starts new episodes in all environments. Open episodes are truncated, and their returns are not counted."""
        for replica in self.replicas:
            replica.restart()

    def reset(self, seed: int) -> None:
        """Removes all stored steps, and starts again as if created with this seed. Compiled functions are kept.

        Args:
            seed: The seed of the environments, the exploration and the sampling.

        Raises:
            ValueError: The seed is not an integer of at least 0.
        """
        seed = integer("seed", seed, least=0)
        for replica in self.replicas:
            replica.reset(seed)

    def batches(self, batch_size: int = 32) -> Batches:
        """Returns an endless iterable of batches, each drawn only when it is requested.

        `fit` draws the batches within its own graph.

        Args:
            batch_size: The number of rows of each task, B, over all replicas.

        Returns:
            The batches `{task: Transition}`, an `mtq.experience.batches.Batches`.

        Raises:
            ValueError: The replay buffer cannot hold a batch, or B is not a multiple of the number of replicas.
        """
        batch_size = integer("batch_size", batch_size)
        check_batch_size(batch_size, self._strategy)
        for name, replay in self.replays.items():
            if replay.capacity < batch_size // self.num_replicas:
                raise ValueError(
                    f"replay_capacity of task '{name}' must hold a batch of {batch_size}. Received: "
                    f"{self.replay_capacity}. Raise replay_capacity or lower batch_size."
                )
        return self._batches.setdefault(batch_size, Batches(self, batch_size))

    def dataset(self, batch_size: int = 32) -> Batches:
        """Returns the same as `batches`. The name is that of earlier versions."""
        return self.batches(batch_size)

    def next_batch(self, num_rows: int) -> dict[str, vl.Transition]:
        """Takes the environment steps that are due before the next update, then samples a batch of every task.

        The first call also takes the steps of the warm-up. For use in a graph, or eagerly. Within a replica, only that
        replica's environments are stepped.

        Args:
            num_rows: The number of rows of each task in this replica.

        Returns:
            The batch `{task: Transition}`.

        Raises:
            ValueError: A sampler needs the errors of each update, as that of prioritized replay does.
        """
        replica = self.current_replica()
        check_errors_are_not_lost(replica, "a call of next_batch")
        replica.warm_up()
        return replica.next_batch(num_rows).batch

    def current_replica(self) -> ReplicaExperience:
        """Returns the part of the replica in which this is called."""
        return self.replicas[replica_number() % len(self.replicas)]

    @property
    def is_warm(self) -> bool:
        """Whether the warm-up has been done."""
        return self.replicas[0].is_warm

    def prepare(self) -> None:
        """Takes the steps of the warm-up, unless they have been taken. For use outside graphs."""
        if self.is_warm:
            return
        if self._warm_up is None:
            on_one_device = len(self.replicas) == 1  # XLA cannot reach more than one
            uses_xla = self.warmup_steps > _LONG_WARM_UP and on_one_device and self.compilable and self.model.uses_xla
            warm_up = tf.function(self.warm_up, autograph=False, jit_compile=uses_xla or None)
            self._warm_up = warm_up.get_concrete_function()
        self._warm_up()
        self.check_recorded()

    def warm_up(self) -> None:
        """Takes the steps of the warm-up, unless they have been taken. For use in a graph."""
        for replica in self.replicas:
            replica.warm_up()

    def check_recorded(self) -> None:
        """Raises the errors that compiled graphs record, because they cannot raise them. For use outside graphs.

        Raises:
            ValueError: An exploration schedule returned a value outside `[0, 1]`, or in-graph dynamics allowed no
                action in a state that must be acted on.
        """
        for replica in self.replicas:
            replica.check_recorded()

    def _check_warmup(self, task: Task, share: Share) -> None:
        if share.warmup_rounds(task.num_envs) < self.n_step:
            copies = task.num_envs * share.num_replicas
            raise ValueError(
                f"warmup_steps must give each of the {copies} copies of task '{task.name}' at least n_step = "
                f"{self.n_step} steps. Received: {self.warmup_steps}. Pass {self.n_step * copies} or more."
            )


def _in_order(model: Any, tasks: Any) -> tuple[QModel, TaskSet]:
    """Returns the model and the tasks, whichever order they were passed in, after checking that they fit."""
    if isinstance(model, TaskSet) or hasattr(tasks, "paths"):
        model, tasks = tasks, model
    if not hasattr(model, "paths"):
        raise ValueError(
            f"model of Experience must be an mtq.MultiTaskDQN. Received: {model!r}. Pass Experience(model)."
        )
    tasks = model.tasks if tasks is None else tasks
    check_tasks("tasks of experience", tasks)
    if set(tasks) != set(model.tasks):
        raise ValueError(
            f"The tasks of experience must be the model's, {list(model.tasks)}. Received: {list(tasks)}. Leave tasks "
            "out, or make both from one TaskSet."
        )
    check_specs(tasks, model)
    return model, tasks


def _is_noisy(network: keras.Model) -> bool:
    return any(isinstance(layer, NoisyDense) for layer in flatten_layers(network))


def _parts(replay: Any, sampler: Any, policy: Any, exploration: Any, tasks: TaskSet) -> Parts:
    for role, value in (("replay", replay), ("policy", policy)):
        if value is not None and not callable(value):
            raise ValueError(f"{role} of experience must be a function or class that returns one. Received: {value!r}.")
    if replay is not None and sampler is not None:
        raise ValueError(
            "sampler must be left out if replay is given, because a replay of your own samples by itself. Received: "
            "both. Leave out one of them."
        )
    if policy is not None and exploration is not None:
        raise ValueError(
            "exploration must be left out if policy is given, because a policy of your own explores by itself. "
            "Received: both. Leave out one of them."
        )
    return Parts(replay, samplers_lib.by_task(sampler, tasks), policy)


def _share(
    num_replicas: int, steps_per_update: Any, replay_capacity: int, warmup_steps: int, n_step: int, overlap: bool
) -> Share:
    if not is_real(steps_per_update) or not math.isfinite(steps_per_update) or steps_per_update < _SMALLEST_RATIO:
        raise ValueError(
            f"steps_per_update must be finite and at least {_SMALLEST_RATIO}. Received: {steps_per_update!r}."
        )
    steps = fractions.Fraction(float(steps_per_update)).limit_denominator(round(1 / _SMALLEST_RATIO)) / num_replicas
    capacity, warmup = replay_capacity // num_replicas, -(-warmup_steps // num_replicas)
    return Share(num_replicas, steps, capacity, warmup, n_step, overlap)


def _check_same_learning(task: Task, model_task: Task) -> None:
    """Raises a ValueError if a task of the experience and the model's task of the same name are different problems.

    Args:
        task: The task of the experience.
        model_task: The task of the model, which its evaluations and files use.
    """
    settings = ["discount", "reward_scale", "reward_clip", "max_episode_steps"]
    if isinstance(task.environment, str) and isinstance(model_task.environment, str):
        settings.append("environment")
    for setting in settings:
        value, model_value = getattr(task, setting), getattr(model_task, setting)
        if value != model_value:
            raise ValueError(
                f"{setting} of task '{task.name}' must be that of the model's task, {model_value!r}. Received: "
                f"{value!r}. Make both from one TaskSet, or pass mtq.MultiTaskDQN(model.network, tasks) as the model."
            )
    if task.spec.has_action_mask != model_task.spec.has_action_mask:
        raise ValueError(
            f"Task '{task.name}' must have masks of legal actions exactly if the model's task has them, because the "
            "model's evaluations and exports use its own task. Received: masks "
            f"{'here' if task.spec.has_action_mask else 'of the model alone'}. Make both from one TaskSet, or pass "
            "mtq.MultiTaskDQN(model.network, tasks) as the model."
        )


def _times(num_replicas: int) -> str:
    return f" times {num_replicas} replicas" if num_replicas > 1 else ""
