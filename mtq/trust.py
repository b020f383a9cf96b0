"""What a file names is looked up and never imported, unless the user says that it may be."""

import contextlib
import contextvars
from collections.abc import Iterator

_TRUSTING = contextvars.ContextVar("mtq_trusting_imports", default=False)


class NamedInFile(str):
    """The id of an environment that a file names, not the user's own code.

    It stays marked when a task is copied, pickled, changed by `dataclasses.replace`, or given to another task.
    """

    __slots__ = ()


@contextlib.contextmanager
def trusting_imports() -> Iterator[None]:
    """Lets files name environments as `"module:Id"`, whose module is imported when the environment is made.

    To be used around loading, or around what makes the environments. Importing a module runs its code: use it only for
    files whose author you trust as you trust a program.

    Example:
        ```python
        with mtq.spaces.trusting_imports():
            model = keras.models.load_model("runs/mine/best.keras")
        ```
    """
    before = _TRUSTING.set(True)
    try:
        yield
    finally:
        _TRUSTING.reset(before)


def named_in_file(environment: str) -> str:
    """Marks an id that was read from a file, unless imports are trusted."""
    return str(environment) if _TRUSTING.get() else NamedInFile(environment)


def check_import(name: str, environment: str) -> None:
    """Refuses an environment of a file for which a module would have to be imported.

    Args:
        name: The task's name, for the message.
        environment: The id of its environment.

    Raises:
        ValueError: The id is from a file, names a module, and imports are not trusted.
    """
    if isinstance(environment, NamedInFile) and ":" in environment and not _TRUSTING.get():
        raise ValueError(
            f"The environment of task '{name}' must be a registered id, for it was read from a file. Received: "
            f"{str(environment)!r}, for which a module would be imported, which runs its code. If you trust the file, "
            "load it within `with mtq.spaces.trusting_imports():` (--trust-imports); or pass tasks= of your own."
        )
