"""`SaveCheckpoint`: saves the state from which a run is resumed."""

from collections.abc import Callable, Mapping
from typing import Any

import keras

from mtq.checks import integer
from mtq.trainer.stages import CALLED_LAST


class SaveCheckpoint(keras.callbacks.Callback):
    """Saves a checkpoint at the end of epochs. `MultiTaskDQN.fit` calls it after all other callbacks.

    Args:
        checkpoint: A `mtq.runs.checkpoint.Checkpoint`.
        notes: A function that returns the JSON values to be stored with the checkpoint.
        every: The number of epochs from one checkpoint to the next.
    """

    mtq_stage = CALLED_LAST

    def __init__(self, checkpoint: Any, notes: Callable[[], Mapping[str, Any]] = dict, every: int = 1) -> None:
        super().__init__()
        self.checkpoint, self.notes = checkpoint, notes
        self.every = integer("every of SaveCheckpoint", every)

    def on_epoch_end(self, epoch: int, logs: dict[str, Any] | None = None) -> None:
        """Saves a checkpoint if it is due."""
        if (epoch + 1) % self.every == 0:
            self.checkpoint.save(epoch + 1, self.notes())
