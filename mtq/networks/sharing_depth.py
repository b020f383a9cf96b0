"""Depth of sharing: tasks share the first layers of a backbone, and each has a copy of the other layers."""

import keras

from mtq.checks import is_real, is_whole


def split_backbone(
    backbone: keras.layers.Layer, shared_layers: int | None
) -> tuple[list[keras.layers.Layer], list[keras.layers.Layer]]:
    """Splits a backbone into the part that tasks share and the layers of which each task gets a copy.

    Args:
        backbone: The backbone, a `keras.Sequential`; any other layer or model counts as one layer.
        shared_layers: The number of layers with weights that tasks share, counted from the input; None for all.

    Returns:
        A tuple of the shared part, as a list of one layer named `"backbone"` or an empty list, and the layers to be
        copied, in order.

    Raises:
        ValueError: shared_layers is not an integer from 0 to the number of layers with weights.
    """
    if shared_layers is None:
        return [backbone], []
    while isinstance(backbone, keras.Sequential) and [type(layer) for layer in backbone.layers] == [keras.Sequential]:
        backbone = backbone.layers[0]
    layers = list(backbone.layers) if isinstance(backbone, keras.Sequential) else [backbone]
    with_weights = [place for place, layer in enumerate(layers) if _has_weights(layer)]
    if is_real(shared_layers) and float(shared_layers).is_integer():
        shared_layers = int(shared_layers)
    if not is_whole(shared_layers) or not 0 <= shared_layers <= len(with_weights):
        raise ValueError(
            f"shared_layers must be an integer from 0 to {len(with_weights)}, the number of layers with weights in the "
            f"backbone. Received: {shared_layers!r}."
        )
    ends = [*with_weights, len(layers)]  # layers without weights belong to the layer before them
    cut = ends[shared_layers] if shared_layers else 0
    shared = [keras.Sequential(layers[:cut], name="backbone")] if cut else []
    return shared, layers[cut:]


def _has_weights(layer: keras.layers.Layer) -> bool:
    """Whether a layer has weights, or will have some once it is built."""
    if layer.built:
        return bool(layer.weights)
    return isinstance(layer, keras.Model) or type(layer).build is not keras.layers.Layer.build
