"""A check that a network still shares the same layers after it is saved and loaded."""

from collections.abc import Sequence
from typing import Any

import keras

from mtq.keras_internals import direct_layers, is_functional

_REBUILT = ("keras.", "mtq.")  # layers of these packages are recreated from the configs of their inner layers


def check_layer_sharing(network: keras.Model) -> None:
    """Checks that no layer is held by two models or layers within a network, or twice by a Sequential.

    Each holder saves a separate config. A loaded network would then have two layers instead of one, with separate
    variables, such as the random state of a dropout. If a Sequential holds a layer twice, a loaded Sequential has only
    the first, even if the layer has no variables. A functional model may call one layer any number of times.

    Args:
        network: The network.

    Raises:
        ValueError: A layer with variables has two holders, or a holder holds a layer twice.
    """
    holders: dict[int, Any] = {}
    found, waiting = set(), [network]
    while waiting:
        holder = waiting.pop()
        if id(holder) in found:
            continue
        found.add(id(holder))
        for layer in _held_by(holder):
            if id(layer) in holders and (layer.variables or holders[id(layer)] is holder):
                raise ValueError(
                    "Each layer must belong to one model or layer only, and only once, because each holder saves a "
                    f"copy and a loaded network may compute something else. Received: layer '{layer.name}' "
                    f"({type(layer).__name__}), which {_who(holders[id(layer)], holder)}. Call it as often as needed "
                    "within one functional model, keras.Model(inputs, outputs)."
                )
            holders[id(layer)] = holder
            waiting.append(layer)


def _held_by(holder: Any) -> Sequence[Any]:
    """The layers that are saved within a holder's config; none for a user's layer, whose constructor creates them."""
    if isinstance(holder, keras.Sequential) or is_functional(holder):
        return holder.layers if type(holder).get_config.__module__.startswith(_REBUILT) else []
    return direct_layers(holder) if type(holder).__module__.startswith(_REBUILT) else []


def _who(first: Any, second: Any) -> str:
    return f"'{first.name}' holds twice" if first is second else f"'{first.name}' and '{second.name}' both hold"
