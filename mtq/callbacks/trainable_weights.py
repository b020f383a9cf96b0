"""A callback that stops a run in which layers were frozen, or parts replaced, without compiling again."""

from typing import Any

import keras


class CheckTrainableWeights(keras.callbacks.Callback):
    """Raises a ValueError at the start of an epoch if `compile` has to be called again, as after layers were frozen.

    Such a change would have no effect. `MultiTaskDQN.fit` always adds this callback.
    """

    def on_epoch_begin(self, epoch: int, logs: dict[str, Any] | None = None) -> None:
        """Compares the model with what it was at the time of `compile`."""
        self.model.compiled_state.check()
