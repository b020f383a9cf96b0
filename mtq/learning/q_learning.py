"""Deep Q-learning on a batch of every task: targets, losses, and the gradient of each task's loss."""

import contextlib
import functools
from collections.abc import Mapping
from typing import Any, NamedTuple

import tensorflow as tf

from mtq import value_learning as vl
from mtq.heads import Target, end_of, exploration_noise
from mtq.joint.linear import call_with_im2col
from mtq.joint.network import JointNetwork
from mtq.learning.losses import ValueLoss
from mtq.learning.munchausen import Munchausen
from mtq.learning.return_scales import ReturnScales
from mtq.learning.target_network import TargetNetwork
from mtq.networks.paths import TaskPaths
from mtq.task_gradients import TaskGradients, TaskGradientTape
from mtq.trainer.task_metrics import clipped_name

Batch = Mapping[str, vl.Transition]


class Learned(NamedTuple):
    """The gradients, the quantities and the errors of a batch.

    Attributes:
        gradients: The gradients of the tasks' losses.
        quantities: The quantities `loss`, `q_mean` and `td_error`, `[T]` float32 each, and for each head that has
            limits the share of clipped targets, a scalar.
        errors: The errors of the rows by which samplers set priorities, `{task: [B]}` float32: temporal-difference
            errors or, for distributions, losses.
    """

    gradients: TaskGradients
    quantities: dict[str, tf.Tensor]
    errors: dict[str, tf.Tensor]


class _Rows(NamedTuple):
    """What is computed of the rows of a task's batch.

    Attributes:
        loss: The mean loss, a float32 scalar.
        td_errors: The temporal-difference errors in the units of rewards, `[B]`.
        errors: The errors for samplers, `[B]`.
        q_tm1: The values of the actions taken, in the units of rewards, `[B]`.
    """

    loss: tf.Tensor
    td_errors: tf.Tensor
    errors: tf.Tensor
    q_tm1: tf.Tensor


