"""Aggregators: the gradients of T tasks → one update."""

from typing import Any

import keras

from mtq import named
from mtq.aggregators.aggregator import Aggregator, WeightedSum
from mtq.aggregators.normalized_sum import NormalizedSum
from mtq.aggregators.sum import Sum

__all__ = ["Aggregator", "NormalizedSum", "Sum", "WeightedSum", "deserialize", "get", "names", "serialize"]

_BY_NAME: dict[str, type[Aggregator]] = {"normalized_sum": NormalizedSum, "sum": Sum}


def names() -> list[str]:
    """The names that `get` knows."""
    return sorted(_BY_NAME)


def get(identifier: "str | Aggregator | dict[str, Any]") -> Aggregator:
    """Finds or makes an aggregator.

    Args:
        identifier: A name such as `"normalized_sum"`, an `Aggregator`, or the config of one.

    Raises:
        ValueError: There is no such aggregator.

    Example:
        >>> import mtq
        >>> mtq.aggregators.get("normalized_sum").scope
        'all'
    """
    if isinstance(identifier, str):
        return named.find("aggregator", identifier, _BY_NAME)()
    return named.instance("aggregator", identifier, Aggregator)


def serialize(aggregator: Aggregator) -> dict[str, Any]:
    """The config from which `deserialize` makes the aggregator again."""
    return keras.saving.serialize_keras_object(aggregator)


def deserialize(config: dict[str, Any]) -> Aggregator:
    """Makes an aggregator from its config."""
    return get(config)
