"""A check that a network that is saved and loaded again shares the layers that it shares now."""

from collections.abc import Sequence
from typing import Any

import keras

from mtq.keras_internals import direct_layers, is_functional

_REBUILT = ("keras.", "mtq.")  # the layers of these packages are made from the configs of the layers within


def check_layer_sharing(network: keras.Model) -> None:
    """Raises a ValueError that names a layer which two models or layers within a network hold, or a Sequential twice.

    Each of them is saved as a config of its own, so that a loaded network would have two layers in the place of one
    that has variables, such as a dropout's random state. Of a layer that a Sequential holds twice, also one without
    any, a loaded Sequential has only the first. A functional model may call one layer as often as it likes.

    Args:
        network: The network.
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
                    "Each layer must belong to one model or layer only, and only once: each holder saves a copy, so "
                    f"that a loaded network may compute something else. Received: layer '{layer.name}' "
                    f"({type(layer).__name__}), which {_who(holders[id(layer)], holder)}. Call it as often as it is "
                    "needed within one functional model, keras.Model(inputs, outputs)."
                )
            holders[id(layer)] = holder
            waiting.append(layer)


def _held_by(holder: Any) -> Sequence[Any]:
    """The layers that are saved within the config of another; none of a user's layer, whose constructor makes them."""
    if isinstance(holder, keras.Sequential) or is_functional(holder):
        return holder.layers if type(holder).get_config.__module__.startswith(_REBUILT) else []
    return direct_layers(holder) if type(holder).__module__.startswith(_REBUILT) else []


def _who(one: Any, other: Any) -> str:
    return f"'{one.name}' holds twice" if one is other else f"'{one.name}' and '{other.name}' both hold"
