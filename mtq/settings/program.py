"""Options of a program, such as a recipe, from its command line."""

import sys
import types
from collections.abc import Mapping, Sequence
from typing import TypeVar

from mtq.settings.declaration import Declaration, fields, help_of, other_names, record_given

T = TypeVar("T")


def parse(cls: type[T], arguments: Sequence[str] | None = None) -> T:
    """Parses the options of a program whose options a dataclass declares; `--help` shows their docstrings.

    Args:
        cls: The dataclass.
        arguments: The arguments of the program; by default those of the process. Names may be written with `-` or `_`.
    """
    import simple_parsing

    for name, field in fields(cls).items():  # simple_parsing by itself reads docstrings below fields of one line only
        field.metadata = types.MappingProxyType({**field.metadata, "help": help_of(cls, name)})
    renamed = other_names(cls)
    texts = [_as_declared(text, renamed) for text in (sys.argv[1:] if arguments is None else arguments)]
    options = simple_parsing.parse(cls, args=texts)
    if isinstance(options, Declaration):
        begun = [text[2:].partition("=")[0] for text in texts if text.startswith("--")]
        record_given(options, [_in_full(name, [*fields(cls)]) for name in begun])
    return options


def _in_full(name: str, known: Sequence[str]) -> str:
    """Returns the name of an option, of which the program may have been given the beginning only."""
    return name if name in known else next((other for other in known if other.startswith(name)), name)


def _as_declared(text: str, renamed: Mapping[str, str]) -> str:
    """Returns an argument of a program as `simple_parsing` expects it, if it is the name of an option."""
    if not text.startswith("--"):
        return text
    name, is_assigned, value = text[2:].partition("=")
    name = name.replace("-", "_")
    return f"--{renamed.get(name, name)}{is_assigned}{value}"
