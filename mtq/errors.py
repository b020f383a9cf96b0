"""The errors of mtq, in a module without TensorFlow, so that the command line can import it at once."""

from typing import Any, NoReturn

_LINES, _CHARACTERS = 4, 300  # of the original message, at most: lines, and characters per line


class NonFiniteLossError(ArithmeticError):
    """A loss, gradient norm or weight became NaN or infinite. The message names the quantity and its task."""


class WorkerLostError(RuntimeError):
    """Another process of the run died, or could not be reached."""


class StudyError(RuntimeError):
    """Some runs of a study could not be finished. All the others are kept."""


class BrokenEnvironmentError(RuntimeError):
    """An environment raised an exception. The message names the task and quotes the exception.

    The `__cause__` of this error is the exception itself, with the environment's traceback.

    Args:
        message: The message, which names the task.
        original: The exception that the environment raised.
    """

    def __init__(self, message: str, original: BaseException | None = None) -> None:
        super().__init__(message)
        self.original = original


class InvalidAnswerError(ValueError):
    """An environment returned something else than it announced. The message names the task, and is not quoted."""


def raise_broken(name: str, call: str, error: BaseException) -> NoReturn:
    """Raises a `BrokenEnvironmentError` for an exception of an environment.

    Args:
        name: The task's name.
        call: The call that raised, such as `"step"`.
        error: The exception. A `KeyboardInterrupt` and the errors of this module are raised unchanged.

    Raises:
        BrokenEnvironmentError: Always, except for the exceptions that are raised unchanged.
    """
    if isinstance(error, KeyboardInterrupt | BrokenEnvironmentError | InvalidAnswerError):
        raise error
    said = _text(error)
    message = f"The environment of task '{name}' raised {type(error).__name__} in {call}{': ' if said else '.'}{said}"
    raise BrokenEnvironmentError(message, error) from error


class raised_in:  # noqa: N801  (used as a function; contextlib's generators let a StopIteration through)
    """A context manager that turns any exception raised inside it into a `BrokenEnvironmentError`.

    Args:
        name: The task's name.
        call: The call that may raise, such as `"step"`.
    """

    def __init__(self, name: str, call: str) -> None:
        self._name, self._call = name, call

    def __enter__(self) -> None:
        return None

    def __exit__(self, kind: Any, error: BaseException | None, traceback: Any) -> None:
        if error is not None:
            raise_broken(self._name, self._call, error)


def _text(error: BaseException) -> str:
    try:
        lines = str(error).strip().splitlines()
    except Exception:
        return "(its message could not be read)"
    shown = [line[:_CHARACTERS] for line in lines[:_LINES]]
    return "\n".join(shown + ["…"] * (len(lines) > _LINES))
