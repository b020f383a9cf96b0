"""A check of the files of Keras's `CSVLogger`, whose columns are the logs of the first epoch."""

import csv
import os
import warnings
from collections.abc import Sequence
from typing import Any

import keras

from mtq.trainer.stages import CHECKS_LOGS


class CheckColumns(keras.callbacks.Callback):
    """Checks, before `CSVLogger`s write an epoch, that their columns are the quantities in the logs.

    `fit` adds it if it is needed.

    Args:
        loggers: The `CSVLogger`s.
    """

    mtq_stage = CHECKS_LOGS

    def __init__(self, loggers: Sequence[keras.callbacks.CSVLogger]) -> None:
        super().__init__()
        self._loggers, self._names = list(loggers), set[str]()

    def on_train_begin(self, logs: dict[str, Any] | None = None) -> None:
        """Clears the quantities of an earlier `fit`."""
        self._names = set()

    def on_epoch_end(self, epoch: int, logs: dict[str, Any] | None = None) -> None:
        """Raises a ValueError if a file that is continued has other columns; warns if a quantity has no column."""
        names = set(logs or {})
        if not self._names:
            for logger in self._loggers:
                _check_continued(logger, sorted(names))
            self._names = names
        late = sorted(names - self._names)
        if late:
            self._names |= names
            warnings.warn(
                f"The file of CSVLogger has no column for {late}, which the first epoch did not log. Log a quantity in "
                "every epoch, NaN where it is unknown, from a callback with adds_logs = True.",
                stacklevel=2,
            )


def _check_continued(logger: keras.callbacks.CSVLogger, names: list[str]) -> None:
    if not logger.append or logger.append_header or not os.path.isfile(logger.filename):
        return
    if not any(name.startswith("val_") for name in names):
        names = [*names, *(f"val_{name}" for name in names)]  # as Keras's CSVLogger does
    with open(logger.filename, newline="", encoding="utf-8") as file:
        header = next(csv.reader(file, delimiter=logger.sep), [])
    columns = ["epoch", *names]
    if header != columns:
        logger.on_train_end()  # closes the file
        raise ValueError(
            "The file that CSVLogger continues must have the columns of what is logged. Received: "
            f"{logger.filename!r}, which lacks {sorted(set(columns) - set(header))} and has in addition "
            f"{sorted(set(header) - set(columns))}, or has them in another order. Choose another file, or append=False."
        )
