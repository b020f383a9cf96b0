"""Arms as the command line names them."""

from typing import Any

from mtq import aggregators, weightings
from mtq.study.design.arm import Arm


def parse_arm(text: str) -> Arm:
    """An arm of a text such as `shared`, `normalized_sum+double` or `separate+matched=shared`.

    Parts are joined by `+`, in any order: `shared`, `separate` or `depth=K` says how many layers are shared; an
    aggregator's or a weighting's name is what it is; `width=W` and `matched=ARM` set the width; `double`, `loss=L`,
    `n_step=N`, `tau=T`, `evaluates_target` and `learning_rate=R` are settings.

    Args:
        text: What to read; it becomes the arm's name.

    Raises:
        ValueError: A part means nothing, two say the same thing, or there is no such loss.
    """
    options: dict[str, Any] = {}
    for part in text.split("+"):
        key, _, value = part.strip().partition("=")
        try:
            option, given = _option(key, value)
        except (KeyError, ValueError) as error:
            raise ValueError(
                f"An arm must be made of known parts. Received: {part!r} in {text!r}. There are: shared, separate, "
                "depth=K, width=W, matched=ARM, double, loss=L, n_step=N, tau=T, evaluates_target, learning_rate=R; "
                f"the aggregators {', '.join(aggregators.names())}; the weightings {', '.join(weightings.names())}."
            ) from error
        if option in options:
            raise ValueError(f"An arm must say {option} once. Received: {text!r}.")
        options[option] = given
    return Arm(text, **options)


def _option(key: str, value: str) -> tuple[str, Any]:
    """An argument of `Arm` and what it is to be."""
    if value:
        name, kind = {
            "depth": ("shared_layers", int),
            "width": ("width", float),
            "matched": ("parameters_of", str),
            "loss": ("loss", str),
            "n_step": ("n_step", int),
            "tau": ("target_update_tau", float),
            "learning_rate": ("learning_rate", float),
        }[key]
        return name, kind(value)
    if key in aggregators.names() or key in aggregators.OLD_NAMES:
        return "aggregator", key
    if key in weightings.names():
        return "loss_weights", key
    return {
        "shared": ("shared_layers", None),
        "separate": ("shared_layers", 0),
        "double": ("double", True),
        "evaluates_target": ("evaluates_target", True),
    }[key]
