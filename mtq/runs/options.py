"""The options that a run was started with, which it must go on with."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from mtq.runs.replaceable import run_record

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
    """Converts the options of a run to what is read back from JSON.

    Args:
        options: The options by name.

    Raises:
        ValueError: They are not JSON values.
    """
    try:
        return json.loads(json.dumps(dict(options)))
    except (TypeError, ValueError) as error:
        raise ValueError(
            f"options of a run must be JSON values, for they are written to run.json. Received: {dict(options)!r}, of "
            f"which Python says: {error}. Give numbers, texts, lists and dicts."
        ) from error


def check_same_options(folder: Path, options: Mapping[str, Any]) -> None:
    """Raises a ValueError unless a run is to go on with the options that it was started with.

    Args:
        folder: The folder of the run.
        options: The options with which it is to go on, by name.
    """
    before, now = run_record(folder)["options"], as_json(options)
    other = {
        name: (before.get(name), now.get(name))
        for name in [*before, *now]
        if name not in _NOT_OF_THE_RUN and name in before and before[name] != now.get(name)
    }
    if other:
        said = ", ".join(f"{name} {was!r} → {is_now!r}" for name, (was, is_now) in other.items())
        raise ValueError(
            f"A run must go on with the options that it was started with. Received in {folder}: {said}. "
            "Give the same ones, or another folder."
        )
