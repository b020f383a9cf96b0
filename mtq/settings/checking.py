"""Checks of options: their ranges, and options that contradict each other."""

from collections.abc import Collection, Mapping
from typing import Any

from mtq.checks import flag, integer, real
from mtq.settings.declaration import Declaration, Facts, defaults, facts, fields, given, types_of


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


def check_effects(options: Any, among: Collection[str] | None = None) -> None:
    """Raises a ValueError if an option is given that has no effect because of the values of others.

    Args:
        options: The options, with all defaults filled in.
        among: The names of the options to check; by default all that are given.
    """
    for name, reason in without_effect(options).items():
        if among is None or name in among:
            raise ValueError(
                f"{name} must be left out if {reason}. Received: {name}={getattr(options, name)} with ε = "
                f"{options.final_epsilon}. Leave it out, or give another initial_epsilon."
            )


def without_effect(options: Any) -> dict[str, str]:
    """Returns the options that are given but have no effect because of the values of others, and why.

    Args:
        options: The options, with all defaults filled in.
    """
    known, found = given(options), {}
    noise = ", as by default with noisy layers" if options.noisy else ""
    if "exploration_steps" in known and options.initial_epsilon == options.final_epsilon:
        found["exploration_steps"] = f"the initial and the final ε are equal{noise}"
    if known.get("repeat_exponent") is not None and options.initial_epsilon == options.final_epsilon == 0:
        found["repeat_exponent"] = f"no action is random, because the initial and the final ε are 0{noise}"
    return found


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


def check_contradictions(options: Declaration, known: Mapping[str, Any] | None = None) -> None:
    """Raises a ValueError if two options are given of which only one can have an effect.

    Args:
        options: The options.
        known: The options that are given, by name; by default `given(options)`.
    """
    known = given(options) if known is None else known
    for name, other in _exclusive(options):
        if _is_set(known, name) and _is_set(known, other):
            raise ValueError(
                f"{name} and {other} must not be given together, because only one of them can have an effect. "
                f"Received: {known[name]!r} and {known[other]!r}. Leave one of them out."
            )


def replaced_by(options: Declaration, changes: Mapping[str, Any]) -> dict[str, Any]:
    """Returns the defaults of options that have no effect beside others, which take their place.

    Args:
        options: The options before the change.
        changes: The other options, by name.
    """
    usual = defaults(options)
    pairs = [pair for one, other in _exclusive(options) for pair in ((one, other), (other, one))]
    return {other: usual[other] for name, other in pairs if _is_set(changes, name) and other not in changes}


def _exclusive(options: Declaration) -> list[tuple[str, str]]:
    return [(name, facts(field).excludes) for name, field in fields(options).items() if facts(field).excludes]


def _is_set(known: Mapping[str, Any], name: str) -> bool:
    return known.get(name) not in (None, False)
