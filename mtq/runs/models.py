"""The best model of a run and its tasks, saved to and loaded from the run's folder."""

import contextlib
import dataclasses
import json
from pathlib import Path
from typing import Any

import keras

from mtq.checks import flag
from mtq.learning.model import MultiTaskDQN
from mtq.storage.deserialization import deserialize, load_model
from mtq.storage.files import as_path, write_json
from mtq.storage.folders import check_kind
from mtq.storage.trust import trusting_imports
from mtq.tasks.task import TaskSet


def save_tasks(tasks: TaskSet, filepath: str | Path) -> None:
    """Writes the tasks as JSON; environments that are Python objects are left out.

    Args:
        tasks: The tasks.
        filepath: The file to write; a file of tasks that is already there is replaced.

    Raises:
        FileExistsError: The file exists and holds something other than tasks.
    """
    check_kind(Path(filepath), "tasks", "file of tasks", lambda file: b'"TaskSet"' in file.read(2_000))
    write_json(Path(filepath), keras.saving.serialize_keras_object(tasks))


def load_tasks(filepath: str | Path, *, trust_imports: bool = False) -> TaskSet:
    """Reads the tasks that `save_tasks` wrote.

    Args:
        filepath: The file to read.
        trust_imports: Whether environments named `"module:Id"` may be created. Creating one imports the module, which
            runs its code: set this only for files whose author you trust.

    Returns:
        The tasks.

    Raises:
        ValueError: The file does not hold tasks, or a field of a task is invalid.
    """
    try:
        config = json.loads(Path(filepath).read_text(encoding="utf-8"))
    except (ValueError, RecursionError) as error:
        raise ValueError(
            f"The file of the tasks must be JSON. Received: {str(filepath)!r}, which is not JSON: {error}. Give the "
            "tasks.json of a run."
        ) from error
    with _trust(trust_imports):
        return deserialize("tasks", config, TaskSet)


def check_same_tasks(filepath: Path, tasks: TaskSet) -> None:
    """Raises a ValueError unless the environments of a resumed run are those that it was started with.

    Args:
        filepath: The `tasks.json` of the run.
        tasks: The tasks with which it is resumed.
    """
    fields = (
        "environment",
        "env_kwargs",
        "frame_stack",
        "max_episode_steps",
        "reward_clip",
        "reward_scale",
        "discount",
    )
    for before in load_tasks(filepath).values():
        after = tasks.get(before.name, before)  # tasks of other names are refused with the checkpoint
        if before.spec.has_action_mask != after.spec.has_action_mask:
            raise ValueError(
                "A run must be resumed with the masks of legal actions that it was started with. Received, for the run "
                f"in {filepath.parent}: has_action_mask of task '{before.name}' {before.spec.has_action_mask} → "
                f"{after.spec.has_action_mask}. Pass action_mask={before.spec.has_action_mask} to mtq.Task."
            )
        for field in fields:
            old, new = getattr(before, field), getattr(after, field)
            if old != new and not (field == "environment" and old is None):  # a Python object, which a file cannot hold
                raise ValueError(
                    f"A run must be resumed with the tasks that it was started with. Received, for the run in "
                    f"{filepath.parent}: {field} of task '{before.name}' {old!r} → {new!r}. Give the same tasks, or "
                    "another folder."
                )


def with_masks_of_run(tasks: TaskSet, folder: str | Path) -> TaskSet:
    """Returns tasks without masks of legal actions where a run was started without, by an earlier version of mtq.

    Args:
        tasks: The tasks with which the run is resumed.
        folder: The folder of the run, which need not exist.
    """
    file = as_path("folder of a run", folder) / "tasks.json"
    if not file.exists():
        return tasks
    before = load_tasks(file)
    without = {name for name in tasks if name in before and not before[name].spec.has_action_mask}
    return TaskSet(
        dataclasses.replace(task, action_mask=False) if name in without and task.spec.has_action_mask else task
        for name, task in tasks.items()
    )


def load_best(folder: str | Path, *, trust_imports: bool = False) -> Any:
    """Loads the best model of a run, or the last one if no model was evaluated.

    Args:
        folder: The folder of the run.
        trust_imports: Whether modules named in the file may be imported; see `load_tasks`.

    Returns:
        The `MultiTaskDQN`.

    Raises:
        ValueError: The file is not a saved model, or names unknown classes.
        FileNotFoundError: The folder holds no run, or the run has not saved a model yet.
    """
    place = as_path("folder of a run", folder)
    for name in ("best.keras", "last.keras"):
        if (place / name).exists():
            with _trust(trust_imports):
                model = load_model(place / name)
            if not isinstance(model, MultiTaskDQN):
                raise ValueError(
                    f"The model of a run must be a MultiTaskDQN. Received: {str(place / name)!r}, which holds a "
                    f"{type(model).__name__}. Give the folder that `mtq train --out` wrote."
                )
            return model
    raise FileNotFoundError(
        f"The folder of a run must hold a saved model. Received: {str(folder)!r}, which has no best.keras or "
        "last.keras. Give the folder that `mtq train --out` wrote."
    )


def _trust(imports: bool) -> contextlib.AbstractContextManager[None]:
    return trusting_imports() if flag("trust_imports", imports) else contextlib.nullcontext()
