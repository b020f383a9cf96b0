"""Weightings, which determine the weight of each task's loss at every update."""

from collections.abc import Mapping
from typing import Any

from mtq.checks import is_real
from mtq.pluggable import ensure_instance, lookup
from mtq.tasks.task import TaskSet
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
    "get",
    "names",
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


def get(loss_weights: Any, tasks: TaskSet) -> Weighting:
    """Returns the weighting for the `loss_weights` argument of `MultiTaskDQN.compile`.

    Args:
        loss_weights: None to use the weights of the tasks themselves; a dict from each task's name to a number or a
            `keras.optimizers.schedules.LearningRateSchedule` over updates; a name such as `"famo"`; a `Weighting`; or
            the config of one.
        tasks: The tasks.

    Returns:
        The weighting.

    Raises:
        ValueError: The argument is not a weighting or a known name; a task has no entry in the dict, or an entry has no
            task; or a weight is negative or not finite.
    """
    if loss_weights is None:
        return Constant({name: task.weight for name, task in tasks.items()})
    if isinstance(loss_weights, str):
        loss_weights = lookup("weighting", loss_weights, _BY_NAME)()
    if isinstance(loss_weights, Mapping) and "class_name" not in loss_weights:
        check_task_weights(loss_weights, tasks)
        is_constant = all(is_real(weight) for weight in loss_weights.values())
        return Constant(loss_weights) if is_constant else Schedule(loss_weights)
    weighting = ensure_instance("weighting (loss_weights)", loss_weights, Weighting)
    weighting.check(tasks)
    return weighting
