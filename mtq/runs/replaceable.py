"""Checks of which files in a folder belong to a run, so that another run may replace them."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from mtq.runs.checkpoint import OF_CHECKPOINTS
from mtq.storage.folders import matches, stranger

_OF_RUNS = {
    "checkpoint": matches(*OF_CHECKPOINTS),
    "tensorboard": matches(
        r".*/",
        r"(.*/)?events\.out\.tfevents\.[^/]*",
        r"[a-z]+/plugins/.*",
        r"(.*/)?gradient(s\.csv|_cosines\.png)",
    ),
}


def run_record(folder: Path) -> dict[str, Any]:
    """Reads the `run.json` of a run.

    Args:
        folder: The folder of the run.

    Returns:
        The content of the file.

    Raises:
        ValueError: The file does not exist, or mtq did not write it.
    """
    cause: Exception | None = None
    try:
        record = json.loads((folder / "run.json").read_text(encoding="utf-8"))
        if isinstance(record, dict) and isinstance(record.get("options"), dict) and "versions" in record:
            return record
        reason = "which another program wrote"
    except FileNotFoundError as error:
        cause, reason = error, "which does not exist"
    except (OSError, ValueError, RecursionError) as error:
        cause, reason = error, f"which cannot be read: {type(error).__name__}: {error}"
    raise ValueError(
        f"The folder of a run must have the run.json that mtq wrote. Received: {str(folder / 'run.json')!r}, {reason}. "
        "Choose another folder."
    ) from cause


def check_replaceable(folder: Path, present: Sequence[Path]) -> None:
    """Raises an error unless the files that a new run would replace were written by a run.

    Args:
        folder: The folder of the run.
        present: The files and folders in it that are to be removed.

    Raises:
        FileExistsError: Some of them were not written by a run.
    """
    try:
        run_record(folder)
    except ValueError as error:
        raise FileExistsError(
            f"A folder must contain only the files of a run to be replaced. Received: {str(folder)!r}, which has "
            f"{present[0].name} but no run.json that mtq wrote. Choose another folder, or move these files."
        ) from error
    for path in present:
        is_ours = _OF_RUNS.get(path.name)
        foreign: str | None = None
        if path.is_symlink() or path.is_dir() is (is_ours is None):
            foreign = path.name
        elif is_ours is not None:
            within = stranger(path, is_ours)
            foreign = within and f"{path.name}/{within}"
        if foreign is not None:
            raise FileExistsError(
                f"A folder must contain only the files of a run to be replaced. Received: {str(folder)!r}, in which "
                f"mtq did not write {foreign}. Choose another folder, or move that file."
            )
