"""`BestCheckpoint`: saves the best model of a run."""

import math
from pathlib import Path
from typing import Any

import keras

from mtq.storage.files import as_path
from mtq.storage.saving import check_model_place, save_whole
from mtq.trainer.directions import checked_direction


class BestCheckpoint(keras.callbacks.Callback):
    """Saves the model whenever the monitored quantity is the best so far, or equals the best.

    The file is written under another name and renamed, so that it is complete even if the run is killed.

    Args:
        filepath: The path of the file, ending in `.keras`.
        monitor: The name of the monitored quantity in the logs.
        mode: `"max"` if higher values are better, `"min"` if lower ones are. `"auto"` infers it for scores, returns,
            losses and TD errors.

    Raises:
        ValueError: `mode` is none of these, or `"auto"` for a monitor whose direction mtq does not know; or the path
            does not end in `.keras`.
        FileExistsError: The file exists and is not a `.keras` file; an earlier model is replaced.
    """

    saves_model = writes_filepath = follows_monitor = True

    def __init__(self, filepath: str | Path, monitor: str = "val_score", mode: str = "auto") -> None:
        super().__init__()
        direction = checked_direction("BestCheckpoint", monitor, mode)
        self.filepath = as_path("filepath of BestCheckpoint", filepath)
        self.monitor, self.mode = monitor, direction
        self.best = -math.inf if direction == "max" else math.inf
        self.best_epoch: int | None = None  # counted from 1, as Keras prints epochs
        check_model_place(self.filepath)

    def on_epoch_end(self, epoch: int, logs: dict[str, Any] | None = None) -> None:
        """Saves the model if it is the best so far."""
        value = (logs or {}).get(self.monitor)
        if value is not None and (value >= self.best if self.mode == "max" else value <= self.best):
            self.best, self.best_epoch = value, epoch + 1
            save_whole(self.model, self.filepath)
