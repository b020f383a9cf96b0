"""Replaces files and folders atomically, and deletes folders only if mtq wrote everything in them."""

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

_AT_FDCWD, _RENAME_EXCHANGE = -100, 2  # Linux's constants for renameat2
_UNSUPPORTED = (errno.ENOSYS, errno.EINVAL, errno.ENOTSUP)  # the kernel or the file system cannot exchange paths


@contextlib.contextmanager
def beside(place: Path) -> Iterator[Path]:
    """Yields an unused path in the same folder, to write to before renaming, as a context manager.

    A file or folder that is still at that path when the context ends is removed.

    Args:
        place: The final path of the file or folder.

    Yields:
        The temporary path, which does not exist yet.
    """
    path = place.with_name(f".{place.name}.{uuid.uuid4().hex[:12]}.part{place.suffix}")
    try:
        yield path
    finally:
        remove(path)


def remove(path: Path) -> None:
    """Removes a file or a folder, if it exists. Links are removed, not followed."""
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path, ignore_errors=True)
    else:
        path.unlink(missing_ok=True)


def check_kind(path: Path, role: str, kind: str, is_of_it: Callable[[IO[bytes]], bool]) -> None:
    """Raises a FileExistsError unless a path is free, or holds an empty file or a file of the kind to be written.

    Args:
        path: The path to be written.
        role: The role of the new file, such as `"model"`, for the message.
        kind: The kind of file that may be replaced, such as `".keras file"`, for the message.
        is_of_it: The function that returns whether an open file is of that kind.

    Raises:
        FileExistsError: The path holds a file of another kind, or something other than a file.
    """
    if not path.exists():
        return
    if path.is_file():
        with path.open("rb") as file:
            if is_of_it(file) or not path.stat().st_size:
                return
    raise FileExistsError(
        f"The {role} must be written to a new path, or over a {kind}. Received: {str(path)!r}, which is something "
        "else. Choose another path."
    )


def check_folder_place(path: Path, role: str) -> None:
    """Raises an error unless a path is a folder, or a folder can be created there.

    Args:
        path: The path of the folder.
        role: The role of the folder, such as `"folder of a run"`, for the message.

    Raises:
        ValueError: The path is a remote address, which would be taken for a local folder of that name.
        FileExistsError: The path, or one of its parents, is a file.
    """
    if re.match(r"[A-Za-z][A-Za-z0-9+.-]*:/", str(path)):
        raise ValueError(
            f"The {role} must be a folder of this machine. Received: {str(path)!r}. Write to a local folder and copy "
            "it from there, or mount the remote folder."
        )
    for place in (path, *path.parents):
        if place.exists():
            if place.is_dir():
                return
            raise FileExistsError(
                f"The {role} must be a folder, new or existing. Received: {str(path)!r}, where {str(place)!r} is a "
                "file. Choose another path."
            )


def stranger(folder: Path, is_ours: Callable[[str], bool]) -> str | None:
    """Finds an entry of a folder, at any depth, that mtq did not write.

    Args:
        folder: The folder.
        is_ours: The function that returns whether mtq writes a path. Its argument is relative to the folder, with
            slashes; the paths of folders end with a slash. Links never count as written by mtq.

    Returns:
        The relative path of the first such entry, or None if mtq wrote all entries.
    """
    for parent, folders, files in os.walk(folder):
        for name in [*folders, *files]:
            path = Path(parent, name)
            relative = path.relative_to(folder).as_posix()
            entry = f"{relative}/" if path.is_dir() else relative
            if path.is_symlink() or not (path.is_dir() or path.is_file()) or not is_ours(entry):
                return relative
    return None


def remove_ours(folder: Path, is_ours: Callable[[str], bool]) -> bool:
    """Removes a folder if mtq wrote everything in it.

    Args:
        folder: The folder. A link or a file is not removed.
        is_ours: The function that returns whether mtq writes a path, as for `stranger`.

    Returns:
        Whether the path is free afterwards.
    """
    if folder.is_dir() and not folder.is_symlink() and stranger(folder, is_ours) is None:
        shutil.rmtree(folder, ignore_errors=True)
    return not (folder.exists() or folder.is_symlink())


def matches(*patterns: str) -> Callable[[str], bool]:
    """Returns a function that checks whether an entire string matches one of several regular expressions.

    Args:
        patterns: The regular expressions.

    Returns:
        A function from a string to a bool.
    """
    pattern = re.compile("|".join(f"(?:{alternative})" for alternative in patterns))
    return lambda text: pattern.fullmatch(text) is not None


def put_in_place(new: Path, place: Path, check: Callable[[Path], None]) -> None:
    """Renames a folder to its final path. A folder that exists there is exchanged with it, then deleted.

    Args:
        new: The new folder, on the same file system.
        place: The final path.
        check: The function that raises an OSError if the folder at a path may not be deleted.

    Raises:
        OSError: The folder at the final path may not be deleted, or the rename failed. The final path is then
            unchanged.
    """
    check(place)
    if not place.exists():
        os.rename(new, place)
        return
    if not exchange(new, place):
        _exchange_by_three(new, place)
    try:
        check(new)  # now the old folder, to which another process may have added something in the meantime
    except OSError:
        if not exchange(new, place):
            _exchange_by_three(new, place)
        raise
    shutil.rmtree(new, ignore_errors=True)


def _exchange_by_three(one: Path, other: Path) -> None:
    """Exchanges two paths in three renames. The second path does not exist between them."""
    aside = other.with_name(f".{other.name}.{uuid.uuid4().hex[:12]}.aside")
    os.rename(other, aside)
    try:
        os.rename(one, other)
    except OSError:
        os.rename(aside, other)
        raise
    os.rename(aside, one)


def exchange(one: Path, other: Path) -> bool:
    """Exchanges the files or folders at two paths atomically.

    Args:
        one: The first path.
        other: The second path.

    Returns:
        True if the paths were exchanged, False if the operating system or the file system does not support it.

    Raises:
        OSError: The paths cannot be exchanged for another reason.
    """
    call = getattr(ctypes.CDLL(None, use_errno=True), "renameat2", None)
    if call is None:
        return False
    if not call(_AT_FDCWD, os.fsencode(one), _AT_FDCWD, os.fsencode(other), _RENAME_EXCHANGE):
        return True
    number = ctypes.get_errno()
    if number in _UNSUPPORTED:
        return False
    raise OSError(number, os.strerror(number), str(one), None, str(other))
