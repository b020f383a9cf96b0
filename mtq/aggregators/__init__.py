"""Aggregators, which combine the gradients of T tasks into one update."""

from typing import Any

import keras

from mtq.aggregators.aggregator import Aggregator, WeightedSum
from mtq.aggregators.aligned_mtl import AlignedMTL
from mtq.aggregators.cagrad import CAGrad
from mtq.aggregators.conflict_free import ConFIG
from mtq.aggregators.dualproj import DualProj
from mtq.aggregators.fairgrad import FairGrad
from mtq.aggregators.graddrop import GradDrop
from mtq.aggregators.gradvac import GradVac
from mtq.aggregators.gram import GramAggregator
from mtq.aggregators.imtl_g import IMTLG
from mtq.aggregators.mean import Mean
from mtq.aggregators.mgda import MGDA
from mtq.aggregators.nash_mtl import NashMTL
from mtq.aggregators.normalized_sum import NormalizedSum
from mtq.aggregators.pcgrad import PCGrad
from mtq.aggregators.random_gradient_weighting import RandomGradientWeighting
from mtq.aggregators.sum import Sum
from mtq.aggregators.upgrad import UPGrad
from mtq.pluggable import ensure_instance, lookup

__all__ = [
    "IMTLG",
    "MGDA",
    "Aggregator",
    "AlignedMTL",
    "CAGrad",
    "ConFIG",
    "DualProj",
    "FairGrad",
    "GradDrop",
    "GradVac",
    "GramAggregator",
    "Mean",
    "NashMTL",
    "NormalizedSum",
    "PCGrad",
    "RandomGradientWeighting",
    "RandomWeighting",
    "Sum",
    "UPGrad",
    "WeightedSum",
    "deserialize",
    "get",
    "names",
    "serialize",
]

_BY_NAME: dict[str, type[Aggregator]] = {
    "aligned_mtl": AlignedMTL,
    "cagrad": CAGrad,
    "config": ConFIG,
    "dualproj": DualProj,
    "fairgrad": FairGrad,
    "graddrop": GradDrop,
    "gradvac": GradVac,
    "imtl_g": IMTLG,
    "mean": Mean,
    "mgda": MGDA,
    "nash_mtl": NashMTL,
    "normalized_sum": NormalizedSum,
    "pcgrad": PCGrad,
    "random_gradient_weighting": RandomGradientWeighting,
    "sum": Sum,
    "upgrad": UPGrad,
}
# Earlier names, which `get` still accepts.
OLD_NAMES = {"random_weighting": "random_gradient_weighting"}
RandomWeighting = RandomGradientWeighting


def names() -> list[str]:
    """Returns the names that `get` accepts, sorted."""
    return sorted(_BY_NAME)


def get(identifier: "str | Aggregator | dict[str, Any]") -> Aggregator:
    """Returns an aggregator, given its name, its config or the object itself.

    Args:
        identifier: A name such as `"normalized_sum"`, an `Aggregator`, or the config of one.

    Returns:
        The aggregator.

    Raises:
        ValueError: The identifier is not an aggregator, its config, or a known name.

    Example:
        >>> import mtq
        >>> mtq.aggregators.get("normalized_sum").scope
        'all'
    """
    if isinstance(identifier, str):
        return lookup("aggregator", OLD_NAMES.get(identifier, identifier), _BY_NAME)()
    return ensure_instance("aggregator", identifier, Aggregator)


def serialize(aggregator: Aggregator) -> dict[str, Any]:
    """Returns the config from which `deserialize` recreates an aggregator.

    Args:
        aggregator: The aggregator.
    """
    return keras.saving.serialize_keras_object(aggregator)


def deserialize(config: dict[str, Any]) -> Aggregator:
    """Creates an aggregator from its config.

    Args:
        config: The config that `serialize` returned.

    Returns:
        The aggregator.

    Raises:
        ValueError: The config is not that of an aggregator.
    """
    return get(config)
