"""Presets: named sets of options."""

from collections.abc import Mapping
from typing import Any, TypeVar

from mtq.settings.declaration import Declaration, defaults

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


def with_preset(options: Options) -> Options:
    """Returns options with those of their preset.

    Args:
        options: The options. Those that have their default count as not given.

    Raises:
        ValueError: An option is given with another value than in the preset.
    """
    name = getattr(options, "preset", None)
    if name is None:
        return options
    return options.replace(**expanded(name, changed(options, name)))


def changed(options: Declaration, name: str) -> dict[str, Any]:
    """Returns those options of a preset that have another value than their default.

    Args:
        options: The options.
        name: The name of the preset.
    """
    usual = defaults(options)
    given = {option: getattr(options, option) for option in PRESETS.get(name, ())}
    return {option: value for option, value in given.items() if value != usual[option]}


def expanded(name: str, given: Mapping[str, Any]) -> dict[str, Any]:
    """Returns the options of a preset together with other options.

    Args:
        name: The name of the preset.
        given: The other options.

    Raises:
        ValueError: There is no such preset, or an option is given with another value than in the preset.
    """
    if name not in PRESETS:
        raise ValueError(f"preset must be one of {', '.join(PRESETS)}. Received: {name!r}.")
    for option, value in PRESETS[name].items():
        if option in given and given[option] != value:
            raise ValueError(
                f"{option} must be left out with the preset {name}, whose value is {value!r}. Received: "
                f"{given[option]!r}. Leave one of them out, or give the options of the preset one by one: "
                f"{', '.join(f'{key}={setting}' for key, setting in PRESETS[name].items())}."
            )
    return {**given, **PRESETS[name]}


def resolved(options: Options) -> Options:
    """Returns options with those of their preset, and with defaults that follow from other options.

    Heads other than scalar ones have their own loss, Munchausen targets replace those of Double DQN, and noisy layers
    take the place of random actions.

    Args:
        options: The options. Those that have their default count as not given.

    Raises:
        ValueError: An option contradicts the preset.
    """
    usual, resolved_options = defaults(options), with_preset(options)
    learning: Any = resolved_options
    changes: dict[str, Any] = {}
    if learning.heads != "scalar" and learning.loss == usual["loss"]:
        changes["loss"] = None
    if learning.munchausen and learning.double:
        if learning.preset is not None:
            raise ValueError(
                f"munchausen must be left out with the preset {learning.preset}, which has the targets of Double DQN. "
                "Received: both. Leave out one of them."
            )
        if usual["double"]:
            changes["double"] = False
    epsilons = ("initial_epsilon", "final_epsilon")
    if learning.noisy and all(getattr(learning, name) == usual[name] for name in epsilons):
        changes |= dict.fromkeys(epsilons, 0.0)
    return resolved_options.replace(**changes)
