"""What a run's folder gives back: its best model, and the tasks that it learnt."""

import json
from pathlib import Path
from typing import Any

import keras

from mtq.files import write_json
from mtq.tasks import TaskSet


def save_tasks(tasks: TaskSet, filepath: str | Path) -> None:
    """Writes the tasks as JSON; environments that are Python objects are left out."""
    write_json(Path(filepath), keras.saving.serialize_keras_object(tasks))


def load_tasks(filepath: str | Path) -> TaskSet:
    """Reads what `save_tasks` wrote."""
    return keras.saving.deserialize_keras_object(json.loads(Path(filepath).read_text()))


def load_best(folder: str | Path) -> Any:
    """Loads the best model of a run, or the last one where none was evaluated.

    Args:
        folder: Of the run.

    Raises:
        FileNotFoundError: There is no run, or it has not saved a model yet.
    """
    for name in ("best.keras", "last.keras"):
        if (Path(folder) / name).exists():
            return keras.models.load_model(Path(folder) / name)
    raise FileNotFoundError(
        f"There must be a run with a saved model in the folder. Received: {str(folder)!r}. "
        "Give the folder that `mtq train --out` wrote."
    )
