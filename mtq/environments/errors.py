"""Errors of Python code that a graph calls, raised again as what they were."""

import collections
import contextlib
import functools
from collections.abc import Callable, Iterator
from typing import Any

import tensorflow as tf

from mtq.environment_error import BrokenEnvironmentError

__all__ = ["BrokenEnvironmentError", "environment_errors", "kept", "raised_again"]

_kept: collections.deque[BaseException] = collections.deque(maxlen=8)  # TensorFlow passes on their text alone


def kept(function: Callable[..., Any]) -> Callable[..., Any]:
    """Wraps a function for `tf.numpy_function`, so that `environment_errors` can raise what it raises again.

    Called in a graph it gives TensorFlow the message alone, which would otherwise log the whole traceback, twice.

    Args:
        function: The function.
    """
    in_graph = not tf.executing_eagerly()

    @functools.wraps(function)
    def call(*args: Any) -> Any:
        try:
            return function(*args)
        except BaseException as error:
            if not in_graph:
                raise
            _kept.append(error)
            raise RuntimeError(f"{type(error).__name__}: {_first_line(error)}") from None

    return call


@contextlib.contextmanager
def environment_errors() -> Iterator[None]:
    """Raises in the place of TensorFlow's report the error of the environment or the batch that it reports."""
    try:
        yield
    except (tf.errors.OpError, BrokenEnvironmentError) as error:
        found = raised_again(error)
        if found is None:
            raise
        if isinstance(found, BrokenEnvironmentError):
            raise found.with_traceback(None) from found.original
        raise found from found.__cause__


def raised_again(error: BaseException) -> BaseException | None:
    """The error that Python code raised within a graph.

    Args:
        error: What came out of the graph.

    Returns:
        The error, or None if this is a report of something else.
    """
    if isinstance(error, BrokenEnvironmentError):  # Keras may have taken its cause away
        return error
    report = str(error)
    for candidate in reversed(_kept):
        if f"{type(candidate).__name__}: {_first_line(candidate)}" in report:
            _kept.remove(candidate)
            return candidate
    return None


def _first_line(error: BaseException) -> str:
    return (str(error).splitlines() or [""])[0]
