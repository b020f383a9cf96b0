"""The parser of arms that are written as text on the command line."""

from typing import Any

from mtq import aggregators, weightings
from mtq.settings import ProtocolOptions
from mtq.settings.texts import arm_parts, convert, described_parts
from mtq.study.design.arm import Arm

_OF_ARMS = {
    "depth": ("shared_layers", int),
    "width": ("width", float),
    "matched": ("parameters_of", str),
    "aggregator": ("aggregator", str),
    "weighting": ("loss_weights", str),
}
_NAMES = {"shared": ("shared_layers", None), "separate": ("shared_layers", 0)}


def parse_arm(text: str, **usual: Any) -> Arm:
    """Parses an arm that is written as text, such as `shared`, `normalized_sum+double` or `separate+matched=shared`.

    The text consists of parts that are joined by `+`, in any order. `shared`, `separate` and `depth=K` set the number
    of shared layers; the name of an aggregator or a weighting selects it; `width=W` and `matched=ARM` set the width.
    All other parts are settings of the protocol: `n_step=3`, or `double` for a flag that is set.

    Args:
        text: The text, which becomes the arm's name.
        usual: The arguments that are used where no part sets them.

    Raises:
        ValueError: A part is unknown, two parts set the same argument, or the loss is unknown.
    """
    options: dict[str, Any] = {}
    for part in text.split("+"):
        key, assigned, value = part.strip().partition("=")
        try:
            option, argument = _option(key, value, bool(assigned))
        except (KeyError, ValueError) as error:
            raise ValueError(
                f"An arm must be made of known parts. Received: {part!r} in {text!r}. The parts are: shared, separate, "
                f"depth=K, width=W, matched=ARM; the settings {described_parts(ProtocolOptions)}; "
                f"the aggregators {', '.join(aggregators.names())}; the weightings {', '.join(weightings.names())}."
            ) from error
        if option in options:
            raise ValueError(f"An arm must set {option} only once. Received: {text!r}. Remove one of its parts.")
        options[option] = argument
    return Arm(text, **{**usual, **options})


def _option(key: str, value: str, is_assigned: bool) -> tuple[str, Any]:
    """Returns the name of the argument of `Arm` that a part sets, and its value."""
    if is_assigned and not value:
        raise ValueError(key)
    if is_assigned and key in _OF_ARMS:
        name, converter = _OF_ARMS[key]
        return name, converter(value)
    if not is_assigned:
        if key in aggregators.names() or key in aggregators.OLD_NAMES:
            return "aggregator", key
        if key in weightings.names():
            return "loss_weights", key
        if key in _NAMES:
            return _NAMES[key]
    name = arm_parts(ProtocolOptions)[key.replace("-", "_")]
    return name, convert(ProtocolOptions, name, value)
