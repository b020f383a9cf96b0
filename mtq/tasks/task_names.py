"""Checks the names of tasks, which also name layers of the network, logs and signatures of the export."""

import collections
import keyword
import re
from collections.abc import Collection, Sequence
from typing import Any

_NAME = re.compile(r"[A-Za-z][A-Za-z0-9_]*")
_VALIDATION_PREFIX = "val_"  # the prefix by which Keras's callbacks recognize evaluation logs
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
MASKED_SUFFIX = "_masked"
"""The suffix of the signature that takes a task's observations with masks of legal actions."""

_SUFFIXES = {
    "_encoder": "a layer",
    "_scaling": "a layer",
    "_layout": "a layer",
    "_q_values": "a layer and an output of the export",
    "_action": "an output of the export",
}
_OF_MASKED = {MASKED_SUFFIX: "a signature of the export"}


def check_task_name(name: Any) -> None:
    """Raises a ValueError unless a task can be trained, logged, saved and exported under a name.

    Args:
        name: The name to check.
    """
    if not isinstance(name, str) or not _NAME.fullmatch(name):
        raise ValueError(
            f"The name of a task must be a letter followed by letters, digits and underscores. Received: {name!r}. "
            "Choose another name, such as 'cart_pole'."
        )
    if keyword.iskeyword(name):
        why = "is a Python keyword and cannot name an argument of the export's signature"
    elif name in _RESERVED:
        why = f"already names {_RESERVED[name]}"
    elif name.startswith(_VALIDATION_PREFIX):
        task = name.removeprefix(_VALIDATION_PREFIX) or "…"
        why = f"begins with the prefix of evaluation logs: those of task '{task}' are named '{name}/return'"
    else:
        return
    raise ValueError(
        f"The name of a task must be free for its logs and its export. Received: {name!r}, which {why}. "
        f"Choose another name, such as 'task_{name}'."
    )


def check_names_together(names: Sequence[str], masked: Collection[str] = ()) -> None:
    """Raises a ValueError if two names of tasks collide in the network, its logs or its export.

    Args:
        names: The names of all tasks of one model, each valid by itself.
        masked: The names of those that have masks of legal actions.
    """
    repeated = [name for name, count in collections.Counter(names).items() if count > 1]
    if repeated:
        raise ValueError(
            f"Each task of a TaskSet must have a different name. Received: {list(names)}, "
            f"with '{repeated[0]}' more than once. Rename one of them."
        )
    by_lower_case = dict[str, str]()
    for name in names:
        other = by_lower_case.setdefault(name.lower(), name)
        if other != name:
            raise ValueError(
                f"The names of tasks must differ by more than upper and lower case. Received: {list(names)}, where "
                f"'{other}' and '{name}' would be the same input of the export. Rename one of them."
            )
    for name in names:
        for suffix, what in (_SUFFIXES | (_OF_MASKED if name in masked else {})).items():
            if (name + suffix).lower() in by_lower_case:
                raise ValueError(
                    f"The names of tasks must differ from those of layers and outputs. Received: {list(names)}, "
                    f"where '{name}{suffix}' is also the name of {what} of '{name}'. Rename one of them."
                )
