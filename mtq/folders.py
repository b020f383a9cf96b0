"""Folders that are replaced as a whole, and deleted only if all in them is known to be ours."""

import contextlib
import ctypes
import errno
import os
import re
import shutil
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import IO

_AT_FDCWD, _RENAME_EXCHANGE = -100, 2  # of Linux
_NOT_THERE = (errno.ENOSYS, errno.EINVAL, errno.ENOTSUP)  # a kernel or a file system that cannot exchange


@contextlib.contextmanager
def beside(place: Path) -> Iterator[Path]:
    """A name beside a place that nothing else has, for what is to be renamed to it; removed if that did not come about.

    Args:
        place: The file or folder to be written.
    """
    path = place.with_name(f".{place.name}.{uuid.uuid4().hex[:12]}.part{place.suffix}")
    try:
        yield path
    finally:
        remove(path)


def remove(path: Path) -> None:
    """Removes a file or a folder of our own, if it is there."""
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path, ignore_errors=True)
    else:
        path.unlink(missing_ok=True)


def check_kind(path: Path, role: str, kind: str, is_of_it: Callable[[IO[bytes]], bool]) -> None:
    """Checks that a file which is to be replaced is of the kind of what replaces it.

    Args:
        path: Its place, where there may be nothing.
        role: What is to be written, for the message.
        kind: Of which kind it is, for the message.
        is_of_it: Says so of an open file.

    Raises:
        FileExistsError: It is of another kind, or no file.
    """
    if not path.exists():
        return
    if path.is_file():
        with path.open("rb") as file:
            if is_of_it(file) or not path.stat().st_size:
                return
    raise FileExistsError(
        f"The {role} must be written to a new place, or over a {kind}. Received: {str(path)!r}, which is something "
        "else. Choose another place."
    )


def stranger(folder: Path, is_ours: Callable[[str], bool]) -> str | None:
    """What of a folder's content is not ours, anywhere in it; None if all is.

    Args:
        folder: A folder.
        is_ours: Says so of a path within the folder, with slashes; those of folders end with one. Links are never ours.
    """
    for parent, folders, files in os.walk(folder):
        for name in [*folders, *files]:
            path = Path(parent, name)
            within = path.relative_to(folder).as_posix()
            told = f"{within}/" if path.is_dir() else within
            if path.is_symlink() or not (path.is_dir() or path.is_file()) or not is_ours(told):
                return within
    return None


def matches(*patterns: str) -> Callable[[str], bool]:
    """Says of a text whether it is, from its beginning to its end, of one of some regular expressions."""
    found = re.compile("|".join(f"(?:{pattern})" for pattern in patterns))
    return lambda text: found.fullmatch(text) is not None


def put_in_place(new: Path, place: Path, check: Callable[[Path], None]) -> None:
    """Renames a folder to its place. One that is there is replaced in the same moment, and deleted after.

    Args:
        new: The folder, beside its place.
        place: Where it is to be.
        check: Raises an OSError if what lies at a path may not be deleted.

    Raises:
        OSError: It may not be deleted, or cannot be renamed; all is then as it was.
    """
    check(place)
    if not place.exists():
        os.rename(new, place)
        return
    if not exchange(new, place):
        _exchange_by_three(new, place)
    try:
        check(new)  # now the old one, to which something may have come meanwhile
    except OSError:
        if not exchange(new, place):
            _exchange_by_three(new, place)
        raise
    shutil.rmtree(new, ignore_errors=True)


def _exchange_by_three(one: Path, other: Path) -> None:
    """For systems that cannot do it in a single step: for a moment there is nothing at the second path."""
    aside = other.with_name(f".{other.name}.{uuid.uuid4().hex[:12]}.aside")
    os.rename(other, aside)
    try:
        os.rename(one, other)
    except OSError:
        os.rename(aside, other)
        raise
    os.rename(aside, one)


def exchange(one: Path, other: Path) -> bool:
    """Gives two paths each other's content in a single step.

    Returns:
        False where the system cannot.

    Raises:
        OSError: They cannot be exchanged for another reason.
    """
    call = getattr(ctypes.CDLL(None, use_errno=True), "renameat2", None)
    if call is None:
        return False
    if not call(_AT_FDCWD, os.fsencode(one), _AT_FDCWD, os.fsencode(other), _RENAME_EXCHANGE):
        return True
    number = ctypes.get_errno()
    if number in _NOT_THERE:
        return False
    raise OSError(number, os.strerror(number), str(one), None, str(other))
