"""Saving after each epoch what a run needs to go on."""

from collections.abc import Callable, Mapping
from typing import Any

import keras

from mtq.checks import integer
from mtq.trainer.stages import CALLED_LAST


class SaveCheckpoint(keras.callbacks.Callback):
    """Saves a checkpoint at the end of epochs. `MultiTaskDQN.fit` calls it after all other callbacks.

    Args:
        checkpoint: A `mtq.checkpoint.Checkpoint`.
        notes: What is to be saved with it, JSON values.
        every: How many epochs apart.
    """

    stage = CALLED_LAST

    def __init__(self, checkpoint: Any, notes: Callable[[], Mapping[str, Any]] = dict, every: int = 1) -> None:
        super().__init__()
        self.checkpoint, self.notes = checkpoint, notes
        self.every = integer("every of SaveCheckpoint", every)

    def on_epoch_end(self, epoch: int, logs: dict[str, Any] | None = None) -> None:
        """Saves it."""
        if (epoch + 1) % self.every == 0:
            self.checkpoint.save(epoch + 1, self.notes())
