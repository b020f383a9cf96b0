"""Values of options that are written as text."""

import typing
from typing import Any

from mtq.settings.declaration import Facts, facts, fields, types_of

_FLAGS = {"true": True, "false": False}


def arm_parts(cls: type) -> dict[str, str]:
    """Returns the names by which an arm's text sets options, with the names of the options.

    Args:
        cls: The declaration of the options.
    """
    names = {}
    for name, field in fields(cls).items():
        if facts(field).differs_between_arms:
            names.update(dict.fromkeys(filter(None, (name, facts(field).alias)), name))
    return names


def described_parts(cls: type) -> str:
    """Returns the names by which an arm's text sets options, as a list for messages and help.

    Args:
        cls: The declaration of the options.
    """
    shown: dict[str, tuple[Any, Facts]] = {
        name: (types_of(cls)[name][0], facts(field))
        for name, field in fields(cls).items()
        if facts(field).differs_between_arms
    }
    letters = {int: "N", float: "R", bool: ""}
    return ", ".join(
        f"{known.alias or name}{'=' if kind is not bool else ''}{letters.get(kind, 'NAME')}"
        for name, (kind, known) in shown.items()
    )


def convert(cls: type, name: str, text: str) -> Any:
    """Converts the text of a value to an option's type.

    Args:
        cls: The declaration of the option.
        name: The name of the option.
        text: The text. An empty one means that a flag is set; `none` is None if the option may be None.

    Raises:
        ValueError: The text is not a value of the option's type.
    """
    kind, may_be_none = types_of(cls)[name]
    if may_be_none and text.lower() == "none":
        return None
    if kind is bool:
        return _flag(text)
    if not text:
        raise ValueError(f"{name} must be given a value.")
    if element_of(kind) is not None:
        return convert_sequence(kind, text)
    return kind(text) if kind in (int, float) else text


def element_of(kind: Any) -> Any:
    """Returns the type of the entries of a list or tuple; None for another type.

    Args:
        kind: The type of an option.
    """
    return typing.get_args(kind)[0] if typing.get_origin(kind) in (list, tuple) else None


def convert_sequence(kind: Any, text: str) -> Any:
    """Converts entries that are separated by commas to a list or a tuple.

    Args:
        kind: The type of the option.
        text: The text of the entries.

    Raises:
        ValueError: An entry is not of the type of the entries.
    """
    entries = [entry.strip() for entry in text.split(",")]
    return typing.get_origin(kind)(element_of(kind)(entry) for entry in entries)


def _flag(text: str) -> bool:
    if text and text.lower() not in _FLAGS:
        raise ValueError(f"A flag must be true or false. Received: {text!r}.")
    return _FLAGS.get(text.lower(), True)
