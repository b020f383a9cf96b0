"""Weightings, which determine the weight of each task's loss at every update."""

from collections.abc import Mapping
from typing import Any

import keras

from mtq.checks import is_real
from mtq.pluggable import ensure_instance, lookup
from mtq.weightings.adaptive import Adaptive
from mtq.weightings.constant import Constant
from mtq.weightings.db_mtl import DBMTL
from mtq.weightings.dynamic_weight_average import DynamicWeightAverage
from mtq.weightings.excess_mtl import ExcessMTL
from mtq.weightings.famo import FAMO
from mtq.weightings.geometric_loss import GeometricLoss
from mtq.weightings.gradnorm import GradNorm
from mtq.weightings.imtl_l import IMTLL
from mtq.weightings.random_loss_weighting import RandomLossWeighting
from mtq.weightings.return_progress import ReturnProgress
from mtq.weightings.schedule import Schedule
from mtq.weightings.smooth_tchebycheff import SmoothTchebycheff
from mtq.weightings.uncertainty import Uncertainty
from mtq.weightings.weighting import Weighting, check_task_weights

__all__ = [
    "DBMTL",
    "FAMO",
    "IMTLL",
    "Adaptive",
    "Constant",
    "DynamicWeightAverage",
    "ExcessMTL",
    "GeometricLoss",
    "GradNorm",
    "RandomLossWeighting",
    "ReturnProgress",
    "Schedule",
    "SmoothTchebycheff",
    "Uncertainty",
    "Weighting",
    "check_task_weights",
    "deserialize",
    "get",
    "names",
    "serialize",
]

_BY_NAME: dict[str, type[Weighting]] = {
    "constant": Constant,
    "db_mtl": DBMTL,
    "dynamic_weight_average": DynamicWeightAverage,
    "excess_mtl": ExcessMTL,
    "famo": FAMO,
    "geometric_loss": GeometricLoss,
    "gradnorm": GradNorm,
    "imtl_l": IMTLL,
    "random_loss_weighting": RandomLossWeighting,
    "return_progress": ReturnProgress,
    "smooth_tchebycheff": SmoothTchebycheff,
    "uncertainty": Uncertainty,
}


def names() -> list[str]:
    """Returns the names that `get` accepts, sorted."""
    return sorted(_BY_NAME)


def get(identifier: Any) -> Weighting:
    """Finds or makes a weighting.

    Args:
        identifier: A name such as `"famo"`, a `Weighting`, or the config of one; None for the weights of the tasks
            themselves; or a dict with an entry for each task, a number or a
            `keras.optimizers.schedules.LearningRateSchedule` over updates.

    Raises:
        ValueError: There is no such weighting, or a weight is negative or not finite.

    Example:
        >>> import mtq
        >>> mtq.weightings.get({"cart_pole": 1.0, "acrobot": 0.5}).weights
        {'cart_pole': 1.0, 'acrobot': 0.5}
    """
    if identifier is None:
        return Constant()
    if isinstance(identifier, str):
        return lookup("weighting", identifier, _BY_NAME)()
    if isinstance(identifier, Mapping) and "class_name" not in identifier:
        is_constant = all(is_real(weight) for weight in identifier.values())
        return Constant(identifier) if is_constant else Schedule(identifier)
    return ensure_instance("weighting (loss_weights)", identifier, Weighting)


def serialize(weighting: Weighting) -> dict[str, Any]:
    """The config from which `deserialize` makes the weighting again."""
    return keras.saving.serialize_keras_object(weighting)


def deserialize(config: dict[str, Any]) -> Weighting:
    """Makes a weighting from its config."""
    return get(config)
