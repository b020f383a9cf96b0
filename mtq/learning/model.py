"""`MultiTaskDQN`: a Keras model that learns the action values of several tasks with one network."""

import math
from collections.abc import Mapping, Sequence
from typing import Any

import keras
import tensorflow as tf

from mtq import aggregators, weightings
from mtq.checks import LARGEST_COUNT, check_keras, flag, integer, real
from mtq.distribution.checks import check_optimizer
from mtq.distribution.replicas import draws_on_host
from mtq.experience.q_model import QValues
from mtq.export import export
from mtq.heads import exploration_noise
from mtq.joint.devices import is_on_cpu
from mtq.joint.network import JointNetwork
from mtq.joint.state_probe import check_layers
from mtq.joint.xla import has_convolutions, xla_pays, xla_pays_for_update
from mtq.keras_internals import own_metrics, supports_jit
from mtq.learning.batch_checks import as_transition, check_values, with_assertions
from mtq.learning.losses import ValueLoss, learns_errors
from mtq.learning.munchausen import Munchausen, get_munchausen
from mtq.learning.q_learning import Batch, QLearning
from mtq.learning.target_network import TargetNetwork
from mtq.learning.target_paths import TargetPaths
from mtq.learning.target_updates import hard_update, soft_update
from mtq.learning.training import Training
from mtq.learning.update import Update
from mtq.networks.dtypes import check_dtypes
from mtq.networks.layer_names import check_layer_names
from mtq.networks.layer_sharing import check_layer_sharing
from mtq.networks.paths import TaskPaths
from mtq.storage.deserialization import check_classes, deserialize
from mtq.tasks.task import TaskSet, check_tasks
from mtq.trainer.compiled_state import CompiledState, check_lora
from mtq.trainer.keras_step import KerasStep
from mtq.trainer.keras_trainer import check_batch_arguments, check_compile
from mtq.trainer.loss_scale import check_loss_scale, is_dynamic, with_loss_scale
from mtq.trainer.optimizers import build_once, check_trainable
from mtq.trainer.task_metrics import TaskMetrics


