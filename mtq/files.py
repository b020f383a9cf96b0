"""Files that are whole or not there."""

import contextlib
import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import IO, Any


def write_json(path: Path, value: Any) -> None:
    """Writes JSON beside its place and renames it."""
    write_text(path, json.dumps(value, indent=2) + "\n")


def write_text(path: Path, text: str) -> None:
    """Writes text beside its place and renames it."""
    beside = path.with_name(f".{path.name}.part")
    with written(beside) as file:
        file.write(text.encode())
    os.replace(beside, path)


@contextlib.contextmanager
def written(path: Path) -> Iterator[IO[bytes]]:
    """A new file that at the end is on the disk, and not only in the memory of a machine that may lose its power."""
    with path.open("wb") as file:
        yield file
        file.flush()
        os.fsync(file.fileno())
