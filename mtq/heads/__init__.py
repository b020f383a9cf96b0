"""Heads, which turn a task's outputs into action values, define the targets and the loss, and scale returns.

`shared_q_network(heads=…)` takes a head by its name or as an object. Whatever the head, the network returns action
values `[B, num_actions]`.
"""

from typing import Any

from mtq.heads.categorical import Categorical
from mtq.heads.dueling import DuelingHead
from mtq.heads.head import Head
from mtq.heads.hl_gauss import HLGauss
from mtq.heads.noisy import NoisyDense, exploration_noise
from mtq.heads.path_end import PathEnd, end_of, linear_weights
from mtq.heads.quantile import Quantile
from mtq.heads.return_scaling import PopArt, ReturnScaling, RunningScale, get_return_scaling
from mtq.heads.scalar import Scalar
from mtq.heads.target import Target
from mtq.pluggable import ensure_instance, lookup

_BY_NAME = {"categorical": Categorical, "hl_gauss": HLGauss, "quantile": Quantile, "scalar": Scalar}

__all__ = [
    "Categorical",
    "DuelingHead",
    "HLGauss",
    "Head",
    "NoisyDense",
    "PathEnd",
    "PopArt",
    "Quantile",
    "ReturnScaling",
    "RunningScale",
    "Scalar",
    "Target",
    "end_of",
    "exploration_noise",
    "get",
    "get_return_scaling",
    "linear_weights",
    "names",
]


def names() -> list[str]:
    """Returns the names by which `get` finds heads."""
    return sorted(_BY_NAME)


def get(head: Any) -> Head:
    """Returns a head.

    Args:
        head: A name, such as `"hl_gauss"`, a `Head`, or its Keras config.

    Raises:
        ValueError: The name is unknown, or the value is something else.

    Example:
        >>> get("categorical").num_atoms
        51
    """
    if isinstance(head, str):
        return lookup("head", head, _BY_NAME)()
    return ensure_instance("head", head, Head)
