"""The parser of arms that are written as text on the command line."""

from typing import Any

from mtq import aggregators, weightings
from mtq.study.design.arm import Arm


def parse_arm(text: str) -> Arm:
    """Parses an arm that is written as text, such as `shared`, `normalized_sum+double` or `separate+matched=shared`.

    The text consists of parts that are joined by `+`, in any order. `shared`, `separate` and `depth=K` set the number
    of shared layers; the name of an aggregator or a weighting selects it; `width=W` and `matched=ARM` set the width;
    `double`, `loss=L`, `n_step=N`, `tau=T`, `evaluates_target` and `learning_rate=R` are settings of the protocol.

    Args:
        text: The text, which becomes the arm's name.

    Raises:
        ValueError: A part is unknown, two parts set the same argument, or the loss is unknown.
    """
    options: dict[str, Any] = {}
    for part in text.split("+"):
        key, _, value = part.strip().partition("=")
        try:
            option, argument = _option(key, value)
        except (KeyError, ValueError) as error:
            raise ValueError(
                f"An arm must be made of known parts. Received: {part!r} in {text!r}. The parts are: shared, separate, "
                "depth=K, width=W, matched=ARM, double, loss=L, n_step=N, tau=T, evaluates_target, learning_rate=R; "
                f"the aggregators {', '.join(aggregators.names())}; the weightings {', '.join(weightings.names())}."
            ) from error
        if option in options:
            raise ValueError(f"An arm must set {option} only once. Received: {text!r}. Remove one of its parts.")
        options[option] = argument
    return Arm(text, **options)


def _option(key: str, value: str) -> tuple[str, Any]:
    """Returns the name of the argument of `Arm` that a part sets, and its value."""
    if value:
        name, converter = {
            "depth": ("shared_layers", int),
            "width": ("width", float),
            "matched": ("parameters_of", str),
            "loss": ("loss", str),
            "n_step": ("n_step", int),
            "tau": ("target_update_tau", float),
            "learning_rate": ("learning_rate", float),
        }[key]
        return name, converter(value)
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
