"""Keeping the best model of a run."""

import math
import os
import zipfile
from pathlib import Path
from typing import IO, Any

import keras

from mtq.callbacks.directions import checked_direction
from mtq.files import as_path
from mtq.folders import beside, check_kind


class BestCheckpoint(keras.callbacks.Callback):
    """Saves the model whenever the figure watched is the best so far, or equals it.

    The file is written beside and renamed, so that there is a whole one at any time, whenever the run is killed.

    Args:
        filepath: Ending in `.keras`.
        monitor: The name of the monitored quantity in the logs.
        mode: `"max"` if higher values are better, `"min"` if lower ones are. `"auto"` infers it for scores, returns,
            losses and TD errors.

    Raises:
        ValueError: mode is none of these, or `"auto"` for a monitor whose direction mtq does not know; or the file does
            not end in `.keras`.
        FileExistsError: The file exists and is not a `.keras` file; an earlier model is replaced.
    """

    def __init__(self, filepath: str | Path, monitor: str = "val_score", mode: str = "auto") -> None:
        super().__init__()
        direction = checked_direction("BestCheckpoint", monitor, mode)
        self.filepath = as_path("filepath of BestCheckpoint", filepath)
        self.monitor, self.mode = monitor, direction
        self.best = -math.inf if direction == "max" else math.inf
        check_model_place(self.filepath)

    def on_epoch_end(self, epoch: int, logs: dict[str, Any] | None = None) -> None:
        """Saves the model if it is the best."""
        value = (logs or {}).get(self.monitor)
        if value is not None and (value >= self.best if self.mode == "max" else value <= self.best):
            self.best = value
            save_whole(self.model, self.filepath)


def save_whole(model: keras.Model, filepath: str | Path) -> None:
    """Saves a model beside its place and then renames it, so that a reader never sees half of one.

    Args:
        model: The model.
        filepath: The file to write, ending in `.keras`.

    Raises:
        ValueError: The file does not end in `.keras`.
        FileExistsError: The file exists and is not a `.keras` file.
    """
    filepath = as_path("filepath", filepath)
    filepath.parent.mkdir(parents=True, exist_ok=True)
    check_model_place(filepath)
    with beside(filepath) as new:
        model.save(new)
        os.replace(new, filepath)


def check_model_place(filepath: Path) -> None:
    """Checks that a model can be saved to a path.

    Args:
        filepath: The file to write.

    Raises:
        ValueError: The path does not end in `.keras`.
        FileExistsError: Something other than a `.keras` file is there.
    """
    if filepath.suffix != ".keras":
        raise ValueError(f"The file of a model must end in .keras. Received: {str(filepath)!r}. Rename it.")
    check_kind(filepath, "model", ".keras file", _is_keras)


def _is_keras(file: IO[bytes]) -> bool:
    try:
        with zipfile.ZipFile(file) as archive:
            return {"config.json", "metadata.json"} <= set(archive.namelist())
    except zipfile.BadZipFile:
        return False
