"""Every private name of Keras that mtq relies on. `tests/keras_internals_test.py` fails loudly if one has changed."""

from collections.abc import Sequence
from typing import Any, NamedTuple

import keras
from keras.src.models.functional import Functional


class LayerCall(NamedTuple):
    """One call of a layer in the graph of a functional model.

    Attributes:
        layer: The layer or operation.
        args: Its arguments, with `keras.KerasTensor`s among them.
        kwargs: Its keyword arguments.
        outputs: The tensors that it returns, flat.
    """

    layer: Any
    args: Any
    kwargs: Any
    outputs: tuple[keras.KerasTensor, ...]

    @property
    def inputs(self) -> list[keras.KerasTensor]:
        """The tensors among the arguments, in the order of `keras.tree.flatten`."""
        return [leaf for leaf in keras.tree.flatten((self.args, self.kwargs)) if isinstance(leaf, keras.KerasTensor)]

    def with_inputs(self, values: Sequence[Any]) -> tuple[Any, Any]:
        """The arguments and keyword arguments with other values in the places of the tensors.

        Args:
            values: A value for each of `inputs`.
        """
        remaining = iter(values)
        fill = lambda leaf: next(remaining) if isinstance(leaf, keras.KerasTensor) else leaf  # noqa: E731
        args = keras.tree.map_structure(fill, self.args)
        return args, keras.tree.map_structure(fill, self.kwargs)


def calls_of(model: keras.Model) -> list[LayerCall]:
    """The calls of a functional model, each after those whose outputs it needs.

    Args:
        model: A functional model.
    """
    by_depth = model._nodes_by_depth
    nodes = [node for depth in sorted(by_depth, reverse=True) for node in by_depth[depth] if not node.is_input]
    return [
        LayerCall(node.operation, node.arguments.args, node.arguments.kwargs, tuple(node.outputs)) for node in nodes
    ]


def is_plain_functional(layer: Any) -> bool:
    """Whether a layer is a functional model that is computed call by call: one whose `call` is not overridden."""
    return getattr(type(layer), "call", None) is Functional.call


def flatten_layers(layer: Any, include_self: bool = True) -> list[Any]:
    """A layer and all layers inside it, at any depth, from the outside inwards.

    Args:
        layer: A Keras layer or model.
        include_self: Whether the layer itself is one of them.
    """
    return list(layer._flatten_layers(include_self=include_self))
