"""Re-raises exceptions of Python code inside a graph as the original exceptions."""

import collections
import contextlib
import functools
from collections.abc import Callable, Iterator
from typing import Any

import tensorflow as tf

from mtq.errors import BrokenEnvironmentError

__all__ = ["BrokenEnvironmentError", "environment_errors", "kept", "raised_again"]

# The latest exceptions, because TensorFlow passes on only their text.
_kept: collections.deque[BaseException] = collections.deque(maxlen=8)


def kept(function: Callable[..., Any], in_graph: bool | None = None) -> Callable[..., Any]:
    """Wraps a function for `tf.numpy_function`, so that `environment_errors` can re-raise its exceptions.

    Within a graph, TensorFlow receives only the message, because it would log the whole traceback twice.

    Args:
        function: The function to wrap.
        in_graph: Whether TensorFlow calls the function; by default whether a graph is traced now.

    Returns:
        A function with the same arguments and return value.
    """
    in_graph = not tf.executing_eagerly() if in_graph is None else in_graph

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
    """Replaces TensorFlow's report of an error in Python code with the original exception, within a `with` block."""
    try:
        yield
    except (tf.errors.OpError, BrokenEnvironmentError) as error:
        original = raised_again(error)
        if original is None:
            raise
        if isinstance(original, BrokenEnvironmentError):
            raise original.with_traceback(None) from original.original
        raise original from original.__cause__


def raised_again(error: BaseException) -> BaseException | None:
    """Finds the exception that Python code raised within a graph, and removes it from the stored exceptions.

    Args:
        error: The exception that the execution of the graph raised.

    Returns:
        The original exception, or None if the graph failed for another reason.
    """
    if isinstance(error, BrokenEnvironmentError):  # Keras may have removed its __cause__
        return error
    report = str(error)
    for candidate in reversed(_kept):
        if f"{type(candidate).__name__}: {_first_line(candidate)}" in report:
            _kept.remove(candidate)
            return candidate
    return None


def _first_line(error: BaseException) -> str:
    return (str(error).splitlines() or [""])[0]
