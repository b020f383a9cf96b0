"""The options of a run, which must be the same when it is resumed."""

import dataclasses
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from mtq.runs.replaceable import run_record
from mtq.settings.declaration import Declaration, defaults, facts, fields, other_names
from mtq.settings.run import RunOptions

Options = Mapping[str, Any] | Declaration


def _without_effect(options: Any) -> set[str]:
    names = {name for name, field in fields(options).items() if not facts(field).affects_results}
    return names | {old for old, new in other_names(options).items() if new in names}


# The options that may differ when a run is resumed, because they do not affect its results.
_NOT_OF_THE_RUN = _without_effect(RunOptions)


def as_json(options: Options) -> dict[str, Any]:
    """Converts the options of a run to the values that are read back from JSON.

    Args:
        options: The options by name, or as a dataclass.

    Raises:
        ValueError: The options are not JSON values.
    """
    options = dataclasses.asdict(options) if isinstance(options, Declaration) else options
    try:
        return json.loads(json.dumps(dict(options)))
    except (TypeError, ValueError) as error:
        raise ValueError(
            "options of a run must be JSON values, because they are written to run.json. Received: "
            f"{dict(options)!r}, which fails with: {error}. Give numbers, texts, lists and dicts."
        ) from error


def check_same_options(folder: Path, options: Options) -> None:
    """Raises a ValueError unless a run is resumed with the options that it was started with.

    Args:
        folder: The folder of the run.
        options: The options with which the run is to be resumed, by name or as a dataclass. An option of the dataclass
            that the run does not have, because it was added later, counts as having its default there.
    """
    before, after = run_record(folder)["options"], as_json(options)
    free = _NOT_OF_THE_RUN
    if isinstance(options, Declaration):
        free = free | _without_effect(options)
        renamed = other_names(options)
        before = {renamed.get(name, name): value for name, value in before.items()}
        before = {**as_json(defaults(options)), **before}
    changed = {
        name: (before.get(name), after.get(name))
        for name in [*before, *after]
        if name not in free and name in before and before[name] != after.get(name)
    }
    if changed:
        changes = ", ".join(f"{name} {old!r} → {new!r}" for name, (old, new) in changed.items())
        raise ValueError(
            "A run must be resumed with the options that it was started with. Received, for the run in "
            f"{folder}: {changes}. Give the same options, or another folder."
        )
