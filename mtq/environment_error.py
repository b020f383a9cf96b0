"""The error by which every exception of an environment comes back."""

import contextlib
from collections.abc import Iterator
from typing import NoReturn

_LINES, _CHARACTERS = 4, 300  # of the original message


class BrokenEnvironmentError(RuntimeError):
    """An environment raised an exception. The message names the task, the exception and what it said.

    Its `__cause__` is the exception itself, with the traceback of the environment.

    Args:
        message: The message.
        original: The exception.
    """

    def __init__(self, message: str, original: BaseException | None = None) -> None:
        super().__init__(message)
        self.original = original


def raise_broken(name: str, call: str, error: BaseException) -> NoReturn:
    """Raises a `BrokenEnvironmentError` for an exception of an environment.

    Args:
        name: The task's name.
        call: The call that raised, such as `"step"`.
        error: The exception. A `KeyboardInterrupt` is raised as it is.
    """
    if isinstance(error, KeyboardInterrupt | BrokenEnvironmentError):
        raise error
    said = _text(error)
    message = f"The environment of task '{name}' raised {type(error).__name__} in {call}{': ' if said else '.'}{said}"
    raise BrokenEnvironmentError(message, error) from error


@contextlib.contextmanager
def raised_in(name: str, call: str) -> Iterator[None]:
    """Raises a `BrokenEnvironmentError` for whatever is raised inside; arguments as of `raise_broken`."""
    try:
        yield
    except BaseException as error:
        raise_broken(name, call, error)


def _text(error: BaseException) -> str:
    try:
        lines = str(error).strip().splitlines()
    except Exception:
        return "(its message could not be read)"
    shown = [line[:_CHARACTERS] for line in lines[:_LINES]]
    return "\n".join(shown + ["…"] * (len(lines) > _LINES))
