"""`GradientTelemetry`: records how the tasks' gradients relate to each other."""

import csv
import itertools
import math
import time
from pathlib import Path
from typing import Any

import keras
import numpy as np
import tensorflow as tf
from matplotlib.figure import Figure

from mtq.checks import integer, real
from mtq.distribution.replicas import draws_on_host
from mtq.learning.model import MultiTaskDQN
from mtq.storage.files import as_path
from mtq.storage.folders import check_folder_place
from mtq.storage.pictures import check_picture_place, save_figure
from mtq.task_gradients.log import GradientLog, GradientSnapshot


class GradientTelemetry(keras.callbacks.Callback):
    """Records the cosines between the tasks' gradients, their norms and weights, and how often they are in conflict.

    It samples one update in `update_freq`. After each epoch it appends a line for each sample to the directory's
    `gradients.csv`, and writes the same numbers to TensorBoard's event files. `gradient_cosines.png`, the mean cosines
    so far, is redrawn at most every `seconds`, and at the end. The epoch's logs receive `"gradients_in_conflict"`, the
    fraction of the epoch's samples in which the gradients of any two tasks have a negative cosine; NaN if the epoch has
    no sample.

    Args:
        directory: The directory for the files. The CSV file of an earlier run of the same tasks is continued.
        update_freq: The number of updates from one sample to the next.
        seconds: The minimum number of seconds between two drawings of the picture.

    Raises:
        ValueError: `update_freq` is not an integer of at least 1; or, when training starts, the directory holds the CSV
            file of other tasks.
        FileExistsError: The directory is a file, or its `gradient_cosines.png` is not a PNG.
    """

    adds_logs = True

    def __init__(self, directory: str | Path, update_freq: int = 100, seconds: float = 30.0) -> None:
        super().__init__()
        self.directory = as_path("directory of GradientTelemetry", directory)
        self.update_freq = integer("update_freq of GradientTelemetry", update_freq)
        self.seconds = real("seconds of GradientTelemetry", seconds, least=0)
        self.records: list[GradientSnapshot] = []
        self._written = 0
        self._drawn = time.monotonic()
        self._log: GradientLog | None = None
        self._watched: Any = None
        self._writer: Any = None
        check_folder_place(self.directory, "directory of GradientTelemetry")
        check_picture_place(self._picture)

    def gradient_log_for(self, model: MultiTaskDQN) -> GradientLog:
        """Returns the log in which the model stores the statistics of its gradients; `fit` calls it before tracing.

        Args:
            model: The model that is trained.

        Raises:
            ValueError: The model is trained on a TPU.
        """
        if draws_on_host(model.distribute_strategy):
            raise ValueError(
                "GradientTelemetry must be used on CPUs or GPUs, because its log is on the host. Received: a model on "
                "a TPU. Leave the callback out; the logs have each task's gradient_norm and weight."
            )
        if model is not self._watched:
            self._watched, self._log, self.records, self._written = model, None, [], 0
        capacity = -(-model.steps_per_execution // self.update_freq) + 1
        if self._log is None or self._log.capacity < capacity:
            self._log = GradientLog(len(model.tasks), self.update_freq, capacity)
        return self._log

    def on_train_begin(self, logs: dict[str, Any] | None = None) -> None:
        """Opens the files."""
        self.directory.mkdir(parents=True, exist_ok=True)
        self._begin_csv()
        self._writer = tf.summary.create_file_writer(str(self.directory))

    def on_train_batch_end(self, batch: int, logs: dict[str, Any] | None = None) -> None:
        """Fetches the samples of the last execution."""
        self._fetch()

    def on_epoch_end(self, epoch: int, logs: dict[str, Any] | None = None) -> None:
        """Writes the samples of the epoch, and adds `"gradients_in_conflict"` to the logs."""
        new = self._write()
        if new and time.monotonic() - self._drawn > self.seconds:
            self.draw()
        if logs is not None:
            share = np.mean([record.in_conflict for record in new]) if new else math.nan
            logs["gradients_in_conflict"] = float(share)

    def on_train_end(self, logs: dict[str, Any] | None = None) -> None:
        """Draws the picture and closes TensorBoard's file."""
        self.finish()

    def finish(self) -> None:
        """Writes the samples of an unfinished epoch and closes the files; `fit` calls it even if the run fails."""
        if self._writer is None:
            return
        self._fetch()
        self._write()
        if self.records:
            self.draw()
        self._writer.close()
        self._writer = None

    def _fetch(self) -> None:
        if self._log is not None:
            self.records += self._log.fetch()

    @property
    def _path(self) -> Path:
        return self.directory / "gradients.csv"

    @property
    def _picture(self) -> Path:
        return self.directory / "gradient_cosines.png"

    def _names(self) -> list[str]:
        tasks = list(self.model.tasks)
        return [
            "in_conflict",
            *(f"cosine/{first}/{second}" for first, second in itertools.combinations(tasks, 2)),
            *(f"norm/{task}" for task in tasks),
            *(f"weight/{task}" for task in tasks),
        ]

    def _values(self, record: GradientSnapshot) -> list[float]:
        pairs = record.cosines[np.triu_indices(len(record.norms), k=1)]
        return [float(record.in_conflict), *pairs.tolist(), *record.norms.tolist(), *record.weights.tolist()]

    def _begin_csv(self) -> None:
        header = ["update", *self._names()]
        if not self._path.exists() or not self._path.stat().st_size:
            with self._path.open("w", newline="") as file:
                csv.writer(file).writerow(header)
            return
        with self._path.open(newline="") as file:
            columns = next(csv.reader(file), [])
        if columns != header:
            raise ValueError(
                f"gradients.csv must be of the tasks {list(self.model.tasks)}. Received: {str(self._path)!r} with the "
                f"columns {columns}. Give GradientTelemetry another directory."
            )

    def _write(self) -> list[GradientSnapshot]:
        """Writes the samples that are not written yet, and returns them."""
        names, records = self._names(), self.records[self._written :]
        rows = [(record.update, self._values(record)) for record in records]
        with self._path.open("a", newline="") as file:
            csv.writer(file).writerows([update, *values] for update, values in rows)
        with self._writer.as_default():
            for update, values in rows:  # one event for all numbers: one for each would cost more than the update
                scalars = zip(names, values, strict=True)
                summary = tf.compat.v1.Summary(
                    value=[{"tag": f"gradients/{name}", "simple_value": value} for name, value in scalars]
                )
                tf.summary.experimental.write_raw_pb(summary.SerializeToString(), step=update)
        self._writer.flush()
        self._written += len(records)
        return records

    def draw(self) -> None:
        """Draws and writes the picture of the mean cosines."""
        tasks = list(self.model.tasks)
        mean = np.mean([record.cosines for record in self.records], axis=0)
        side = 2.5 + 0.7 * len(tasks)
        figure = Figure(figsize=(side + 1, side), layout="constrained")
        axes = figure.subplots()
        image = axes.imshow(mean, cmap="RdBu", vmin=-1, vmax=1)
        axes.set_xticks(range(len(tasks)), tasks, rotation=30, ha="right")
        axes.set_yticks(range(len(tasks)), tasks)
        for i, j in itertools.product(range(len(tasks)), repeat=2):
            color = "white" if abs(mean[i, j]) > 0.6 else "black"
            axes.text(j, i, f"{mean[i, j]:.2f}", ha="center", va="center", color=color)
        figure.colorbar(image, label="cosine of the gradients")
        conflict = np.mean([record.in_conflict for record in self.records])
        axes.set_title(f"mean of {len(self.records)} updates, {conflict:.0%} in conflict")
        save_figure(figure, self._picture)
        self._drawn = time.monotonic()
