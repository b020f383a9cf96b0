"""Checks of the names of tasks, each of which also names a layer, logs and a signature of the export."""

import collections
import keyword
import re
from collections.abc import Sequence
from typing import Any

_NAME = re.compile(r"[A-Za-z][A-Za-z0-9_]*")
_OF_VALIDATION = "val_"  # the prefix of evaluation logs, by which Keras's callbacks recognize them
_RESERVED = {
    "backbone": "a layer of the network",
    "serving_default": "a signature of the export",
    "self": "an argument of every signature",
    "signatures": "an attribute of a SavedModel",
    "variables": "an attribute of a SavedModel",
    "trainable_variables": "an attribute of a SavedModel",
    "non_trainable_variables": "an attribute of a SavedModel",
    "graph_debug_info": "an attribute of a SavedModel",
    "tensorflow_version": "an attribute of a SavedModel",
    "tensorflow_git_version": "an attribute of a SavedModel",
}
_SUFFIXES = {
    "_encoder": "a layer",
    "_scaling": "a layer",
    "_layout": "a layer",
    "_q_values": "a layer and an output of the export",
    "_action": "an output of the export",
}


def check_task_name(name: Any) -> None:
    """Raises a ValueError unless a task can be trained, logged, saved and exported under this name.

    Args:
        name: The name of a task.
    """
    if not isinstance(name, str) or not _NAME.fullmatch(name):
        raise ValueError(
            f"The name of a task must be a letter followed by letters, digits and underscores. Received: {name!r}."
        )
    if keyword.iskeyword(name):
        why = "is a keyword of Python, and cannot name an argument of the export's signature"
    elif name in _RESERVED:
        why = f"already names {_RESERVED[name]}"
    elif name.startswith(_OF_VALIDATION):
        task = name.removeprefix(_OF_VALIDATION) or "…"
        why = f"begins like the logs of evaluations: those of task '{task}' are named '{name}/return'"
    else:
        return
    raise ValueError(
        f"The name of a task must be free for its logs and its export. Received: {name!r}, which {why}. "
        f"Choose another one, such as 'task_{name}'."
    )


def check_names_together(names: Sequence[str]) -> None:
    """Raises a ValueError if one name would stand for two things in the network, its logs or its export.

    Args:
        names: The names of all tasks of one model, each valid by itself.
    """
    repeated = [name for name, count in collections.Counter(names).items() if count > 1]
    if repeated:
        raise ValueError(
            f"Each task of a TaskSet must have a name of its own. Received: {list(names)}, "
            f"with '{repeated[0]}' more than once. Rename one of them."
        )
    spelt = dict[str, str]()
    for name in names:
        other = spelt.setdefault(name.lower(), name)
        if other != name:
            raise ValueError(
                f"The names of tasks must differ by more than upper and lower case. Received: {list(names)}, where "
                f"'{other}' and '{name}' would be one input of the export. Rename one of them."
            )
    for name in names:
        for suffix, what in _SUFFIXES.items():
            if (name + suffix).lower() in spelt:
                raise ValueError(
                    f"The names of tasks must not meet those of their layers and outputs. Received: {list(names)}, "
                    f"where '{name}{suffix}' is also the name of {what} of '{name}'. Rename one of them."
                )
