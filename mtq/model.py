"""`MultiTaskDQN`: a Keras model that learns several tasks' action values with one network."""

import math
from collections.abc import Mapping
from typing import Any

import keras
import tensorflow as tf
from keras.src.trainers.trainer import model_supports_jit

from mtq import aggregators, weightings
from mtq.callbacks import with_defaults
from mtq.compilation import is_on_cpu, xla_pays, xla_pays_for_update
from mtq.distribution.checks import check_optimizer
from mtq.distribution.failure import worker_errors
from mtq.distribution.replicas import draws_on_host
from mtq.environments.errors import environment_errors
from mtq.export import export
from mtq.networks.dtypes import check_dtypes
from mtq.networks.paths import TaskPaths
from mtq.numeric import is_whole
from mtq.q_learning import Batch, QLearning
from mtq.target_network import copy_of
from mtq.task_metrics import TaskMetrics
from mtq.tasks import TaskSet
from mtq.td_losses import TDLoss
from mtq.train_function import batch_source_of, check_steps, make_train_function
from mtq.update import Update


@keras.saving.register_keras_serializable("mtq")
class MultiTaskDQN(keras.Model):
    """Deep Q-learning of several tasks with one network.

    With its defaults it is the mission's algorithm: squared loss, a target network copied every so many updates,
    weights of one, and the sum of the tasks' normalized gradients.

    Args:
        network: A functional model `{task: observation}` → `{task: q_values}`, from `mtq.networks.shared_q_network`.
        tasks: The tasks that it was built for.
        target_update_period: The target network is copied after every so many updates.
        target_update_tau: If given, the target network instead moves this part of the way after each update.
        double: Whether targets are those of Double DQN.

    Raises:
        ValueError: The network does not fit the tasks, or a setting is out of its range.

    Example:
        >>> import keras, mtq
        >>> tasks = mtq.TaskSet([mtq.Task("cart_pole", "CartPole-v1"), mtq.Task("acrobot", "Acrobot-v1")])
        >>> network = mtq.networks.shared_q_network(tasks, backbone=mtq.networks.mlp([32]))
        >>> model = mtq.MultiTaskDQN(network, tasks, target_update_period=500)
        >>> model.compile(keras.optimizers.Adam(1e-3), loss="huber", loss_weights={"cart_pole": 1.0, "acrobot": 0.5})
        >>> model.task_weights.numpy().tolist()
        [1.0, 0.5]

    Reference:
        Mnih et al., "Human-level control through deep reinforcement learning", Nature 2015.
    """

    def __init__(
        self,
        network: keras.Model,
        tasks: TaskSet,
        *,
        target_update_period: int = 500,
        target_update_tau: float | None = None,
        double: bool = False,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        if not is_whole(target_update_period) or target_update_period < 1:
            raise ValueError(f"target_update_period must be a whole number from 1. Received: {target_update_period!r}.")
        if target_update_tau is not None and not 0 < target_update_tau <= 1:
            raise ValueError(f"target_update_tau must be above 0 and at most 1. Received: {target_update_tau!r}.")
        self.paths = TaskPaths(network, tasks)
        check_dtypes(network)
        self.network = network
        self.target_network = copy_of(network)
        self.target_paths = TaskPaths(self.target_network, tasks)
        self.q_learning = QLearning(self.paths, self.target_paths, double)
        self.tasks = tasks
        self.target_update_period = int(target_update_period)
        self.target_update_tau = target_update_tau
        self.task_weights = self.add_weight(
            shape=(len(tasks),), dtype="float32", initializer="ones", trainable=False, name="task_weights"
        )
        self.updates = self.add_weight(shape=(), dtype="int64", initializer="zeros", trainable=False, name="updates")
        self.task_metrics = TaskMetrics(tasks.names)
        self._xla: bool | str = "auto"
        self._identity, self._compilation = object(), object()
        self.gradient_statistics: Any = None
        self.train_function: Any = None
        self.built = True

    def compile(  # type: ignore[override]
        self,
        optimizer: Any = "adam",
        loss: Any = "squared",
        loss_weights: Any = None,
        aggregator: Any = "normalized_sum",
        *,
        run_eagerly: bool = False,
        jit_compile: bool | str = "auto",
        steps_per_execution: int = 1,
    ) -> None:
        """Says how to learn.

        Args:
            optimizer: A Keras optimizer or the name of one.
            loss: Of the temporal-difference errors: `"squared"`, `"huber"`, or any Keras loss of targets and values.
            loss_weights: None for the tasks' own weights, a dict with a number or a schedule for each task, a name, or
                a `mtq.weightings.Weighting`.
            aggregator: A name, such as `"normalized_sum"` or `"sum"`, or a `mtq.aggregators.Aggregator`. An object that
                this model was compiled with before, like a weighting, goes on with what it remembers.
            run_eagerly: Whether to run the step in Python, for debugging.
            jit_compile: Whether XLA compiles the training. With in-graph tasks it is then the whole loop: acting,
                storing, sampling and learning; with others the update. `"auto"` does it where it pays: with in-graph
                tasks, or where convolutions are of small images; on a CPU not with large images, of whose convolutions
                XLA makes slow code.
            steps_per_execution: How many updates `fit` makes per call into the graph; callbacks run between calls.

        Raises:
            ValueError: An argument does not fit the tasks, or names nothing known.
        """
        if jit_compile not in (True, False, "auto"):
            raise ValueError(f"jit_compile must be True, False or 'auto'. Received: {jit_compile!r}.")
        with self.distribute_strategy.scope():
            self._compile(optimizer, loss, loss_weights, aggregator, run_eagerly, jit_compile, steps_per_execution)

    def _compile(
        self,
        optimizer: Any,
        loss: Any,
        loss_weights: Any,
        aggregator: Any,
        run_eagerly: bool,
        jit_compile: bool | str,
        steps_per_execution: int,
    ) -> None:
        weighting = weightings.get(loss_weights, self.tasks)
        aggregator = aggregators.get(aggregator)
        self.td_loss = TDLoss(loss)
        super().compile(
            optimizer=optimizer,
            run_eagerly=run_eagerly,
            jit_compile=jit_compile is True,
            steps_per_execution=steps_per_execution,
            auto_scale_loss=False,
        )
        check_optimizer(self.optimizer, self.distribute_strategy)
        self.optimizer.build(self.network.trainable_variables)  # now, or the first step would be traced twice
        variables = self.network.trainable_variables
        tasks_of = self.paths.tasks_of(variables)
        is_shared = [len(of) > 1 or len(self.tasks) == 1 for of in tasks_of]
        num_shared = sum(math.prod(v.shape) for v, shared in zip(variables, is_shared, strict=True) if shared)
        for pluggable in (weighting, aggregator):
            pluggable.build_for(self._identity, len(self.tasks), num_shared)
        self.weighting, self.aggregator, self._xla = weighting, aggregator, jit_compile
        self._compilation = object()  # what was made of an earlier one no longer holds
        self.task_weights.assign(weighting.initial_weights(self.tasks))

    def get_compile_config(self) -> dict[str, Any]:
        """What `compile_from_config` needs to compile a loaded model alike."""
        if not self.compiled:
            return {}
        return {
            "optimizer": keras.saving.serialize_keras_object(self.optimizer),
            "loss": self.td_loss.serialize(),
            "loss_weights": keras.saving.serialize_keras_object(self.weighting),
            "aggregator": aggregators.serialize(self.aggregator),
            "run_eagerly": self.run_eagerly,
            "jit_compile": self._xla,
            "steps_per_execution": self.steps_per_execution,
        }

    def compile_from_config(self, config: dict[str, Any]) -> None:
        """Compiles from what `get_compile_config` gave."""
        if not config:
            return
        optimizer = keras.saving.deserialize_keras_object(config["optimizer"])
        self.compile(**{**config, "optimizer": optimizer})

    def set_task_weights(self, weights: Mapping[str, float]) -> None:
        """Changes the weights of some tasks, from the next update on.

        Args:
            weights: The new weights, by task; the others stay.

        Raises:
            ValueError: There is no such task, or a weight is negative or not finite.
        """
        weightings.check_task_weights(weights, self.tasks, partial=True, role="set_task_weights")
        now = dict(zip(self.tasks, self.task_weights.numpy().tolist(), strict=True))
        self.task_weights.assign([{**now, **weights}[name] for name in self.tasks])

    def call(self, inputs: Mapping[str, Any], training: bool = False) -> dict[str, Any]:
        """Action values of all tasks: `{task: observation [B, …]}` → `{task: q_values [B, num_actions]}`."""
        return self.network(inputs, training=training)

    @property
    def metrics(self) -> list[keras.metrics.Metric]:
        """What Keras resets at the start of each epoch."""
        return [self.task_metrics]

    @tf.autograph.experimental.do_not_convert  # as in Keras; converting it would take most of the tracing
    def train_step(self, batch: Batch) -> dict[str, tf.Tensor]:
        """One update from one batch of every task.

        Args:
            batch: `{task: Transition}`.

        Returns:
            Means over the epoch so far of what `TaskMetrics` names.
        """
        batch = keras.utils.unpack_x_y_sample_weight(batch)[0]  # train_on_batch wraps it
        self._check_batch(batch)
        variables = self.network.trainable_variables
        gradients, quantities = self.q_learning.gradients(
            batch, self.td_loss, variables, writes_patches=self.compiles_update and is_on_cpu()
        )
        return Update(self)(gradients, quantities)

    def fit(self, x: Any = None, *args: Any, verbose: Any = "auto", callbacks: Any = None, **kwargs: Any) -> Any:
        """Trains on the batches of `Experience.dataset`, as `keras.Model.fit` does.

        A loss that is no longer finite stops it with a `NonFiniteLossError` that names the task. The progress bar shows
        each task's loss and what the callbacks know of its return; all else is in the logs.

        Raises:
            ValueError: There is no `steps_per_epoch`, or no whole number of executions in it; an environment is broken.
        """
        check_steps(x, kwargs.get("steps_per_epoch"), self.steps_per_execution)
        kwargs.setdefault("shuffle", False)  # of which Keras would say that a dataset does not need it
        telemetry = self._look_at_gradients(callbacks)
        kept, source = self.train_function, batch_source_of(x, self)
        if source is not None and self.compiled:
            self.train_function = self._train_function_over(source)
            x = _nothing(self.distribute_strategy)  # is not read, and costs less to set up
        try:
            with environment_errors(), worker_errors(self.distribute_strategy):
                callbacks = with_defaults(callbacks, verbose, self)
                return super().fit(x, *args, verbose=verbose, callbacks=callbacks, **kwargs)
        finally:
            if telemetry is not None:
                telemetry.finish()
            if source is not None:
                self.train_function = kept

    def _look_at_gradients(self, callbacks: Any) -> Any:
        """Lets a callback that asks for it see the gradients, from the next tracing on, and returns it."""
        given = getattr(callbacks, "callbacks", callbacks)
        given = given if isinstance(given, list | tuple) else [given]
        asking = [callback for callback in given if hasattr(callback, "statistics_for")]
        if len(asking) > 1:
            raise ValueError("fit takes one GradientTelemetry among its callbacks. Received: several.")
        statistics = asking[0].statistics_for(self) if asking and self.compiled else None
        if statistics is not self.gradient_statistics:
            self.gradient_statistics, self._compilation, self.train_function = statistics, object(), None
        return asking[0] if asking else None

    def make_train_function(self, force: bool = False) -> Any:
        """Makes the function that `fit` calls, in which no batch is drawn before the last update is done."""
        if force or self.train_function is None:
            self.train_function = make_train_function(self)
        return self.train_function

    def _maybe_symbolic_build(self, iterator: Any = None, data_batch: Any = None) -> None:
        """Keras builds models with a first batch, which fails with several processes, and loses that batch.

        This one is built from the beginning.
        """

    @property
    def uses_xla(self) -> bool:
        """Whether XLA may compile what it can. What a TPU's host does it may not: the weights lie on the cores."""
        if self._xla is False or self.run_eagerly or draws_on_host(self.distribute_strategy):
            return False
        return self._xla is True or xla_pays(self.network)

    @property
    def compiles_update(self) -> bool:
        """Whether XLA compiles the update, be it by itself."""
        if self._xla != "auto":
            return bool(self.jit_compile)
        is_possible = not self.run_eagerly and self.distribute_strategy.num_replicas_in_sync == 1
        return is_possible and model_supports_jit(self) and xla_pays_for_update(self.network)

    @property
    def double(self) -> bool:
        """Whether targets are those of Double DQN."""
        return self.q_learning.double

    def _train_function_over(self, source: Any) -> Any:
        made_for, train_function = source.train_function
        if made_for is not self._compilation:
            has_own_logs = type(self).train_step is not MultiTaskDQN.train_step
            train_function = make_train_function(self, source, source.compilable and self.uses_xla, has_own_logs)
            source.train_function = (self._compilation, train_function)
        return train_function

    def export(  # type: ignore[override]
        self, filepath: str, format: str = "tf_saved_model", *, overwrite: bool = False
    ) -> None:
        """Writes a SavedModel for TF Serving, with a signature per task; see `mtq.export.export`.

        Raises:
            ValueError: Another format is asked for.
        """
        if format != "tf_saved_model":
            raise ValueError(
                f"format of the export must be 'tf_saved_model'. Received: {format!r}. For others, export "
                "`model.paths[task]`, which are plain Keras models."
            )
        export(self, filepath, overwrite=overwrite)

    def get_config(self) -> dict[str, Any]:
        """The settings as Keras saves them."""
        return {
            "name": self.name,
            "network": keras.saving.serialize_keras_object(self.network),
            "tasks": keras.saving.serialize_keras_object(self.tasks),
            "target_update_period": self.target_update_period,
            "target_update_tau": self.target_update_tau,
            "double": self.double,
        }

    @classmethod
    def from_config(cls, config: dict[str, Any], custom_objects: Any = None) -> "MultiTaskDQN":
        """Makes the model again."""
        network = keras.saving.deserialize_keras_object(config["network"], custom_objects=custom_objects)
        tasks = keras.saving.deserialize_keras_object(config["tasks"], custom_objects=custom_objects)
        return cls(**{**config, "network": network, "tasks": tasks})

    def _check_batch(self, batch: Batch) -> None:
        if not isinstance(batch, Mapping) or set(batch) != set(self.tasks):
            received = sorted(batch) if isinstance(batch, Mapping) else type(batch).__name__
            raise ValueError(
                f"A batch must be a dict with a Transition for each task. Received: {received}, for the tasks "
                f"{list(self.tasks)}. Pass fit the dataset of an mtq.Experience made with the same TaskSet."
            )


def _nothing(strategy: tf.distribute.Strategy) -> Any:
    """A dataset without end, for every replica."""
    nothing = lambda _: tf.data.Dataset.from_tensors(0).repeat()  # noqa: E731
    if strategy.num_replicas_in_sync == 1:
        return nothing(None)
    return strategy.distribute_datasets_from_function(nothing)
