"""A cache of tensors for each graph."""

from collections.abc import Callable, Hashable, Iterator
from typing import Any

import tensorflow as tf


class GraphCache:
    """Caches tensors per `tf.Graph`; inner graphs see the entries of outer graphs, not the reverse.

    A tensor that is computed in a branch of `tf.cond`, for example, is not available outside of the branch.
    """

    def __init__(self) -> None:
        self._values: dict[Hashable, Any] = {}

    def get(self, key: Hashable, compute: Callable[[], Any]) -> Any:
        """Returns the value of a key, and computes it if this graph and those around it have none.

        Args:
            key: The key.
            compute: The function that computes the value.
        """
        for graph in _graphs():
            if (key, graph) in self._values:
                return self._values[key, graph]
        value = compute()
        self._values[key, next(_graphs())] = value
        return value

    def has(self, key: Hashable) -> bool:
        """Whether the value of a key is available in this graph.

        Args:
            key: The key.
        """
        return any((key, graph) in self._values for graph in _graphs())


def _graphs() -> Iterator[tf.Graph | None]:
    """Yields the current graph and the graphs around it; None for eager execution."""
    graph = None if tf.executing_eagerly() else tf.compat.v1.get_default_graph()
    yield graph
    while (graph := getattr(graph, "outer_graph", None)) is not None:
        yield graph
