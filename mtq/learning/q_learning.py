"""Deep Q-learning on a batch of every task: targets, losses, and the gradient of each task's loss."""

import contextlib
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import tensorflow as tf

from mtq import value_learning as vl
from mtq.joint.linear import call_with_im2col
from mtq.joint.network import JointNetwork
from mtq.learning.losses import TDLoss
from mtq.learning.target_network import TargetNetwork
from mtq.networks.paths import TaskPaths
from mtq.task_gradients import TaskGradients, TaskGradientTape

Batch = Mapping[str, vl.Transition]


class Learned(NamedTuple):
    """The gradients, the quantities and the errors of a batch.

    Attributes:
        gradients: The gradients of the tasks' losses.
        quantities: The quantities `loss`, `q_mean` and `td_error`, `[T]` float32 each.
        errors: The temporal-difference errors of the rows, `{task: [B]}` float32.
    """

    gradients: TaskGradients
    quantities: dict[str, tf.Tensor]
    errors: dict[str, tf.Tensor]


class QLearning:
    """Deep Q-learning of several tasks with one joint forward pass through the network they share.

    Args:
        paths: The tasks' paths through the online network.
        target_network: The target network, which uses the same layers with other values.
        double: Whether to use the targets of Double DQN.

    Attributes:
        double: Whether the targets are those of Double DQN.
    """

    def __init__(self, paths: TaskPaths, target_network: TargetNetwork, double: bool) -> None:
        self._paths, self._names, self.double = paths, tuple(paths), double
        self._online, self._target = JointNetwork(paths), target_network

    def q_values(
        self, observations: Mapping[str, Any], *, of_target: bool = False, use_im2col: bool = False
    ) -> dict[str, tf.Tensor]:
        """Computes the action values of all tasks.

        Args:
            observations: The observations, `{task: [B, …]}`.
            of_target: Whether to compute the target network's action values instead of the online network's.
            use_im2col: Whether to compute convolutions as matrix products of image patches (im2col), which is faster
                with XLA on a CPU.

        Returns:
            The action values, `{task: [B, num_actions]}` float32.
        """
        with self._target.in_place() if of_target else contextlib.nullcontext():
            return self._online(observations, call_layer=call_with_im2col if use_im2col else None)

    def targets(self, batch: Batch, *, use_im2col: bool = False) -> dict[str, tf.Tensor]:
        """Computes the targets of the chosen actions' values.

        Args:
            batch: The batch, `{task: Transition}`.
            use_im2col: Whether to compute convolutions by im2col; see `q_values`.

        Returns:
            The targets, `{task: [B]}` float32.
        """
        observations = {name: batch[name].next_observation for name in self._names}
        q_t = self.q_values(observations, of_target=True, use_im2col=use_im2col)
        if not self.double:
            return {n: vl.q_targets(batch[n].reward, batch[n].discount, q_t[n]) for n in self._names}
        selector = self.q_values(observations, use_im2col=use_im2col)
        return {n: vl.double_q_targets(batch[n].reward, batch[n].discount, q_t[n], selector[n]) for n in self._names}

    def losses(self, batch: Batch, td_loss: TDLoss) -> dict[str, tf.Tensor]:
        """Computes each task's loss on a batch, with the network in inference mode and without gradients.

        Args:
            batch: The batch, `{task: Transition}`.
            td_loss: The loss of targets and values.

        Returns:
            The quantities `loss`, `q_mean` and `td_error`, `[T]` float32 each.
        """
        targets = self.targets(batch)
        q_tm1 = self.q_values({name: batch[name].observation for name in self._names})
        chosen = {name: vl.select_actions(q_tm1[name], batch[name].action) for name in self._names}
        losses = [td_loss(targets[name], chosen[name], _weight(batch[name])) for name in self._names]
        return _quantities(losses, q_tm1, {name: targets[name] - chosen[name] for name in self._names})

    def gradients(
        self,
        batch: Batch,
        td_loss: TDLoss,
        variables: list[Any],
        *,
        use_im2col: bool = False,
        loss_scale: tf.Tensor | None = None,
    ) -> Learned:
        """Computes the gradient of each task's loss on a batch, with the network in training mode.

        Args:
            batch: The batch, `{task: Transition}`.
            td_loss: The loss of targets and values.
            variables: The network's trainable variables.
            use_im2col: Whether to compute convolutions by im2col; see `q_values`.
            loss_scale: The factor by which the losses are multiplied for differentiation, a float32 scalar; None for no
                scaling. The returned gradients are unscaled.

        Returns:
            The gradients, the quantities and the errors.
        """
        targets = self.targets(batch, use_im2col=use_im2col)
        losses, errors = [], {}
        with TaskGradientTape(variables, self._paths, use_im2col) as tape:
            observations = {name: batch[name].observation for name in self._names}
            q_tm1 = self._online(observations, training=True, call_layer=tape)
            for name in self._names:
                chosen = vl.select_actions(q_tm1[name], batch[name].action)
                losses.append(td_loss(targets[name], chosen, _weight(batch[name])))
                errors[name] = targets[name] - chosen
        quantities = _quantities(losses, q_tm1, errors)
        return Learned(tape.gradients(losses, loss_scale), quantities, errors)


def _quantities(
    losses: Sequence[tf.Tensor], q_tm1: Mapping[str, tf.Tensor], errors: Mapping[str, tf.Tensor]
) -> dict[str, tf.Tensor]:
    """Computes the quantities of `mtq.trainer.task_metrics.OF_EVALUATION`, `[T]` float32 each: means over the rows.

    Args:
        losses: The tasks' losses, T float32 scalars.
        q_tm1: The action values, `{task: [B, A]}`.
        errors: The temporal-difference errors, `{task: [B]}`.
    """
    return {
        "loss": tf.stack(losses),
        "q_mean": tf.stack([tf.reduce_mean(q_values) for q_values in q_tm1.values()]),
        "td_error": tf.stack([tf.reduce_mean(tf.abs(of_task)) for of_task in errors.values()]),
    }


def _weight(transition: Any) -> tf.Tensor | None:
    return transition.weight if isinstance(transition, vl.WeightedTransition) else None
