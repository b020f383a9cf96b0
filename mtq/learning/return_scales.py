"""The scales of returns of all tasks, whose statistics are updated before each update of the network."""

from collections.abc import Mapping
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from mtq import value_learning as vl
from mtq.distribution.replicas import num_replicas, on_means
from mtq.heads import Head, PathEnd, ReturnScaling, Target, linear_weights
from mtq.keras_internals import calls_of
from mtq.learning.target_network import TargetNetwork
from mtq.networks.paths import TaskPaths


class ReturnScales:
    """The scales of the returns of those tasks whose heads have a return scaling.

    Args:
        paths: The tasks' paths through the online network.
        ends: The ends of the paths.
        target_network: The target network, whose statistics are always those of the online network.

    Raises:
        ValueError: Several tasks share a head that has a return scaling.
    """

    def __init__(self, paths: TaskPaths, ends: Mapping[str, PathEnd], target_network: TargetNetwork) -> None:
        self._paths = paths
        self._ends = {name: end for name, end in ends.items() if end.head.return_scaling is not None}
        self._preserved = {name: end for name, end in self._ends.items() if _scaling(end.head).preserves_values}
        self._target_network = target_network
        for name, end in self._ends.items():
            sharing = [other for other, other_end in ends.items() if other_end.head is end.head]
            if len(sharing) > 1:
                raise ValueError(
                    "A head with a return_scaling must belong to one task, because its statistics are those of the "
                    f"task's returns. Received: '{end.head.name}' of the tasks {sharing}. Make a head for each task "
                    f"({name}: head.copy(name))."
                )

    def check_network(self) -> None:
        """Raises a ValueError if the values of a head that has PopArt cannot be preserved."""
        if not self._preserved:
            return
        layers = [call.layer for path in self._paths.values() for call in calls_of(path)]
        for name, end in self._preserved.items():
            weights = {id(weight) for weight in linear_weights(end.layer)}
            uses = sum(any(id(weight) in weights for weight in layer.variables) for layer in layers)
            if uses != 1:
                raise ValueError(
                    f"The layer before the head of task '{name}' must be a Dense, NoisyDense or DuelingHead that is "
                    "used there alone, without an activation, constraint, LoRA or quantization, so that PopArt "
                    "preserves values. "
                    f"Received: {type(end.layer).__name__} '{getattr(end.layer, 'name', None)}'. Build the network by "
                    "mtq.networks.shared_q_network(return_scaling='popart')."
                )

    def check_optimizer(self, optimizer: keras.optimizers.Optimizer) -> None:
        """Raises a ValueError if the optimizer averages weights that PopArt rescales.

        Args:
            optimizer: The optimizer.
        """
        for name in self._preserved:
            _check_average(name, optimizer)

    def align_target(self) -> None:
        """Brings the target network to the online network's scales, for use outside graphs.

        They differ if the target network's weights were set by the user. Those before a head that has PopArt are
        rescaled, so that the target network's values stay as they are.
        """
        for end in self._ends.values():
            names, variables = list(end.head.statistics), list(end.head.statistics.values())
            of_target = self._target_network.values_of(variables)
            if all(np.array_equal(one, other) for one, other in zip(variables, of_target, strict=True)):
                continue
            scaling = _scaling(end.head)
            before = scaling.scale(dict(zip(names, map(tf.convert_to_tensor, of_target), strict=True)))
            if scaling.preserves_values:
                for value in self._target_network.values_of(linear_weights(end.layer)):
                    value.assign(value * (before / end.head.scale()))
            for value, variable in zip(of_target, variables, strict=True):
                value.assign(np.array(variable))

    def names(self, *, of_running_returns: bool) -> list[str]:
        """Returns the tasks whose statistics are those of running returns, or those of targets.

        Args:
            of_running_returns: If True, the tasks whose scale follows from running returns; otherwise from targets.
        """
        ends = self._ends.items()
        return [name for name, end in ends if _scaling(end.head).uses_running_returns is of_running_returns]

    def num_reduced(self, num_replicas: int) -> int:
        """Returns the number of numbers that each of several replicas reduces for an update of the statistics.

        Args:
            num_replicas: The number of replicas.
        """
        return sum(_scaling(end.head).num_moments + num_replicas for end in self._ends.values())

    def observe_returns(self, batch: Mapping[str, vl.Transition]) -> None:
        """Updates the statistics of running returns.

        Args:
            batch: The batch, `{task: Transition}`.

        Raises:
            ValueError: The batch of a task does not have the returns.
        """
        names = self.names(of_running_returns=True)
        for name in names:
            if vl.field_of(batch[name], "running_return") is None:
                raise ValueError(
                    f"A batch of task '{name}' must have a running_return for its return_scaling. Received: a "
                    "Transition without one. Train on the batches of an mtq.Experience, or give each row the "
                    "running return G_t = r_t + γ G_{t−1} of its episode, by mtq.value_learning.with_fields; see "
                    "mtq.heads.RunningScale for episodes that a time limit ended."
                )
        self._update({name: vl.field_of(batch[name], "running_return") for name in names})

    def observe_targets(self, targets: Mapping[str, Target]) -> dict[str, Target]:
        """Updates the statistics of targets, and converts the targets to the new units.

        Args:
            targets: The targets of all tasks in their heads' units.

        Returns:
            The targets of all tasks in the new units.
        """
        rescaled = dict(targets)
        names = self.names(of_running_returns=False)
        before = {name: self.scale(name) for name in names}
        after = self._update({name: before[name] * targets[name].value for name in names})
        for name in names:
            rescaled[name] = self._ends[name].head.rescaled(targets[name], before[name] / after[name])
        return rescaled

    def scale(self, name: str) -> tf.Tensor | float:
        """Returns the scale of a task's returns, a float32 scalar, which converts its head's units to those of rewards.

        Args:
            name: The task.
        """
        return self._ends[name].head.scale() if name in self._ends else 1.0

    def _update(self, values: Mapping[str, tf.Tensor]) -> dict[str, tf.Tensor]:
        """Updates the statistics of some tasks with the values of this replica's rows.

        Returns:
            The new scales, which are the same on all replicas.
        """
        if not values:
            return {}
        means, largest = {}, {}
        for name, of_rows in values.items():
            head = self._ends[name].head
            means[name] = tf.reduce_mean(_scaling(head).moments(_read(head.statistics), of_rows), axis=0)
            largest[name] = _in_slot_of_replica(tf.reduce_max(tf.abs(of_rows)))
        return on_means(self._assign, means, largest)

    def _assign(self, means: Mapping[str, tf.Tensor], largest: Mapping[str, tf.Tensor]) -> dict[str, tf.Tensor]:
        return {name: self._assign_task(name, means[name], tf.reduce_max(largest[name])) for name in means}

    def _assign_task(self, name: str, means: tf.Tensor, largest: tf.Tensor) -> tf.Tensor:
        head = self._ends[name].head
        scaling, statistics = _scaling(head), _read(head.statistics)
        before = scaling.scale(statistics)
        is_finite = tf.reduce_all(tf.math.is_finite(means)) & tf.math.is_finite(largest)
        updated = {
            key: tf.where(is_finite, value, statistics[key])
            for key, value in scaling.updated(statistics, means, largest).items()
        }
        after = scaling.scale(updated)
        for key, value in updated.items():
            for variable in self._in_both(head.statistics[key]):
                variable.assign(value)
        if scaling.preserves_values:
            factor = before / after
            for weight in linear_weights(self._ends[name].layer):
                for variable in self._in_both(weight):
                    variable.assign(factor * tf.convert_to_tensor(variable))
        return after

    def _in_both(self, variable: keras.Variable) -> list[keras.Variable]:
        """Returns a variable of the online network, and the target network's value of it."""
        return [variable, *self._target_network.values_of([variable])]


def _scaling(head: Head) -> ReturnScaling:
    assert head.return_scaling is not None
    return head.return_scaling


def _read(statistics: Mapping[str, keras.Variable]) -> dict[str, tf.Tensor]:
    return {name: tf.convert_to_tensor(variable) for name, variable in statistics.items()}


def _in_slot_of_replica(largest: tf.Tensor) -> tf.Tensor:
    """Returns a vector whose mean over the replicas holds the number of each of them, `[replicas]` float32."""
    number = num_replicas()
    if number == 1:
        return largest[None]
    replica = tf.distribute.get_replica_context().replica_id_in_sync_group
    return tf.one_hot(replica, number) * largest * number


def _check_average(name: str, optimizer: Any) -> None:
    inner = getattr(optimizer, "inner_optimizer", optimizer)
    if getattr(inner, "use_ema", False):
        raise ValueError(
            f"use_ema of the optimizer must be False with return_scaling='popart', which task '{name}' has: an average "
            "of weights from different scales would change the action values. Received: use_ema=True. Use "
            "target_update_tau, whose target network is a running mean that PopArt rescales, or "
            "return_scaling='running'."
        )
