"""`CompiledArm`: an arm of a study that is compiled once and run from several seeds."""

import sys
import time
from collections.abc import Callable
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from mtq import runs
from mtq.evaluation.evaluator import Evaluator
from mtq.evaluation.step_evaluator import StepEvaluator
from mtq.learning.model import MultiTaskDQN
from mtq.networks.initialization import initialize, undrawable
from mtq.random_numbers import Purpose, stream_seeds
from mtq.study.design.arm import Arm
from mtq.study.design.network import MakeNetwork
from mtq.study.design.protocol import Protocol
from mtq.study.running.record import RunRecord
from mtq.task_gradients.log import GradientLog
from mtq.tasks.task import TaskSet

_PROBES = 256
_SLOWEST_EXECUTION = 1_000


class CompiledArm:
    """The model, the experience and the evaluation of an arm.

    They are traced and compiled in the first run, and reused by the later ones. A run depends only on its seed, not on
    the runs before it.

    Args:
        tasks: The tasks.
        arm: The arm.
        common: The study's protocol.
        make_network: A function of the tasks and the arm that returns the arm's network.
        strategy: The strategy on whose replicas the runs are made; by default the current strategy of TensorFlow.
    """

    def __init__(
        self,
        tasks: TaskSet,
        arm: Arm,
        common: Protocol,
        make_network: MakeNetwork,
        strategy: tf.distribute.Strategy | None = None,
    ) -> None:
        self.tasks, self.arm, self.protocol = tasks, arm, arm.protocol(common)
        protocol = self.protocol
        with (strategy or tf.distribute.get_strategy()).scope():
            self.model = make_model(tasks, arm, protocol, make_network(tasks, arm))
        self.experience = runs.make_experience(self.model, protocol)
        self._batches = self.experience.batches(protocol.batch_size)
        player = _TargetPlays(self.model) if protocol.evaluates_target else self.model
        self._evaluate, self.evaluated_network = _evaluation(player, protocol), player.network
        self._restart: Callable[[], object] = lambda: None
        if protocol.restarts_episodes:
            self._restart = tf.function(self.experience.restart, autograph=False)
        self._variables = _all_variables(self.model)
        self._at_start = [np.array(variable) for variable in self._variables]
        every = min(protocol.cosines_every, protocol.updates_per_epoch)
        capacity = -(-self.model.steps_per_execution // every) + 1
        users = self.model.paths.tasks_of(self.model.network.trainable_variables)
        has_shared = any(len(tasks_of_variable) > 1 for tasks_of_variable in users)
        self._cosines = GradientLog(len(tasks), every, capacity) if has_shared else None

    def run(self, seed: int, on_execution: Callable[[int], None] = lambda epochs: None) -> RunRecord:
        """Trains the network from new weights and evaluates it.

        Args:
            seed: The seed of the network's weights, the environments, the exploration, the sampling and the
                evaluations.
            on_execution: A function that is called between executions with the number of finished epochs. It may raise
                an exception to end the run.

        Returns:
            The record of the run.

        Raises:
            NonFiniteLossError: The loss of a task was not finite.
        """
        started = time.monotonic()
        network_seed, experience_seed, evaluation_seed, update_seed = stream_seeds(seed, Purpose.STUDY, count=4)
        for variable, value in zip(self._variables, self._at_start, strict=True):
            variable.assign(value)
        initialize(self.model.network, network_seed)
        _seed_noise(self.model, network_seed)
        self.model.sync_target_network()
        for pluggable in (self.model.weighting, self.model.aggregator):
            pluggable.use_stream(update_seed % 2**32)
        self.experience.reset(experience_seed)
        self.experience.prepare()
        watch = _Watch(
            lambda epoch: self._evaluate(evaluation_seed + epoch), self._restart, self._cosines, on_execution
        )
        self.model.fit(
            self._batches,
            epochs=self.protocol.epochs,
            steps_per_epoch=self.protocol.updates_per_epoch,
            verbose=0,
            callbacks=[watch],
        )
        scores = np.array([[epoch[name] for name in self.tasks] for epoch in watch.scores])
        cosines = np.array(watch.cosines) if self._cosines is not None else None
        seconds, origin = time.monotonic() - started, {"command": sys.argv, "versions": runs.versions()}
        return RunRecord(self.arm.name, seed, scores, cosines, self._probes(), seconds, origin)

    def _probes(self) -> dict[str, np.ndarray]:
        """Returns observations of each task from the replay buffer, evenly spaced from the oldest to the newest."""
        probes = {}
        for name, replay in self.experience.replays.items():
            rows = np.linspace(0, replay.num_frames() - 1, _PROBES).astype(np.int64)
            probes[name] = replay.read(rows).observation.numpy()
        return probes


def _seed_noise(model: MultiTaskDQN, seed: int) -> None:
    """Seeds the random numbers that layers draw while they are called, such as those of `NoisyDense`."""
    for number, variable in enumerate([*model.network.variables, *model.target_network.variables]):
        if variable.name == "seed_generator_state":
            words = np.random.SeedSequence([seed, number]).generate_state(1)
            variable.assign(np.array([int(words[0]) >> 1, 0]))


def make_model(tasks: TaskSet, arm: Arm, protocol: Protocol, network: keras.Model) -> MultiTaskDQN:
    """Returns the compiled model of an arm.

    Args:
        tasks: The tasks.
        arm: The arm.
        protocol: The protocol of the arm: the study's protocol with the arm's settings.
        network: The network of the arm.

    Raises:
        ValueError: A setting of the arm is invalid, or the network's weights cannot be drawn again from a seed.
    """
    unknown = undrawable(network)
    if unknown:
        raise ValueError(
            f"The network of arm '{arm.name}' must be one whose weights can be drawn again from a seed. Received: one "
            f"with {', '.join(unknown)}, for which the layer has no initializer. Give the layer an attribute "
            "`<variable>_initializer`."
        )
    return runs.make_model(
        tasks,
        network,
        protocol,
        optimizer=protocol.optimizer(),
        loss_weights=arm.make_loss_weights(),
        aggregator=arm.aggregator,
        steps_per_execution=runs.steps_per_execution(protocol.updates_per_epoch, most=_SLOWEST_EXECUTION),
    )


def random_scores(tasks: TaskSet, protocol: Protocol, times: int) -> dict[str, float]:
    """Computes the mean scores of a random policy.

    Args:
        tasks: The tasks.
        protocol: The protocol, which defines an evaluation.
        times: The number of evaluations.

    Returns:
        The mean score of each task, by name.
    """
    if protocol.evaluation_steps is not None:
        return StepEvaluator(None, tasks, steps=protocol.evaluation_steps).random(times=times)
    evaluator = Evaluator(None, tasks, episodes=protocol.evaluation_episodes)
    evaluations = [evaluator.random(seed) for seed in range(times)]
    return {name: float(np.mean([evaluation[name].mean for evaluation in evaluations])) for name in tasks}


Evaluate = Callable[[int], dict[str, float]]


def _evaluation(player: "MultiTaskDQN | _TargetPlays", protocol: Protocol) -> Evaluate:
    """Returns a function of a seed that computes the scores of the player's greedy policy."""
    if protocol.evaluation_steps is not None:
        return StepEvaluator(player, player.tasks, steps=protocol.evaluation_steps).greedy
    greedy = Evaluator(player, player.tasks, episodes=protocol.evaluation_episodes).greedy
    return lambda seed: {name: played.mean for name, played in greedy(seed).items()}


class _TargetPlays:
    """A view of a model whose policy is that of the target network, for evaluations."""

    def __init__(self, model: MultiTaskDQN) -> None:
        self.network, self.paths = model.target_network, model.target_paths
        self.tasks, self.uses_xla = model.tasks, model.uses_xla


class _Watch(keras.callbacks.Callback):
    """Evaluates before the first epoch and after each epoch, and collects the cosines of the tasks' gradients."""

    def __init__(
        self,
        evaluate: Evaluate,
        restart: Callable[[], object],
        statistics: GradientLog | None,
        on_execution: Callable[[int], None],
    ) -> None:
        super().__init__()
        self._evaluate, self._restart = evaluate, restart
        self._statistics, self._on_execution = statistics, on_execution
        self._epochs = 0
        self._seen: list[np.ndarray] = []
        self.scores: list[dict[str, float]] = []
        self.cosines: list[np.ndarray] = []

    def gradient_log_for(self, model: MultiTaskDQN) -> GradientLog | None:
        """Returns the log in which the model stores the statistics of its gradients."""
        return self._statistics

    def finish(self) -> None:
        """Empties the log, so that the next run starts without entries; called by `fit` however it ends."""
        if self._statistics is not None:
            self._statistics.fetch()

    def on_train_begin(self, logs: dict[str, Any] | None = None) -> None:
        """Evaluates the untrained network."""
        self.finish()
        self.scores.append(self._evaluate(0))

    def on_epoch_begin(self, epoch: int, logs: dict[str, Any] | None = None) -> None:
        """Starts new episodes, if the protocol restarts them in each epoch."""
        self._restart()

    def on_train_batch_end(self, batch: int, logs: dict[str, Any] | None = None) -> None:
        """Fetches the cosines of an execution, and reports the number of finished epochs."""
        if self._statistics is not None:
            self._seen += [record.cosines for record in self._statistics.fetch()]
        self._on_execution(self._epochs)

    def on_epoch_end(self, epoch: int, logs: dict[str, Any] | None = None) -> None:
        """Evaluates the network, and stores the mean cosines of the epoch."""
        self._epochs = epoch + 1
        self.scores.append(self._evaluate(self._epochs))
        if self._seen:
            self.cosines.append(np.mean(self._seen, axis=0))
            self._seen = []
        self._on_execution(self._epochs)


def _all_variables(model: MultiTaskDQN) -> list[Any]:
    pluggable_variables = [*model.weighting.variables.values(), *model.aggregator.variables.values()]
    return [*model.variables, *model.optimizer.variables, *pluggable_variables]
