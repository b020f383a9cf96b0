"""The options of a run, which must be the same when it is resumed."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from mtq.runs.replaceable import run_record

# The options that may differ when a run is resumed, because they do not affect its results.
_NOT_OF_THE_RUN = {
    "out",
    "export_to",
    "overwrite",
    "resume",
    "strategy",
    "devices",
    "tpu",
    "startup_timeout",
    "seconds_to_meet",  # the former name of startup_timeout, in the run.json of older runs
    "checkpoint_every",
}


def as_json(options: Mapping[str, Any]) -> dict[str, Any]:
    """Converts the options of a run to the values that are read back from JSON.

    Args:
        options: The options by name.

    Raises:
        ValueError: The options are not JSON values.
    """
    try:
        return json.loads(json.dumps(dict(options)))
    except (TypeError, ValueError) as error:
        raise ValueError(
            "options of a run must be JSON values, because they are written to run.json. Received: "
            f"{dict(options)!r}, which fails with: {error}. Give numbers, texts, lists and dicts."
        ) from error


def check_same_options(folder: Path, options: Mapping[str, Any]) -> None:
    """Raises a ValueError unless a run is resumed with the options that it was started with.

    Args:
        folder: The folder of the run.
        options: The options with which the run is to be resumed, by name.
    """
    before, after = run_record(folder)["options"], as_json(options)
    changed = {
        name: (before.get(name), after.get(name))
        for name in [*before, *after]
        if name not in _NOT_OF_THE_RUN and name in before and before[name] != after.get(name)
    }
    if changed:
        changes = ", ".join(f"{name} {old!r} → {new!r}" for name, (old, new) in changed.items())
        raise ValueError(
            "A run must be resumed with the options that it was started with. Received, for the run in "
            f"{folder}: {changes}. Give the same options, or another folder."
        )
