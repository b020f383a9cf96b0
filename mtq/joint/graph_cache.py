"""Tensors that are computed once in every graph."""

from collections.abc import Callable, Hashable, Iterator
from typing import Any

import tensorflow as tf


class GraphCache:
    """Values by key, each computed when it is first asked for.

    A tensor belongs to the graph that it was made in: what was computed inside of a `tf.cond` is not known outside, but
    what was computed outside is known within.
    """

    def __init__(self) -> None:
        self._values: dict[Hashable, Any] = {}

    def get(self, key: Hashable, compute: Callable[[], Any]) -> Any:
        """The value of a key."""
        for graph in _graphs():
            if (key, graph) in self._values:
                return self._values[key, graph]
        value = compute()
        self._values[key, next(_graphs())] = value
        return value

    def has(self, key: Hashable) -> bool:
        """Whether it was computed already."""
        return any((key, graph) in self._values for graph in _graphs())


def _graphs() -> Iterator[tf.Graph | None]:
    """This graph, and those around it; None where operations are executed at once."""
    graph = None if tf.executing_eagerly() else tf.compat.v1.get_default_graph()
    yield graph
    while (graph := getattr(graph, "outer_graph", None)) is not None:
        yield graph
