"""The exceptions of mtq. The module does not import TensorFlow, so that the command line can import it quickly."""

from typing import Any, NoReturn

_LINES, _CHARACTERS = 4, 300  # the most lines quoted from the original message, and the most characters per line


class NonFiniteLossError(ArithmeticError):
    """A loss, gradient norm or weight became NaN or infinite. The message names the quantity and its task."""


class WorkerLostError(RuntimeError):
    """Another process of the run died, did not start, or could not be reached."""


class StudyError(RuntimeError):
    """Some runs of a study failed. The completed runs are kept."""


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
    """An environment returned a value that its spaces do not allow. The message names the task.

    Unlike other exceptions of an environment, it is not wrapped in a `BrokenEnvironmentError`.
    """


def raise_broken(name: str, call: str, error: BaseException) -> NoReturn:
    """Raises a `BrokenEnvironmentError` for an exception that an environment raised.

    Args:
        name: The task's name, for the message.
        call: The name of the call that raised the exception, such as `"step"`.
        error: The exception. A `KeyboardInterrupt` and the errors of this module are raised unchanged.

    Raises:
        BrokenEnvironmentError: Always, except for the exceptions that are raised unchanged.
    """
    if isinstance(error, KeyboardInterrupt | BrokenEnvironmentError | InvalidAnswerError):
        raise error
    text = _text(error)
    message = f"The environment of task '{name}' raised {type(error).__name__} in {call}{': ' if text else '.'}{text}"
    raise BrokenEnvironmentError(message, error) from error


class raised_in:  # noqa: N801  (used as a function; contextlib's generators let a StopIteration through)
    """A context manager that converts any exception raised inside it to a `BrokenEnvironmentError`.

    Args:
        name: The task's name, for the message.
        call: The name of the call that may raise an exception, such as `"step"`.
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