@keras.saving.register_keras_serializable("mtq")
class MultiTaskDQN(Training):
    """Deep Q-learning of several tasks with one network.

    With its defaults, it implements equations 1 and 4 of README.md: squared loss, a target network that is
    copied periodically, weights of 1, and the sum of the tasks' normalized gradients.

    The target network consists of the same layers with a second set of values, which equal the network's until the
    first update. Compile again after freezing or unfreezing layers, or after enabling LoRA.

    Args:
        network: The network, a functional model `{task: observation}` → `{task: q_values}`, such as
            `mtq.networks.shared_q_network` returns.
        tasks: The tasks for which the network was built.
        target_update_period: The number of updates between copies of the network to the target network.
        target_update_tau: The factor τ, above 0 and at most 1, by which the target network moves toward the network
            after each update. If it is given, the network is not copied periodically.
        double: Whether to use the targets of Double DQN.
        munchausen: Whether to use Munchausen targets, which take the place of the greedy ones: True for the paper's
            settings, or an `mtq.Munchausen`.

    Attributes:
        network: The network.
        target_network: The target network, a `mtq.learning.target_network.TargetNetwork`.
        paths: The tasks' paths through the network, `{task: keras.Model}`.
        target_paths: The tasks' paths through the target network.
        tasks: The tasks.
        task_weights: The variable that holds the tasks' weights, `[T]` float32.
        updates: The variable that counts the updates, an int64 scalar.

    Raises:
        ValueError: The network does not fit the tasks, a layer has weights that Keras does not track or a name that
            TensorFlow cannot use, or a setting is out of its range.

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
        target_update_period: int = 100,
        target_update_tau: float | None = None,
        double: bool = False,
        munchausen: Any = False,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        target_update_period = integer("target_update_period", target_update_period, most=LARGEST_COUNT)
        if target_update_tau is not None:
            target_update_tau = real("target_update_tau", target_update_tau, above=0, most=1)
        double, munchausen = flag("double", double), get_munchausen(munchausen)
        if double and munchausen is not None:
            raise ValueError(
                "double must be False if munchausen is given, whose soft policy selects no single action. Received: "
                "both. Leave out one of them."
            )
        check_tasks("tasks of the model", tasks)
        check_keras("network", network)
        self.paths = TaskPaths(network, tasks)
        check_dtypes(network)
        check_layer_names(network)
        self.network = network
        check_layers(self.paths, tasks)
        check_layer_sharing(network)
        self.target_network = TargetNetwork(network)
        self.target_paths = TargetPaths(self.target_network, self.paths)
        self.q_learning = QLearning(self.paths, self.target_network, double, munchausen)
        self.tasks = tasks
        self.target_update_period = target_update_period
        self.target_update_tau = target_update_tau
        self.task_weights = self.add_weight(
            shape=(len(tasks),), dtype="float32", initializer="ones", trainable=False, name="task_weights"
        )
        self.updates = self.add_weight(shape=(), dtype="int64", initializer="zeros", trainable=False, name="updates")
        self.task_metrics = TaskMetrics(tasks.names)
        self._identity = object()
        self.keras_step: Any = None
        self.built = True

    def compile(  # type: ignore[override]
        self,
        optimizer: Any = "adam",
        loss: Any = None,
        loss_weights: Any = None,
        aggregator: Any = "normalized_sum",
        *,
        run_eagerly: bool = False,
        jit_compile: bool | str = "auto",
        steps_per_execution: int = 1,
        auto_scale_loss: bool = True,
        metrics: Any = None,
        weighted_metrics: Any = None,
    ) -> None:
        """Configures the training: optimizer, loss, weights of the tasks and aggregation of their gradients.

        Losses that belong to no task (weight regularizers, activity regularizers, `add_loss`) count as in Keras: the
        gradient of their sum is added to the aggregated gradient before clipping. Their sum is included in `loss` in
        the logs, and logged separately as `regularization_loss`.

        Args:
            optimizer: A Keras optimizer or the name of one. If it has a loss scale, the losses of all tasks are
                multiplied by it; the weighting, the aggregator and the logs receive unscaled values. An update whose
                gradients overflow because of a `LossScaleOptimizer`'s scale is skipped, and its gradient norms are
                logged as zero. An optimizer that has already trained this network keeps its state.
            loss: The loss: for scalar heads `"squared"`, `"huber"`, or any Keras loss of targets and values; for
                categorical and HL-Gauss heads `"cross_entropy"`; for quantile heads `"quantile_huber"`. By default each
                head has its own; scalar heads have `"squared"`. If the tasks have heads of several kinds, those that
                the loss does not fit have their default.
            loss_weights: The weights of the tasks: None for the tasks' own weights, a dict with a number or a schedule
                for each task, the name of a weighting, or a `mtq.weightings.Weighting`.
            aggregator: The aggregator of the tasks' gradients: a name, such as `"normalized_sum"` or `"sum"`, or a
                `mtq.aggregators.Aggregator`. Aggregators and weightings with which this model was compiled before keep
                their state.
            run_eagerly: Whether to run each step eagerly in Python, for debugging.
            jit_compile: Whether to compile the training with XLA. With in-graph tasks, the whole loop is compiled:
                acting, storing, sampling and learning; with other tasks, the update. `"auto"` compiles where it is
                faster: in-graph tasks and networks of small images. On a CPU it leaves networks of large images
                uncompiled, because XLA's CPU convolutions are slow.
            steps_per_execution: The number of updates per call of the train function. Callbacks run between calls.
            auto_scale_loss: Whether to wrap an optimizer without a loss scale in a `LossScaleOptimizer` if layers of
                the network compute in float16.
            metrics: Not supported; must be None or empty. The losses, values and gradient norms of every task are
                always logged, and callbacks may add to the logs.
            weighted_metrics: Not supported; must be None or empty.

        Raises:
            ValueError: An argument does not fit the tasks, or is an unknown name.
        """
        check_compile(self, metrics, weighted_metrics)
        if not isinstance(jit_compile, bool) and not (isinstance(jit_compile, str) and jit_compile == "auto"):
            raise ValueError(f"jit_compile must be True, False or 'auto'. Received: {jit_compile!r}.")
        run_eagerly = flag("run_eagerly", run_eagerly)
        steps_per_execution = integer("steps_per_execution", steps_per_execution)
        for role, value in (("optimizer", optimizer), ("loss", loss), ("loss_weights", loss_weights)):
            check_keras(role, value)
        if not isinstance(optimizer, keras.optimizers.Optimizer | str | dict):
            raise ValueError(f"optimizer must be an optimizer of Keras or the name of one. Received: {optimizer!r}.")
        auto_scale_loss = flag("auto_scale_loss", auto_scale_loss)
        with self.distribute_strategy.scope():
            optimizer = self._scaled_optimizer(optimizer, auto_scale_loss)
            self._compile(optimizer, loss, loss_weights, aggregator, run_eagerly, jit_compile, steps_per_execution)
        self._auto_scale_loss = auto_scale_loss

    def _scaled_optimizer(self, optimizer: Any, auto_scale_loss: bool) -> Any:
        optimizer = keras.optimizers.get(optimizer)
        check_loss_scale(optimizer)
        check_trainable(self.network.trainable_variables)
        if not auto_scale_loss:
            return optimizer
        return with_loss_scale(optimizer, self.network, previous=self.optimizer if self.compiled else None)

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
        weighting = weightings.get(loss_weights)
        weighting.check(self.tasks)
        aggregator = aggregators.get(aggregator)
        has_scalar_heads = all(learns_errors(head) for head in self.q_learning.heads.values())
        self.td_loss = ValueLoss("squared" if loss is None and has_scalar_heads else loss)
        self.td_loss.check(self.q_learning.heads)
        self.q_learning.scales.check_optimizer(optimizer)
        super().compile(
            optimizer=optimizer,
            run_eagerly=run_eagerly,
            jit_compile=jit_compile is True,
            steps_per_execution=steps_per_execution,
            auto_scale_loss=False,
        )
        check_optimizer(self.optimizer, self.distribute_strategy)
        if is_dynamic(self.optimizer):
            check_optimizer(self.optimizer.inner_optimizer, self.distribute_strategy)
        build_once(self.optimizer, self.network.trainable_variables)  # otherwise the first step would be traced twice
        self.keras_step = KerasStep(self.network, self.optimizer, self.tasks.names, self.q_learning.limited)
        variables = self.network.trainable_variables
        self.target_network.follow()
        is_shared = [len(tasks) > 1 or len(self.tasks) == 1 for tasks in self.paths.tasks_of(variables)]
        num_shared = sum(math.prod(v.shape) for v, shared in zip(variables, is_shared, strict=True) if shared)
        for pluggable in (weighting, aggregator):
            pluggable.build_for(self._identity, len(self.tasks), num_shared)
        self.weighting, self.aggregator, self._xla = weighting, aggregator, jit_compile
        self.compiled_state = CompiledState(self)
        self._clear_functions()
        self.task_weights.assign(weighting.initial_weights(self.tasks))

    def get_compile_config(self) -> dict[str, Any]:
        """Returns the arguments of `compile` as a config that Keras can save; empty if the model is not compiled."""
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
            "auto_scale_loss": self._auto_scale_loss,
        }

    def compile_from_config(self, config: dict[str, Any]) -> None:
        """Compiles the model from a config that `get_compile_config` returned."""
        if not config:
            return
        optimizer = deserialize("optimizer", config["optimizer"], keras.optimizers.Optimizer)
        self.compile(**{**config, "optimizer": optimizer})

    def set_task_weights(self, weights: Mapping[str, float]) -> None:
        """Sets the weights of some tasks, from the next update on.

        Args:
            weights: The new weights by task. The weights of other tasks are unchanged.

        Raises:
            ValueError: A task is unknown, or a weight is negative or not finite.
        """
        weightings.check_task_weights(weights, self.tasks, partial=True, role="set_task_weights")
        current = dict(zip(self.tasks, self.task_weights.numpy().tolist(), strict=True))
        self.task_weights.assign([{**current, **weights}[name] for name in self.tasks])

    def sync_target_network(self) -> None:
        """Copies the network's weights to the target network.

        `fit`, `train_on_batch` and `train_step` do this before the first update, unless the target network's own
        weights were set by `target_network.set_weights`. Call it after setting the weights of a model that has already
        been trained, or before a custom training loop that calls `train_step` within a `tf.distribute` strategy.
        """
        with self.distribute_strategy.scope():
            self.target_network.sync()

    def prepare_update(self) -> None:
        """Prepares the first update of a `fit`.

        Before the model's very first update, syncs the target network, unless its own weights were set.

        Raises:
            ValueError: Layers were frozen or unfrozen or parts of the model were replaced since it was compiled, or a
                layer cannot be trained.
        """
        self.compiled_state.check()
        check_lora(self.network)
        self.q_learning.scales.check_network()
        self._prepare_first_update()
        self.is_in_step = True

    def _prepare_first_update(self) -> None:
        if not tf.executing_eagerly():
            return
        if not int(self.updates.numpy()) and not self.target_network.was_set:
            self.sync_target_network()
        self.q_learning.scales.align_target()

    @property
    def weights(self) -> list[keras.Variable]:
        """All weights of the model, with those of the target network last."""
        return _ByIdentity(super().weights)

    def get_layer(self, name: str | None = None, index: int | None = None) -> keras.layers.Layer:
        """Returns a layer of the model or, by its name, a layer of the network, such as `"backbone"`.

        The model's own layers are the network and the target network.

        Args:
            name: The name of the layer.
            index: The index among the model's own layers, if no name is given.
        """
        if name is not None and name not in {layer.name for layer in self.layers}:
            return self.network.get_layer(name)
        return super().get_layer(name=name, index=index)

    def call(self, inputs: Mapping[str, Any], training: bool = False) -> dict[str, Any]:
        """Computes the action values of all tasks.

        Args:
            inputs: The observations, `{task: [B, …]}`.
            training: Whether to call the layers in training mode.

        Returns:
            The action values, `{task: [B, num_actions]}`.
        """
        return self.network(inputs, training=training)

    @property
    def metrics(self) -> list[keras.metrics.Metric]:
        """The metrics, which Keras resets at the start of each epoch."""
        step_metrics = [] if self.keras_step is None else self.keras_step.metrics
        return [self.task_metrics, *step_metrics, *(m for m in own_metrics(self) if m is not self.task_metrics)]

    @tf.autograph.experimental.do_not_convert  # as in Keras; converting it would take most of the tracing
    def train_step(self, batch: Batch) -> dict[str, tf.Tensor]:
        """Makes one update from one batch of every task.

        Args:
            batch: The batch, `{task: Transition}`.

        Returns:
            The logs, the means over the epoch so far of the quantities of `TaskMetrics`.
        """
        return self.learn(batch)[0]

    def learn(self, batch: Batch) -> tuple[dict[str, tf.Tensor], dict[str, tf.Tensor]]:
        """Makes one update, as `train_step` does, and also returns the errors by which samplers set priorities.

        Args:
            batch: The batch, `{task: Transition}`.

        Returns:
            The logs, and the errors of the rows before the update, `{task: [B]}` float32: temporal-difference errors
            or, for heads of distributions, losses.
        """
        batch, y, sample_weight = keras.utils.unpack_x_y_sample_weight(batch)  # from train_on_batch, a tuple
        check_batch_arguments(y, sample_weight, method="a batch")
        batch = self._checked_batch(batch)
        self.compiled_state.check()  # for custom training loops; fit checks before
        self.q_learning.scales.check_network()
        if not self.is_in_step and not tf.distribute.has_strategy():
            with tf.init_scope():
                self._prepare_first_update()
        variables = self.network.trainable_variables
        scale = self.keras_step.loss_scale()
        learned = self.q_learning.gradients(
            batch, self.td_loss, variables, use_im2col=self.compiles_update and is_on_cpu(), loss_scale=scale
        )
        observations = {name: batch[name].observation for name in self.tasks}
        auxiliary = self.keras_step.auxiliary(observations, scale)
        return self.make_update()(learned.gradients, learned.quantities, auxiliary), learned.errors

    def make_update(self) -> Update:
        """Returns the update with the optimizer, the weighting and the aggregator of `compile`."""
        return Update(
            variables=self.network.trainable_variables,
            tasks=self.tasks,
            optimizer=self.optimizer,
            weighting=self.weighting,
            aggregator=self.aggregator,
            task_weights=self.task_weights,
            updates=self.updates,
            update_target=self.update_target_network,
            metrics=[self.task_metrics, *self.keras_step.metrics],
            gradient_log=self.gradient_log,
        )

    def update_target_network(self) -> None:
        """Updates the target network after an update: copies the network if a copy is due, or moves toward it by τ."""
        target, online = self.target_network.weights, self.network.weights  # without the states of random numbers
        if self.target_update_tau is not None:
            soft_update(target, online, self.target_update_tau)
        else:
            hard_update(target, online, tf.equal(self.updates.value % self.target_update_period, 0))

    @property
    def uses_xla(self) -> bool:
        """Whether to compile with XLA where it is possible. Batches that a TPU's host draws cannot be compiled.

        The host's code reads the weights, which are on the TPU's cores.
        """
        if self._xla is False or self.run_eagerly or draws_on_host(self.distribute_strategy):
            return False
        return self._xla is True or xla_pays(self.network)

    @property
    def compiles_update(self) -> bool:
        """Whether XLA compiles the update, alone or within the whole loop."""
        if self._xla != "auto":
            return bool(self.jit_compile)
        is_possible = not self.run_eagerly and self.distribute_strategy.num_replicas_in_sync == 1
        return is_possible and supports_jit(self) and xla_pays_for_update(self.network)

    def joint_q_values(self, tasks: Sequence[str]) -> QValues:
        """Returns a function that computes the action values of several tasks, with which actions are selected.

        It calls shared layers once for all tasks if the network has convolutions. For dense layers that is not faster.
        Noisy layers draw noise.

        Args:
            tasks: The names of the tasks.

        Returns:
            The function, `{task: observation [N, …]}` → `{task: q_values [N, A]}`.
        """
        paths = {name: self.paths[name] for name in tasks}
        joint = JointNetwork(paths) if has_convolutions(self.network) else None

        def q_values(observations: Mapping[str, tf.Tensor]) -> dict[str, tf.Tensor]:
            with exploration_noise():
                if joint is not None:
                    return joint(observations)
                return {name: path(observations[name], training=False) for name, path in paths.items()}

        return q_values

    @property
    def double(self) -> bool:
        """Whether targets are those of Double DQN."""
        return self.q_learning.double

    @property
    def munchausen(self) -> Munchausen | None:
        """The settings of Munchausen targets; None for greedy targets."""
        return self.q_learning.munchausen

    @property
    def running_returns(self) -> Sequence[str]:
        """The tasks whose batches must have the running returns of their episodes."""
        return self.q_learning.running_returns

    def export(  # type: ignore[override]
        self, filepath: str, format: str = "tf_saved_model", *, overwrite: bool = False
    ) -> None:
        """Writes a SavedModel for TF Serving, with a signature per task; see `mtq.export.export`.

        Args:
            filepath: The folder to write.
            format: The format; must be `"tf_saved_model"`.
            overwrite: Whether to replace an existing export of mtq.

        Raises:
            ValueError: The format is another.
        """
        if format != "tf_saved_model":
            raise ValueError(
                f"format of the export must be 'tf_saved_model'. Received: {format!r}. For other formats, "
                "export `model.paths[task]`, which are plain Keras models."
            )
        export(self, filepath, overwrite=overwrite)

    def get_config(self) -> dict[str, Any]:
        """Returns the arguments of the constructor as a config that Keras can save."""
        return {
            "name": self.name,
            "network": keras.saving.serialize_keras_object(self.network),
            "tasks": keras.saving.serialize_keras_object(self.tasks),
            "target_update_period": self.target_update_period,
            "target_update_tau": self.target_update_tau,
            "double": self.double,
            "munchausen": self.munchausen and keras.saving.serialize_keras_object(self.munchausen),
        }

    @classmethod
    def from_config(cls, config: dict[str, Any], custom_objects: Any = None) -> "MultiTaskDQN":
        """Creates a model from its config, without importing any module.

        Args:
            config: The config, as `get_config` returns it.
            custom_objects: Classes and functions by name, in addition to the registered ones.

        Returns:
            The model, not compiled.

        Raises:
            ValueError: The config names unknown classes, or does not contain tasks.
        """
        check_classes(config, custom_objects)
        try:
            network = keras.saving.deserialize_keras_object(config["network"], custom_objects=custom_objects)
        except TypeError as error:  # Keras's message begins with the whole config
            raise ValueError(
                "The network of the model must be one that can be created from its config. Received: "
                f"{config.get('name')!r}, which fails with: {str(error).rpartition('Exception encountered: ')[2][:500]}"
            ) from error
        tasks = deserialize("tasks", config["tasks"], TaskSet)
        return cls(**{**config, "network": network, "tasks": tasks})

    def _checked_batch(self, batch: Batch, is_checked: bool | None = None) -> Batch:
        if not isinstance(batch, Mapping) or set(batch) != set(self.tasks):
            received = sorted(batch) if isinstance(batch, Mapping) else type(batch).__name__
            raise ValueError(
                f"A batch must be a dict with a Transition for each task. Received: {received}, for the tasks "
                f"{list(self.tasks)}. Pass the batches of an mtq.Experience made with the same TaskSet."
            )
        transitions = {name: as_transition(task, batch[name]) for name, task in self.tasks.items()}
        if tf.executing_eagerly():
            check_values(batch, self.tasks)
        elif not (self.is_in_step if is_checked is None else is_checked):  # fit checks outside the step
            return with_assertions(transitions, batch, self.tasks)
        return transitions


class _ByIdentity(list[Any]):
    """A list whose `in` compares by identity, not equality, as Keras requires when it writes `.h5` files."""

    def __contains__(self, item: object) -> bool:
        return any(item is variable for variable in self)
