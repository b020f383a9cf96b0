"""Tensors that are computed once in every graph."""

from collections.abc import Callable, Hashable
from typing import Any

import tensorflow as tf


class KeptPerGraph:
    """Values by key, each computed when it is first asked for.

    A tensor belongs to the graph that it was made in: what was computed inside of a `tf.cond` is not known outside.
    """

    def __init__(self) -> None:
        self._values: dict[Hashable, Any] = {}

    def get(self, key: Hashable, compute: Callable[[], Any]) -> Any:
        """The value of a key."""
        if not self.has(key):
            self._values[key, _graph()] = compute()
        return self._values[key, _graph()]

    def has(self, key: Hashable) -> bool:
        """Whether it was computed already."""
        return (key, _graph()) in self._values


def _graph() -> tf.Graph | None:
    return None if tf.executing_eagerly() else tf.compat.v1.get_default_graph()
