"""Checks of options: their ranges, and options that contradict each other."""

from typing import Any

from mtq.checks import flag, integer, real
from mtq.settings.declaration import Declaration, Facts, facts, fields, given, types_of


def check(options: Declaration, of: str = "") -> dict[str, Any]:
    """Checks the ranges of options.

    Args:
        options: The options.
        of: What the options belong to, such as `" of a study"`, for messages.

    Returns:
        The numbers and flags as Python's own types, by name.

    Raises:
        ValueError: An option is out of its range.
    """
    cls: Any = type(options)
    checked = {}
    for name, field in fields(cls).items():
        kind, may_be_none = types_of(cls)[name]
        value = getattr(options, name)
        if value is None and may_be_none:
            continue
        checked[name] = _checked(f"{name}{of}", kind, value, facts(field))
    return checked


def check_effects(options: Any) -> None:
    """Raises a ValueError if an option is given that has no effect because of the values of others.

    Args:
        options: The options, with all defaults filled in.
    """
    if "exploration_steps" in given(options) and options.initial_epsilon == options.final_epsilon:
        raise ValueError(
            "exploration_steps must be left out if the initial and the final ε are equal, as they are by default with "
            f"noisy layers. Received: exploration_steps={options.exploration_steps} with ε = {options.final_epsilon}. "
            "Leave it out, or give another initial_epsilon."
        )


def _checked(role: str, kind: Any, value: Any, known: Facts) -> Any:
    if kind is bool:
        return flag(role, value)
    if kind is int:
        return integer(role, value, least=int(known.least or 0))
    if kind is float:
        return real(role, value, least=known.least, most=known.most, above=known.above)
    if known.choices and value not in known.choices:
        raise ValueError(f"{role} must be one of {', '.join(known.choices)}. Received: {value!r}.")
    return value


def check_contradictions(options: Declaration) -> None:
    """Raises a ValueError if two options are given of which only one can have an effect.

    Args:
        options: The options.
    """
    known = given(options)
    for name, field in fields(options).items():
        other = facts(field).excludes
        if other and all(known.get(of_both) not in (None, False) for of_both in (name, other)):
            raise ValueError(
                f"{name} and {other} must not be given together, because only one of them can have an effect. "
                f"Received: {known[name]!r} and {known[other]!r}. Leave one of them out."
            )
