"""Stopping a run in which layers were frozen or freed without a new compile."""

from typing import Any

import keras


class CheckTrainableWeights(keras.callbacks.Callback):
    """Raises a ValueError at the start of an epoch if `trainable` of a layer was changed, which would have no effect.

    `MultiTaskDQN.fit` always has it.
    """

    def on_epoch_begin(self, epoch: int, logs: dict[str, Any] | None = None) -> None:
        """Compares the trainable weights with those of compile."""
        self.model.trained_weights.check()
