"""A warning if `fit` is too short for a checkpoint that saves every n updates."""

import warnings
from collections.abc import Sequence
from typing import Any

import keras

from mtq.keras_internals import batches_since_saving


class TellNothingSaved(keras.callbacks.Callback):
    """Warns at the end of a `fit` if a `ModelCheckpoint(save_freq=n)` never saved because there were fewer updates.

    `fit` adds it if it is needed.

    Args:
        checkpoints: The `ModelCheckpoint`s whose `save_freq` is a number.
    """

    def __init__(self, checkpoints: Sequence[keras.callbacks.ModelCheckpoint]) -> None:
        super().__init__()
        self._checkpoints, self._before, self._updates = list(checkpoints), list[int](), 0

    def on_train_begin(self, logs: dict[str, Any] | None = None) -> None:
        """Stores the number of updates that each checkpoint had counted before."""
        self._before, self._updates = [_counted(checkpoint) for checkpoint in self._checkpoints], _updates(self.model)

    def on_train_end(self, logs: dict[str, Any] | None = None) -> None:
        """Warns for each checkpoint that was never written."""
        made = _updates(self.model) - self._updates
        for checkpoint, before in zip(self._checkpoints, self._before, strict=True):
            if made and before == 0 and _counted(checkpoint) == made:  # a later fit continues the count
                warnings.warn(
                    f"ModelCheckpoint has saved nothing to {str(checkpoint.filepath)!r} so far: save_freq must be at "
                    f"most the number of updates, {made} in this fit. Received: {checkpoint.save_freq}. Give a smaller "
                    "number, or save_freq='epoch'.",
                    stacklevel=2,
                )


def _counted(checkpoint: keras.callbacks.ModelCheckpoint) -> int:
    return batches_since_saving(checkpoint)


def _updates(model: keras.Model) -> int:
    return int(model.updates.numpy())
