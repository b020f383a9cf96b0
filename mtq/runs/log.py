"""The log of a run, `log.csv`, which has a row for each epoch."""

import csv
import math
from pathlib import Path

from mtq.storage.files import write_text


def read_log(path: Path) -> list[dict[str, float]]:
    """Reads the rows of a log, one per epoch, as numbers; empty fields and Keras's "NA" become NaN.

    Args:
        path: The path of the log. If it does not exist, there are no rows.
    """
    if not path.exists():
        return []
    with path.open(newline="") as file:
        rows = csv.DictReader(file)
        return [{**{k: _number(v) for k, v in row.items()}, "epoch": n} for n, row in enumerate(rows, 1)]


def cut_log(path: Path, epochs: int) -> None:
    """Removes the rows that were logged after a checkpoint.

    Args:
        path: The path of the log.
        epochs: The number of epochs in the checkpoint, whose rows are kept.
    """
    if path.exists():
        write_text(path, "".join(path.read_text().splitlines(keepends=True)[: epochs + 1 if epochs else 0]))


def _number(field: str | None) -> float:
    return math.nan if field in (None, "", "NA") else float(field)
