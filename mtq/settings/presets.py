"""Presets: named sets of options."""

from collections.abc import Mapping
from typing import Any, TypeVar

from mtq.settings.declaration import Declaration, given

Options = TypeVar("Options", bound=Declaration)

PRESETS: Mapping[str, Mapping[str, Any]] = {
    "rainbow": {
        "double": True,
        "sampler": "prioritized",
        "dueling": True,
        "n_step": 3,
        "heads": "categorical",
        "noisy": True,
        "return_scaling": "running",  # in place of the paper's clipped rewards, so that the support fits any task
        "initial_epsilon": 0.0,
        "final_epsilon": 0.0,
    }
}
"""The options of each preset."""

EPSILONS = ("initial_epsilon", "final_epsilon")
"""The options that follow from noisy layers if they are not given."""


def with_preset(options: Options) -> Options:
    """Returns options with those of their preset.

    Args:
        options: The options.

    Raises:
        ValueError: An option is given with another value than in the preset.
    """
    name = getattr(options, "preset", None)
    if name is None:
        return options
    return options.replace(**expanded(name, given(options)))


def expanded(name: str, others: Mapping[str, Any]) -> dict[str, Any]:
    """Returns the options of a preset together with other options.

    Args:
        name: The name of the preset.
        others: The other options that are given.

    Raises:
        ValueError: There is no such preset, or an option is given with another value than in the preset.
    """
    if name not in PRESETS:
        raise ValueError(f"preset must be one of {', '.join(PRESETS)}. Received: {name!r}.")
    for option, value in PRESETS[name].items():
        if option in others and others[option] != value:
            raise ValueError(
                f"{option} must be {value!r}, or left out, with the preset {name}. Received: "
                f"{others[option]!r}. Leave out {option} or the preset, or give the options of the preset one by one: "
                f"{', '.join(f'{key}={setting}' for key, setting in PRESETS[name].items())}."
            )
    return {**others, **PRESETS[name]}


def resolved(options: Options) -> Options:
    """Returns options with those of their preset, and with defaults that follow from other options.

    Heads other than scalar ones have their own loss, Munchausen targets replace those of Double DQN, and noisy layers
    take the place of random actions.

    Args:
        options: The options.

    Raises:
        ValueError: An option contradicts the preset.
    """
    with_those_of_preset = with_preset(options)
    learning: Any = with_those_of_preset
    known = given(learning)
    changes: dict[str, Any] = {}
    if learning.heads != "scalar" and "loss" not in known:
        changes["loss"] = None
    if learning.munchausen and learning.double:
        if learning.preset is not None:
            raise ValueError(
                f"munchausen must be left out with the preset {learning.preset}, which has the targets of Double DQN. "
                "Received: both. Leave out one of them."
            )
        if "double" not in known:
            changes["double"] = False
    if learning.noisy:
        changes |= epsilons_beside_noise(known)
    return with_those_of_preset.replace(**changes)


def epsilons_beside_noise(known: Mapping[str, Any]) -> dict[str, float]:
    """Returns the initial and the final ε with noisy layers: 0, from the initial one to 0, or constantly the final one.

    Args:
        known: The options that are given, by name.
    """
    final = known.get("final_epsilon", 0.0)
    return {"initial_epsilon": known.get("initial_epsilon", final), "final_epsilon": final}
