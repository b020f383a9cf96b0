"""The parts of Keras's steps besides the update: auxiliary losses, a loss scale, and the metrics of `evaluate`."""

from collections.abc import Mapping, Sequence
from typing import Any

import keras
import tensorflow as tf

from mtq.trainer.auxiliary_losses import Auxiliary, AuxiliaryLosses
from mtq.trainer.loss_scale import is_dynamic, loss_scale_of
from mtq.trainer.task_metrics import EvaluationMetrics, UpdateMetrics, clipped_name


class KerasStep:
    """The auxiliary losses of a network and the loss scale of its optimizer, with the metrics that log them.

    The shares of clipped targets are logged with them. A model that has none of these bears no cost for them.

    Args:
        network: The network to be trained.
        optimizer: The Keras optimizer that trains it.
        tasks: The names of the tasks.
        limited: The names of the tasks whose heads have limits.

    Attributes:
        metrics: The metrics that log these quantities; empty if there are none.
        evaluation_metrics: The metrics of `evaluate`. The model must not track them: they are no part of its state, and
            their names are those of the training's.
    """

    def __init__(
        self,
        network: keras.Model,
        optimizer: keras.optimizers.Optimizer,
        tasks: Sequence[str],
        limited: Sequence[str] = (),
    ) -> None:
        self._optimizer = optimizer
        self.evaluation_metrics = EvaluationMetrics(tasks)
        self._auxiliary = AuxiliaryLosses(network)
        names = ("regularization_loss", "regularization_gradient_norm") if self._auxiliary.any else ()
        names = (*names, "loss_scale") if is_dynamic(optimizer) else names
        names = (*names, *map(clipped_name, limited))
        self.metrics: list[keras.metrics.Metric] = [UpdateMetrics(names)] if names else []

    @property
    def has_auxiliary(self) -> bool:
        """Whether the network has losses that belong to no task."""
        return self._auxiliary.any

    def loss_scale(self) -> tf.Tensor | None:
        """The factor by which losses are multiplied before differentiation, a float32 scalar; None if there is none."""
        return loss_scale_of(self._optimizer)

    def auxiliary(self, observations: Mapping[str, Any], loss_scale: tf.Tensor | None) -> Auxiliary | None:
        """Computes the auxiliary losses and their gradient.

        Args:
            observations: The observations of a batch, `{task: [B, …]}`.
            loss_scale: The value that `loss_scale` returned.

        Returns:
            The losses and their unscaled gradient; None if the network has no auxiliary losses.
        """
        return self._auxiliary(observations, loss_scale) if self._auxiliary.any else None
