"""Experience: acts in the tasks' environments, stores what happens, and yields batches to learn from."""

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
from mtq.experience.batches import Batches
from mtq.experience.collection_statistics import CollectionStatistics
from mtq.experience.replica_experience import MakePolicy, MakeReplay, MakeSampler, Parts, ReplicaExperience, Share
from mtq.interfaces import ReplayBuffer
from mtq.keras_internals import supports_jit
from mtq.tasks import Task, TaskSet, check_tasks

_SMALLEST_RATIO = 1e-4
_LONG_WARM_UP = 5_000  # steps, from which on compiling the warm-up by XLA takes less time than it saves


class Experience:
    """Acts in every task's environments with the model's own policy, stores the steps, and yields batches.

    Collection and learning take strict turns: before every update, each task's environments take `steps_per_update`
    steps with the current weights. Before the first update they take `warmup_steps` more with random actions. The last
    step of environments in Python may be taken while the update is computed, but only where the batch does not contain
    that step: all numbers are those of strict turns, to the bit.

    With several replicas (`mtq.distribution`), each replica has environments, seeds and replays of its own. All numbers
    here are those of the whole run, of which every replica takes an even part. Each replica has `num_envs` copies of
    every environment.

    Args:
        model: The `MultiTaskDQN` that acts and learns.
        tasks: The tasks; by default the model's. Give them if their environments were left out of a saved model, or if
            training is to use other environments of the same shapes. `Experience(tasks, model)` works too.
        exploration: The probability ε of a random action: a number, a `keras.optimizers.schedules` schedule over the
            steps of a task's environments after the warm-up, a `mtq.exploration.EpsilonGreedy`, or a dict of them by
            task. By default `mtq.exploration.linear()`, from 1 to 0.05 in 10,000 steps.
        replay_capacity: The number of steps that are stored of each task.
        warmup_steps: The number of random steps of each task before the first update. It is rounded up to a multiple of
            the task's `num_envs`.
        steps_per_update: The number of environment steps of each task per update, over all copies: the inverse of the
            replay ratio. It may be a fraction, such as 0.25 for four updates per step. After u updates each copy of a
            task has taken ⌊u · steps_per_update / num_envs⌋ steps, and those of the warm-up.
        n_step: The number of steps that the returns in a batch span.
        overlap: If True, always run the last environment step concurrently with the update. The batch then never
            contains that step. Actions are still those of the newest weights, and the same seed gives the same bits,
            though others than without it. `steps_per_update` must be a multiple of every task's `num_envs`. It changes
            nothing if all tasks are in-graph.
        seed: The seed of the environments, the exploration and the sampling. The same seed gives the same bits.
        sampler: A function without arguments that makes the sampler of a replay, a
            `mtq.experience.sampler.Sampler`. By default sampling is uniform.
        replay: A function `(spec, num_envs, capacity)` that makes a replay buffer on tf-agents' interface, such as
            `lambda spec, num_envs, capacity: TFUniformReplayBuffer(spec, num_envs, max_length=capacity // num_envs)`.
            It stores steps, as `spec` describes them. By default `mtq.experience.replay.Replay`.
        policy: A function `(task, network)` that makes the policy of a task on tf-agents' interface, in place of the
            ε-greedy one. `network` maps `observation [N, …]` to `q_values [N, A]`.

    Raises:
        ValueError: A setting is out of its range, the tasks are not the model's, or an environment is broken. The
            message names the task and the remedy.

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
        model: Any,
        tasks: Any = None,
        *,
        exploration: exploration_lib.Exploration = None,
        replay_capacity: int = 50_000,
        warmup_steps: int = 1_000,
        steps_per_update: float = 1,
        n_step: int = 1,
        overlap: bool = False,
        seed: int = 0,
        sampler: MakeSampler | None = None,
        replay: MakeReplay | None = None,
        policy: MakePolicy | None = None,
    ) -> None:
        model, tasks = _in_order(model, tasks)
        for name, task in tasks.items():
            _check_same_learning(task, model.tasks[name])
        n_step, seed, overlap = integer("n_step", n_step), integer("seed", seed, least=0), flag("overlap", overlap)
        replay_capacity = integer("replay_capacity", replay_capacity, least=0)
        warmup_steps = integer("warmup_steps", warmup_steps, least=0)
        parts = _parts(replay, sampler, policy, exploration)
        self.tasks, self.replay_capacity, self.warmup_steps, self.n_step = tasks, replay_capacity, warmup_steps, n_step
        self.overlap, self.model, self._strategy = overlap, model, model.distribute_strategy
        check_outside_of_scope("Experience", self._strategy)
        share = _share(self.num_replicas, steps_per_update, replay_capacity, warmup_steps, n_step, overlap)
        if overlap and not share.has_whole_steps(tasks):
            raise ValueError(
                f"steps_per_update must be a multiple of every task's num_envs{_times(self.num_replicas)} where "
                f"overlap=True. Received: {steps_per_update}, for "
                f"{ ({name: task.num_envs for name, task in tasks.items()}) }."
            )
        explorations = exploration_lib.by_task(exploration, tasks)
        for task in tasks.values():
            self._check_warmup(task, share)
            if not task.spec.in_graph:
                check_host(task.name, self._strategy)
            check_task(task, seed)
        self.replicas = []
        for device, number in zip(local_devices(self._strategy), local_replicas(self._strategy), strict=True):
            with tf.device(device):
                self.replicas.append(ReplicaExperience(tasks, model.paths, explorations, share, parts, seed, number))
        self._batches: dict[int, Batches] = {}
        self._warm_up: Any = None
        is_ours = replay is None and policy is None
        in_graph = is_ours and all(task.spec.in_graph for task in tasks.values())
        self.compilable = in_graph and supports_jit(model.network)

    @property
    def num_replicas(self) -> int:
        """The number of replicas of the run, in all processes."""
        return self._strategy.num_replicas_in_sync

    @property
    def replays(self) -> dict[str, ReplayBuffer]:
        """The replay of each task, of the first replica of this process."""
        return self.replicas[0].replays

    @property
    def statistics(self) -> dict[str, CollectionStatistics]:
        """The statistics of each task, of the first replica of this process."""
        return self.replicas[0].statistics

    @property
    def env_steps(self) -> dict[str, int]:
        """The number of steps that each task's environments have taken, in all replicas, including the warm-up."""
        return {name: self.num_replicas * int(statistics.steps) for name, statistics in self.statistics.items()}

    def take_mean_returns(self) -> dict[str, float | None]:
        """Each task's mean return over the training episodes since the last call, None where none has finished.

        Returns are undiscounted and unscaled, as the environments give rewards. With several processes each must call
        this, and receives the means of the whole run.
        """
        finished = [
            [replica.statistics[name].take_finished() for replica in self.replicas] for name in self.tasks
        ]  # [T, replicas, 2]
        numbers = sums(self._strategy, [sum(number for number, _ in of_task) for of_task in finished])
        totals = sums(self._strategy, [sum(total for _, total in of_task) for of_task in finished])
        return {
            name: total / number if number else None
            for name, number, total in zip(self.tasks, numbers, totals, strict=True)
        }

    def restart(self) -> None:
        """Begins new episodes in all environments. Open episodes count as truncated, and not among the returns."""
        for replica in self.replicas:
            replica.restart()

    def reset(self, seed: int) -> None:
        """Removes everything that was stored, and begins again as if made with this seed. Compiled functions are kept.

        Args:
            seed: The seed, as the constructor takes it.

        Raises:
            ValueError: The seed is not an integer of at least 0.
        """
        seed = integer("seed", seed, least=0)
        for replica in self.replicas:
            replica.reset(seed)

    def batches(self, batch_size: int = 32) -> Batches:
        """Batches without end, each drawn when it is asked for and not before. `fit` draws them within its own graph.

        Args:
            batch_size: B, of each task, over all replicas.

        Returns:
            Batches `{task: Transition}`; see `mtq.experience.batches.Batches`.

        Raises:
            ValueError: The replay cannot hold a batch, or B is not a multiple of the number of replicas.
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
        """Another name for `batches`."""
        return self.batches(batch_size)

    def next_batch(self, num_rows: int) -> dict[str, vl.Transition]:
        """Takes the steps that are due before the next update, then samples every task, after the warm-up if need be.

        For use in a graph, or eagerly. In a replica it is that replica's environments that are stepped.

        Args:
            num_rows: The number of rows of each task.
        """
        replica = self.replicas[replica_number() % len(self.replicas)]
        replica.warm_up()
        return replica.next_batch(num_rows)

    @property
    def is_warm(self) -> bool:
        """Whether the warm-up is done."""
        return self.replicas[0].is_warm

    def prepare(self) -> None:
        """Takes the steps of the warm-up, if they were not taken yet. For use outside of graphs."""
        if self.is_warm:
            return
        if self._warm_up is None:
            on_one_device = len(self.replicas) == 1  # which is all that XLA can reach
            uses_xla = self.warmup_steps > _LONG_WARM_UP and on_one_device and self.compilable and self.model.uses_xla
            warm_up = tf.function(self.warm_up, autograph=False, jit_compile=uses_xla or None)
            self._warm_up = warm_up.get_concrete_function()
        self._warm_up()

    def warm_up(self) -> None:
        """Takes the steps of the warm-up, if they were not taken yet. For use in a graph."""
        for replica in self.replicas:
            replica.warm_up()

    def check_schedules(self) -> None:
        """Raises a ValueError if an exploration schedule returned a value outside `[0, 1]`. Call it outside graphs."""
        for replica in self.replicas:
            replica.check_schedules()

    def _check_warmup(self, task: Task, share: Share) -> None:
        if share.warmup_rounds(task.num_envs) < self.n_step:
            copies = task.num_envs * share.num_replicas
            raise ValueError(
                f"warmup_steps must give each of the {copies} copies of task '{task.name}' at least n_step = "
                f"{self.n_step} steps. Received: {self.warmup_steps}. Give {self.n_step * copies} or more."
            )


def _in_order(model: Any, tasks: Any) -> tuple[Any, TaskSet]:
    """The model and the tasks, in whichever order they were given."""
    if isinstance(model, TaskSet):
        model, tasks = tasks, model
    if not hasattr(model, "paths"):
        raise ValueError(f"model of experience must be an mtq.MultiTaskDQN. Received: {model!r}.")
    tasks = model.tasks if tasks is None else tasks
    check_tasks("tasks of experience", tasks)
    if set(tasks) != set(model.tasks):
        raise ValueError(
            f"The tasks of experience must be the model's. Received: {list(tasks)}, where the model has "
            f"{list(model.tasks)}. Leave tasks out, or make both from one TaskSet."
        )
    for name, task in tasks.items():
        if task.spec != model.tasks[name].spec:
            raise ValueError(
                f"Task '{name}' must have the shapes that the model was built for, {model.tasks[name].spec}. "
                f"Received: {task.spec}. Make both from one TaskSet."
            )
    return model, tasks


def _parts(replay: Any, sampler: Any, policy: Any, exploration: Any) -> Parts:
    for role, value in (("replay", replay), ("sampler", sampler), ("policy", policy)):
        if value is not None and not callable(value):
            raise ValueError(f"{role} of experience must be a function or class that makes one. Received: {value!r}.")
    if replay is not None and sampler is not None:
        raise ValueError(
            "sampler must be left out where replay is given: a replay of your own samples by itself. Received: both."
        )
    if policy is not None and exploration is not None:
        raise ValueError(
            "exploration must be left out where policy is given: a policy of your own explores by itself. Received: "
            "both."
        )
    return Parts(replay, sampler, policy)


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


def _check_same_learning(task: Task, of_model: Task) -> None:
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