class QLearning:
    """Deep Q-learning of several tasks with one joint forward pass through the network they share.

    Args:
        paths: The tasks' paths through the online network.
        target_network: The target network, which uses the same layers with other values.
        double: Whether to use the targets of Double DQN.
        munchausen: The settings of Munchausen targets; None for greedy targets.

    Attributes:
        double: Whether the targets are those of Double DQN.
        munchausen: The settings of Munchausen targets; None for greedy targets.
        heads: The head of each task.
        limited: The names of the tasks whose heads have limits.
        scales: The scales of the tasks' returns.
    """

    def __init__(
        self, paths: TaskPaths, target_network: TargetNetwork, double: bool, munchausen: Munchausen | None = None
    ) -> None:
        self._paths, self._names, self.double, self.munchausen = paths, tuple(paths), double, munchausen
        ends = {name: end_of(path) for name, path in paths.items()}
        self.heads = {name: end.head for name, end in ends.items()}
        self.limited = tuple(name for name, head in self.heads.items() if head.limits is not None)
        self.scales = ReturnScales(paths, ends, target_network)
        self._online = JointNetwork(paths, {name: end.outputs for name, end in ends.items()})
        self._target = target_network

    @property
    def running_returns(self) -> list[str]:
        """The tasks whose batches must have running returns."""
        return self.scales.names(of_running_returns=True)

    def num_reduced(self, num_replicas: int) -> int:
        """Returns the number of numbers that each of several replicas reduces for return scales and clipped targets.

        Args:
            num_replicas: The number of replicas.
        """
        return len(self.limited) + self.scales.num_reduced(num_replicas)

    def outputs(
        self,
        observations: Mapping[str, Any],
        *,
        of_target: bool = False,
        use_im2col: bool = False,
        has_noise: bool = False,
    ) -> dict[str, tf.Tensor]:
        """Computes the outputs from which heads compute action values, in inference mode.

        Args:
            observations: The observations, `{task: [B, …]}`.
            of_target: Whether to compute with the target network instead of the online network.
            use_im2col: Whether to compute convolutions as matrix products of image patches (im2col), which is faster
                with XLA on a CPU.
            has_noise: Whether noisy layers draw noise.

        Returns:
            The outputs, `{task: [B, num_actions]}` or `{task: [B, num_actions, N]}` float32.
        """
        noise = exploration_noise() if has_noise else contextlib.nullcontext()
        with self._target.in_place() if of_target else contextlib.nullcontext(), noise:
            outputs = self._online(observations, call_layer=call_with_im2col if use_im2col else None)
        return {name: tf.cast(of_task, tf.float32) for name, of_task in outputs.items()}

    def targets(self, batch: Batch, *, use_im2col: bool = False, has_noise: bool = False) -> dict[str, Target]:
        """Computes the targets of the chosen actions' values, in the units of the heads.

        Args:
            batch: The batch, `{task: Transition}`.
            use_im2col: Whether to compute convolutions by im2col; see `outputs`.
            has_noise: Whether noisy layers draw noise, as in training.

        Returns:
            The targets by task.
        """
        outputs_of = functools.partial(self.outputs, use_im2col=use_im2col, has_noise=has_noise)
        observations = {name: batch[name].next_observation for name in self._names}
        outputs_t = outputs_of(observations, of_target=True)
        rewards = {name: batch[name].reward / self.scales.scale(name) for name in self._names}
        if self.munchausen is not None:
            outputs_tm1 = outputs_of({name: batch[name].observation for name in self._names}, of_target=True)
            return self._soft_targets(batch, rewards, outputs_tm1, outputs_t, self.munchausen)
        selectors: dict[str, Any] = dict.fromkeys(self._names)
        if self.double:
            outputs = outputs_of(observations)
            selectors = {name: self.heads[name].values(outputs[name]) for name in self._names}
        return {
            name: self.heads[name].greedy_backup(
                rewards[name],
                batch[name].discount,
                outputs_t[name],
                selectors[name],
                vl.field_of(batch[name], "next_action_mask"),
            )
            for name in self._names
        }

    def _soft_targets(
        self,
        batch: Batch,
        rewards: Mapping[str, tf.Tensor],
        outputs_tm1: Mapping[str, tf.Tensor],
        outputs_t: Mapping[str, tf.Tensor],
        munchausen: Munchausen,
    ) -> dict[str, Target]:
        targets = {}
        for name in self._names:
            head, rows = self.heads[name], batch[name]
            q_tm1, q_t = head.values(outputs_tm1[name]), head.values(outputs_t[name])
            bonus = vl.munchausen_bonus(
                q_tm1,
                rows.action,
                munchausen.temperature,
                munchausen.alpha,
                munchausen.lowest,
                vl.field_of(rows, "action_mask"),
            )
            log_policy = vl.scaled_log_policy(q_t, munchausen.temperature, vl.field_of(rows, "next_action_mask"))
            policy = tf.exp(log_policy / munchausen.temperature)
            entropy_bonus = tf.where(policy > 0, -log_policy, tf.zeros_like(log_policy))
            targets[name] = head.soft_backup(
                rewards[name] + bonus, rows.discount, outputs_t[name], policy, entropy_bonus
            )
        return targets

    def losses(self, batch: Batch, loss: ValueLoss) -> dict[str, tf.Tensor]:
        """Computes each task's loss on a batch, with the network in inference mode and without gradients.

        Args:
            batch: The batch, `{task: Transition}`.
            loss: The loss.

        Returns:
            The quantities of `Learned`.
        """
        targets = self.targets(batch)
        observations = {name: batch[name].observation for name in self._names}
        outputs = self._online(observations)
        rows = {name: self._rows(name, batch[name], targets[name], outputs[name], loss) for name in self._names}
        return self._quantities(rows, targets)

    def gradients(
        self,
        batch: Batch,
        loss: ValueLoss,
        variables: list[Any],
        *,
        use_im2col: bool = False,
        loss_scale: tf.Tensor | None = None,
    ) -> Learned:
        """Computes the gradient of each task's loss on a batch, with the network in training mode.

        The statistics of return scalings are updated first.

        Args:
            batch: The batch, `{task: Transition}`.
            loss: The loss.
            variables: The network's trainable variables.
            use_im2col: Whether to compute convolutions by im2col; see `outputs`.
            loss_scale: The factor by which the losses are multiplied for differentiation, a float32 scalar; None for no
                scaling. The returned gradients are unscaled.

        Returns:
            The gradients, the quantities and the errors.
        """
        self.scales.observe_returns(batch)
        targets = self.scales.observe_targets(self.targets(batch, use_im2col=use_im2col, has_noise=True))
        with TaskGradientTape(variables, self._paths, use_im2col) as tape:
            observations = {name: batch[name].observation for name in self._names}
            outputs = self._online(observations, training=True, call_layer=tape)
            rows = {name: self._rows(name, batch[name], targets[name], outputs[name], loss) for name in self._names}
        losses = [of_task.loss for of_task in rows.values()]
        errors = {name: of_task.errors for name, of_task in rows.items()}
        return Learned(tape.gradients(losses, loss_scale), self._quantities(rows, targets), errors)

    def _rows(self, name: str, batch: vl.Transition, target: Target, outputs: tf.Tensor, loss: ValueLoss) -> _Rows:
        head = self.heads[name]
        outputs = tf.cast(outputs, tf.float32)  # those of the user's own layers may be of half precision
        chosen = head.chosen(outputs, batch.action)
        of_rows = loss(head, target, chosen, vl.field_of(batch, "weight"))
        scale = self.scales.scale(name)
        q_tm1 = scale * head.values(chosen)
        td_errors = scale * target.value - q_tm1
        # Priorities are kept while the scale changes, so they must not be in its units.
        follows_loss = of_rows.losses is not None and not head.losses_have_units
        return _Rows(of_rows.mean, td_errors, of_rows.losses if follows_loss else td_errors, q_tm1)

    def _quantities(self, rows: Mapping[str, _Rows], targets: Mapping[str, Target]) -> dict[str, tf.Tensor]:
        """Computes the quantities of `mtq.trainer.task_metrics.OF_EVALUATION`, `[T]` float32 each: means over the rows.

        For each head that has limits, `clipped_name(task)` is the share of its targets outside of these.
        """
        quantities = {
            "loss": tf.stack([of_task.loss for of_task in rows.values()]),
            "q_mean": tf.stack([tf.reduce_mean(of_task.q_tm1) for of_task in rows.values()]),
            "td_error": tf.stack([tf.reduce_mean(tf.abs(of_task.td_errors)) for of_task in rows.values()]),
        }
        for name in self.limited:
            quantities[clipped_name(name)] = _share_outside(targets[name].value, self.heads[name].limits)
        return quantities


def _share_outside(values: tf.Tensor, limits: tuple[float, float] | None) -> tf.Tensor:
    low, high = limits or (-float("inf"), float("inf"))
    return tf.reduce_mean(tf.cast((values < low) | (values > high), tf.float32))
