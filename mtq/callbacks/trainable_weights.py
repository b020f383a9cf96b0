"""A callback that stops a run in which layers were frozen or unfrozen without compiling again."""

from typing import Any

import keras


class CheckTrainableWeights(keras.callbacks.Callback):
    """Raises a ValueError at the start of an epoch if a layer's `trainable` has changed since `compile`.

    Such a change would have no effect. `MultiTaskDQN.fit` always adds this callback.
    """

    def on_epoch_begin(self, epoch: int, logs: dict[str, Any] | None = None) -> None:
        """Compares the trainable weights with those at the time of `compile`."""
        self.model.trained_weights.check()
