"""The parts of Keras's own train step that only some models have: auxiliary losses and a loss scale."""

from collections.abc import Mapping
from typing import Any

import keras
import tensorflow as tf

from mtq.auxiliary_losses import Auxiliary, AuxiliaryLosses
from mtq.loss_scale import is_dynamic, loss_scale_of
from mtq.task_metrics import UpdateMetrics


class KerasStep:
    """What compiling found in a network and an optimizer, and how it is logged. All else costs nothing.

    Args:
        network: The network to be trained.
        optimizer: An optimizer of Keras.
    """

    def __init__(self, network: keras.Model, optimizer: Any) -> None:
        self._optimizer = optimizer
        self._auxiliary = AuxiliaryLosses(network)
        names = ("regularization_loss", "regularization_gradient_norm") if self._auxiliary.any else ()
        names = (*names, "loss_scale") if is_dynamic(optimizer) else names
        self.metrics: list[keras.metrics.Metric] = [UpdateMetrics(names)] if names else []

    @property
    def has_auxiliary(self) -> bool:
        """Whether the network has losses that belong to no task."""
        return self._auxiliary.any

    def loss_scale(self) -> tf.Tensor | None:
        """By what losses are multiplied before they are differentiated; None where there is no loss scale."""
        return loss_scale_of(self._optimizer)

    def auxiliary(self, observations: Mapping[str, Any], loss_scale: tf.Tensor | None) -> Auxiliary | None:
        """The auxiliary losses and their gradient; None where the network has none.

        Args:
            observations: `{task: [B, …]}`.
            loss_scale: What `loss_scale` returned.
        """
        return self._auxiliary(observations, loss_scale) if self._auxiliary.any else None
