"""Errors that an environment raised inside a graph, raised again as what they were."""

import contextlib
import re
from collections.abc import Iterator

import tensorflow as tf

_OURS = re.compile(r"ValueError: (The environment of task .*)")


@contextlib.contextmanager
def environment_errors() -> Iterator[None]:
    """Turns TensorFlow's report of a broken environment into the `ValueError` that was raised there."""
    try:
        yield
    except tf.errors.OpError as error:
        found = _OURS.search(str(error))
        if found is None:
            raise
        raise ValueError(found.group(1)) from error
