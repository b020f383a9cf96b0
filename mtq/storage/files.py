"""Files that are whole or not there."""

import contextlib
import fcntl
import json
import os
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import IO, Any


def as_path(role: str, path: Any) -> Path:
    """Converts what a user gave as a path. A leading `~` is the home folder, as in a shell.

    Args:
        role: The name of the argument, for the message.
        path: The value received.

    Raises:
        ValueError: The value is not a string or a path, or names the home folder of an unknown user.
    """
    try:
        return Path(path).expanduser()
    except (TypeError, RuntimeError) as error:
        raise ValueError(f"{role} must be a path. Received: {path!r}. {str(error).removesuffix('.')}.") from error


def write_json(path: Path, value: Any) -> None:
    """Writes JSON beside its place and renames it."""
    write_text(path, json.dumps(value, indent=2) + "\n")


def write_text(path: Path, text: str) -> None:
    """Writes text beside its place and renames it."""
    beside = path.with_name(f".{path.name}.{uuid.uuid4().hex[:8]}.part")  # for another process may write it too
    try:
        with written(beside) as file:
            file.write(text.encode())
        os.replace(beside, path)
    finally:
        beside.unlink(missing_ok=True)


@contextlib.contextmanager
def written(path: Path) -> Iterator[IO[bytes]]:
    """A new file that at the end is on the disk, and not only in the memory of a machine that may lose its power."""
    with path.open("wb") as file:
        yield file
        file.flush()
        os.fsync(file.fileno())


@contextlib.contextmanager
def locked(path: Path, *, shared: bool = False, waits: bool = False) -> Iterator[bool]:
    """Holds a file, made if need be, against other processes and threads, until this process ends in whatever way.

    Args:
        path: The file.
        shared: Whether others may hold it at once, if they say so too.
        waits: Whether to wait for the others.

    Yields:
        Whether it is held; False where another one holds it.

    Raises:
        ValueError: The file system has no locks.
    """
    how = (fcntl.LOCK_SH if shared else fcntl.LOCK_EX) | (0 if waits else fcntl.LOCK_NB)
    with path.open("a+") as file:  # to be read too, or NFS does not share it
        try:
            fcntl.flock(file, how)
        except BlockingIOError:
            yield False
            return
        except OSError as error:
            raise ValueError(
                f"The folder must be on a file system that locks files, for several processes may use it. Received: "
                f"{str(path.parent)!r}, of which the system says: {error}. Choose another, or mount it with locks."
            ) from error
        yield True
