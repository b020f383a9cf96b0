"""How the tasks' gradients stand to each other."""

import csv
import itertools
from pathlib import Path
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from mtq.gradient_statistics import GradientRecord, GradientStatistics
from mtq.numeric import is_whole


class GradientTelemetry(keras.callbacks.Callback):
    """Writes the cosines between the tasks' gradients, their norms and weights, and how often they are in conflict.

    It looks at one update in `every`. In the directory it writes `gradients.csv` with a line for each look,
    TensorBoard's event files, and after each epoch `gradient_cosines.png`, the mean cosines so far. To the epoch's logs
    it adds `"gradients_in_conflict"`: in what share of the epoch's looks any two tasks' gradients pointed away from
    each other.

    Args:
        directory: Where to write; a file of an earlier run is continued.
        every: Updates from one look to the next.

    Raises:
        ValueError: `every` is not a whole number from 1.
    """

    def __init__(self, directory: str | Path, every: int = 100) -> None:
        super().__init__()
        if not is_whole(every) or every < 1:
            raise ValueError(f"every of GradientTelemetry must be a whole number from 1. Received: {every!r}.")
        self.directory, self.every = Path(directory), int(every)
        self.records: list[GradientRecord] = []
        self._written = 0
        self._statistics: GradientStatistics | None = None
        self._writer: Any = None

    def statistics_for(self, model: Any) -> GradientStatistics:
        """What the model is to note its gradients in; asked for by `fit` before it is traced."""
        capacity = -(-model.steps_per_execution // self.every) + 1
        if self._statistics is None or self._statistics.capacity < capacity:
            self._statistics = GradientStatistics(len(model.tasks), self.every, capacity)
        return self._statistics

    def on_train_begin(self, logs: dict[str, Any] | None = None) -> None:
        """Opens the files."""
        self.directory.mkdir(parents=True, exist_ok=True)
        self._writer = tf.summary.create_file_writer(str(self.directory))

    def on_train_batch_end(self, batch: int, logs: dict[str, Any] | None = None) -> None:
        """Fetches what was seen in the last execution."""
        if self._statistics is not None:
            self.records += self._statistics.fetch()

    def on_epoch_end(self, epoch: int, logs: dict[str, Any] | None = None) -> None:
        """Writes."""
        new = self.records[self._written :]
        self._written = len(self.records)
        if not new:
            return
        self._append(new)
        self._summarize(new)
        self._draw()
        if logs is not None:
            logs["gradients_in_conflict"] = float(np.mean([record.in_conflict for record in new]))

    def on_train_end(self, logs: dict[str, Any] | None = None) -> None:
        """Closes TensorBoard's file."""
        self._writer.close()

    def _values(self, record: GradientRecord) -> dict[str, float]:
        tasks = list(self.model.tasks)
        pairs = itertools.combinations(range(len(tasks)), 2)
        return {
            "in_conflict": float(record.in_conflict),
            **{f"cosine/{tasks[i]}/{tasks[j]}": float(record.cosines[i, j]) for i, j in pairs},
            **{f"norm/{name}": float(norm) for name, norm in zip(tasks, record.norms, strict=True)},
            **{f"weight/{name}": float(weight) for name, weight in zip(tasks, record.weights, strict=True)},
        }

    def _append(self, records: list[GradientRecord]) -> None:
        path = self.directory / "gradients.csv"
        is_new = not path.exists()
        with path.open("a", newline="") as file:
            writer = csv.DictWriter(file, ["update", *self._values(records[0])])
            if is_new:
                writer.writeheader()
            writer.writerows({"update": record.update, **self._values(record)} for record in records)

    def _summarize(self, records: list[GradientRecord]) -> None:
        with self._writer.as_default():
            for record in records:
                for name, value in self._values(record).items():
                    tf.summary.scalar(f"gradients/{name}", value, step=record.update)
        self._writer.flush()

    def _draw(self) -> None:
        from matplotlib.figure import Figure

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
        figure.savefig(self.directory / "gradient_cosines.png", dpi=120)
