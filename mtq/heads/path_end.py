"""The end of a task's path through a network: the layer that computes the outputs, and the head."""

from typing import NamedTuple

import keras

from mtq.heads.dueling import DuelingHead
from mtq.heads.head import Head
from mtq.heads.noisy import NoisyDense
from mtq.heads.scalar import Scalar
from mtq.keras_internals import LayerCall, calls_of, flatten_layers


class PathEnd(NamedTuple):
    """The end of a task's path.

    Attributes:
        head: The head: the last layer, or a `Scalar` that is not in the graph if the last layer is of another kind.
        outputs: The symbolic outputs from which the head computes the action values.
        layer: The layer that computes the outputs, apart from a `Reshape`; None if the path has no layer before the
            head.
    """

    head: Head
    outputs: keras.KerasTensor
    layer: keras.layers.Layer | None


def end_of(path: keras.Model) -> PathEnd:
    """Returns the end of a task's path.

    Args:
        path: A functional model `observation` → `q_values`.

    Raises:
        ValueError: The path has a head that is not its last layer.
    """
    made_by = {id(tensor): call for call in calls_of(path) for tensor in call.outputs}
    last = made_by.get(id(path.outputs[0]))
    if last is None or not isinstance(last.layer, Head):
        _check_no_head(path)
        return PathEnd(Scalar(), path.outputs[0], None if last is None else last.layer)
    before: LayerCall | None = made_by.get(id(last.inputs[0]))
    while before is not None and isinstance(before.layer, keras.layers.Reshape):
        before = made_by.get(id(before.inputs[0]))
    return PathEnd(last.layer, last.inputs[0], None if before is None else before.layer)


def _check_no_head(path: keras.Model) -> None:
    heads = [layer for layer in flatten_layers(path) if isinstance(layer, Head)]
    if heads:
        raise ValueError(
            "A head must be the last layer of a task's path, and called on symbolic tensors of the network itself. "
            f"Received: '{heads[0].name}' ({type(heads[0]).__name__}) before other layers, or inside of another model. "
            "Call it last: q_values = head(outputs)."
        )


def linear_weights(layer: keras.layers.Layer | None) -> list[keras.Variable]:
    """Returns the weights of a layer whose outputs are multiplied by c if all these weights are multiplied by c.

    Args:
        layer: The layer that computes a head's outputs; None if there is none.

    Returns:
        The weights; an empty list if the layer does not have this property, such as one with an activation.
    """
    if isinstance(layer, DuelingHead):
        parts = [linear_weights(layer.value), linear_weights(layer.advantage)]
        return [*parts[0], *parts[1]] if all(parts) else []
    is_dense = isinstance(layer, NoisyDense) or type(layer) is keras.layers.Dense
    if layer is None or not is_dense or layer.activation not in (None, keras.activations.linear):
        return []
    if getattr(layer, "lora_enabled", False) or getattr(layer, "quantization_mode", None) is not None:
        return []
    if any(getattr(layer, name, None) is not None for name in ("kernel_constraint", "bias_constraint")):
        return []  # the optimizer would set the weights to other values after they are multiplied
    return list(layer.weights)
