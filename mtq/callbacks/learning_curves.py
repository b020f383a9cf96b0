"""`LearningCurves`: draws the learning curves of a run."""

import math
import time
from pathlib import Path
from typing import Any

import keras
from matplotlib.figure import Figure
from matplotlib.ticker import EngFormatter

from mtq.checks import real
from mtq.storage.files import as_path
from mtq.storage.pictures import check_picture_place, save_figure
from mtq.trainer.stages import RECORDS_LOGS

_GREEDY, _TRAINING, _OTHER = "#0072b2", "#d55e00", "#777777"  # Okabe and Ito's palette for color vision deficiencies


class LearningCurves(keras.callbacks.Callback):
    """Draws each task's return over its environment steps: in training, in greedy evaluations, and at random.

    It plots what `TrainingReturns` and `EvaluateTasks` log. Epochs without an evaluation, and epochs before the first
    episode has ended, are skipped: lines connect the known values. A circle marks the epoch with the highest
    `val_score`, the last one of equals, as `BestCheckpoint` does by default. The picture is redrawn at most every
    `seconds`, and at the end.

    Args:
        filepath: The path of the PNG.
        seconds: The minimum number of seconds between two drawings of the picture.

    Raises:
        FileExistsError: The file exists and is not a PNG; an earlier picture is replaced.
    """

    mtq_stage = RECORDS_LOGS
    writes_filepath = True

    def __init__(self, filepath: str | Path, seconds: float = 30.0) -> None:
        super().__init__()
        self.filepath = as_path("filepath of LearningCurves", filepath)
        self.seconds = real("seconds of LearningCurves", seconds, least=0)
        self.rows: list[dict[str, float]] = []
        self._drawn = time.monotonic()
        check_picture_place(self.filepath)

    def on_epoch_end(self, epoch: int, logs: dict[str, Any] | None = None) -> None:
        """Stores the logs of the epoch, and redraws the picture if it is due."""
        self.rows.append({"epoch": epoch + 1, **(logs or {})})
        if time.monotonic() - self._drawn > self.seconds:
            self.draw()

    def on_train_end(self, logs: dict[str, Any] | None = None) -> None:
        """Draws the picture of the whole run."""
        if self.rows:
            self.draw()

    def draw(self) -> None:
        """Draws and writes the picture."""
        tasks = self.model.tasks
        columns = min(len(tasks), 3)
        lines = math.ceil(len(tasks) / columns)
        figure = Figure(figsize=(4.6 * columns, 3.4 * lines), layout="constrained")
        axes = figure.subplots(lines, columns, squeeze=False).flatten()
        for axis in axes[len(tasks) :]:
            axis.set_visible(False)
        for axis, task in zip(axes, tasks.values(), strict=False):
            self._draw_task(axis, task.name, task.reference_return)
        figure.legend(*_distinct(axes), loc="outside lower center", ncols=2 * columns - 1, fontsize=9, frameon=False)
        save_figure(figure, self.filepath)
        self._drawn = time.monotonic()

    def _known(self, *names: str) -> list[dict[str, float]]:
        """Returns the rows in which none of these quantities is missing or NaN."""
        return [row for row in self.rows if all(not math.isnan(row.get(name, math.nan)) for name in names)]

    def _draw_task(self, axis: Any, name: str, reference: float | None) -> None:
        steps_known = f"{name}/env_steps" in self.rows[-1]
        place = f"{name}/env_steps" if steps_known else "epoch"
        train = [(row[place], row[f"{name}/return"]) for row in self._known(place, f"{name}/return")]
        evaluated = self._known(place, f"val_{name}/return")
        if train:
            axis.plot(*zip(*train, strict=True), color=_TRAINING, alpha=0.7, lw=1.2, label="training, exploring")
        if evaluated:
            x = [row[place] for row in evaluated]
            mean = [row[f"val_{name}/return"] for row in evaluated]
            std = [row[f"val_{name}/return_std"] for row in evaluated]
            low, high = zip(*((m - s, m + s) for m, s in zip(mean, std, strict=True)), strict=True)
            axis.fill_between(x, low, high, color=_GREEDY, alpha=0.15, lw=0)
            axis.plot(x, mean, color=_GREEDY, lw=2, marker="o", ms=3, label="greedy, ± SD of episodes")
            scored = [row for row in evaluated if not math.isnan(row.get("val_score", math.nan))]
            if scored:
                best = max(reversed(scored), key=lambda row: row["val_score"])
                at = best[place], best[f"val_{name}/return"]
                axis.plot(*at, "o", color=_GREEDY, mfc="none", ms=10, mew=1.5, label="highest val_score")
            random = evaluated[-1][f"val_{name}/return_random"]
            axis.axhline(random, color=_OTHER, ls=":", lw=1.2, label="random policy")
        if reference is not None:
            axis.axhline(reference, color=_OTHER, ls="--", lw=1, label="reference")
        axis.set_title(name, fontsize=11)
        axis.set_xlabel("steps of the task's environments" if steps_known else "epoch")
        axis.set_ylabel("return per episode")
        axis.xaxis.set_major_formatter(EngFormatter(sep=""))
        axis.spines[["top", "right"]].set_visible(False)


def _distinct(axes: Any) -> tuple[list[Any], list[str]]:
    """Returns the handles and labels of a common legend of several axes, each label once."""
    entries: dict[str, Any] = {}
    for axis in axes:
        for handle, label in zip(*axis.get_legend_handles_labels(), strict=True):
            entries.setdefault(label, handle)
    return list(entries.values()), list(entries)
