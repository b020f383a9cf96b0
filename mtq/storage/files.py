"""Writes files atomically, and locks them."""

import contextlib
import fcntl
import json
import os
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import IO, Any


def as_path(role: str, path: Any) -> Path:
    """Converts the path that a user gave. A leading `~` stands for the home folder, as in a shell.

    Args:
        role: The name of the argument, for the message.
        path: The value received.

    Returns:
        The path, with the home folder in place of `~`.

    Raises:
        ValueError: The value is not a string or a path, or names the home folder of an unknown user.
    """
    try:
        return Path(path).expanduser()
    except (TypeError, RuntimeError) as error:
        raise ValueError(
            f"{role} must be a path. Received: {path!r}. {str(error).removesuffix('.')}. Give a string or a Path."
        ) from error


def write_json(path: Path, value: Any) -> None:
    """Writes a value as JSON to a temporary file in the same folder, and renames that file to its final path.

    Args:
        path: The final path.
        value: The value, which `json` can write.
    """
    write_text(path, json.dumps(value, indent=2) + "\n")


def write_text(path: Path, text: str) -> None:
    """Writes a text to a temporary file in the same folder, and renames that file to its final path.

    Args:
        path: The final path.
        text: The text, written as UTF-8.
    """
    beside = path.with_name(f".{path.name}.{uuid.uuid4().hex[:8]}.part")  # random: other processes may write it too
    try:
        with written(beside) as file:
            file.write(text.encode())
        os.replace(beside, path)
    finally:
        beside.unlink(missing_ok=True)


@contextlib.contextmanager
def written(path: Path) -> Iterator[IO[bytes]]:
    """Opens a new file for writing, and flushes it to the disk at the end, so that it survives a loss of power.

    Args:
        path: The path of the file.

    Yields:
        The open file, in binary mode.
    """
    with path.open("wb") as file:
        yield file
        file.flush()
        os.fsync(file.fileno())


@contextlib.contextmanager
def locked(path: Path, *, shared: bool = False, waits: bool = False) -> Iterator[bool]:
    """Locks a file against other processes and threads, until the block ends or this process ends in any way.

    Args:
        path: The path of the file, which is created if it does not exist.
        shared: Whether others may hold the lock at the same time if they also request it as shared.
        waits: Whether to wait until the lock is free.

    Yields:
        True if this process holds the lock, False if another process or thread does.

    Raises:
        ValueError: The file system does not support locks.
    """
    mode = (fcntl.LOCK_SH if shared else fcntl.LOCK_EX) | (0 if waits else fcntl.LOCK_NB)
    with path.open("a+") as file:  # readable too, because NFS grants no shared lock otherwise
        try:
            fcntl.flock(file, mode)
        except BlockingIOError:
            yield False
            return
        except OSError as error:
            raise ValueError(
                "The folder must be on a file system that locks files, because several processes may use it. Received: "
                f"{str(path.parent)!r}, where locking failed: {error}. Choose another folder, or mount the file system "
                "with locks."
            ) from error
        yield True
