"""What a run's folder gives back: its best model, and the tasks that it learnt."""

import contextlib
import json
from pathlib import Path
from typing import Any

import keras

from mtq.files import write_json
from mtq.folders import check_kind
from mtq.serialized import deserialize, load_model
from mtq.tasks import TaskSet
from mtq.trust import trusting_imports


def save_tasks(tasks: TaskSet, filepath: str | Path) -> None:
    """Writes the tasks as JSON; environments that are Python objects are left out.

    Raises:
        FileExistsError: There is something at this place that holds no tasks.
    """
    check_kind(Path(filepath), "tasks", "file of tasks", lambda file: b'"TaskSet"' in file.read(2_000))
    write_json(Path(filepath), keras.saving.serialize_keras_object(tasks))


def load_tasks(filepath: str | Path, *, trust_imports: bool = False) -> TaskSet:
    """Reads what `save_tasks` wrote.

    Args:
        filepath: The file.
        trust_imports: Whether environments named as `"module:Id"` may be made, for which the module is imported. That
            runs its code: only for files whose author you trust.

    Raises:
        ValueError: The file does not hold tasks, or a field of one holds what it cannot.
    """
    try:
        config = json.loads(Path(filepath).read_text(encoding="utf-8"))
    except (ValueError, RecursionError) as error:
        raise ValueError(
            f"The file of the tasks must be JSON. Received: {str(filepath)!r}, which is none: {error}. Give the "
            "tasks.json of a run."
        ) from error
    with _trust(trust_imports):
        return deserialize("tasks", config, TaskSet)


def load_best(folder: str | Path, *, trust_imports: bool = False) -> Any:
    """Loads the best model of a run, or the last one where none was evaluated.

    Args:
        folder: Of the run.
        trust_imports: As of `load_tasks`.

    Raises:
        ValueError: The file is no model, or names what is not known.
        FileNotFoundError: There is no run, or it has not saved a model yet.
    """
    for name in ("best.keras", "last.keras"):
        if (Path(folder) / name).exists():
            with _trust(trust_imports):
                return load_model(Path(folder) / name)
    raise FileNotFoundError(
        f"There must be a run with a saved model in the folder. Received: {str(folder)!r}. "
        "Give the folder that `mtq train --out` wrote."
    )


def _trust(imports: bool) -> contextlib.AbstractContextManager[None]:
    return trusting_imports() if imports else contextlib.nullcontext()
