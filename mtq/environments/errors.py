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

    Args:
        function: The function.
    """

    @functools.wraps(function)
    def call(*args: Any) -> Any:
        try:
            return function(*args)
        except BaseException as error:
            _kept.append(error)
            raise

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
        lines = str(candidate).splitlines() or [type(candidate).__name__]
        if lines[0] in report:
            _kept.remove(candidate)
            return candidate
    return None
