"""Options from their declarations, those that name tasks, and the format of help texts."""

import argparse
import dataclasses
import json
from collections.abc import Callable
from typing import Any, TypeVar

from mtq.settings import Declaration, option
from mtq.settings.declaration import defaults, facts, fields, help_of, record_given, types_of
from mtq.settings.texts import convert_sequence, element_of

T = TypeVar("T", bound=Declaration)


class _Value(argparse.Action):
    """Stores the value of an option, or True for a flag, and records that the option was given."""

    def __call__(
        self, parser: argparse.ArgumentParser, namespace: argparse.Namespace, values: Any, name: str | None = None
    ) -> None:
        setattr(namespace, self.dest, self.const if self.nargs == 0 else values)
        _record(namespace, self.dest)


class _Switch(argparse.BooleanOptionalAction):
    """Stores a flag that can be switched off, and records that it was given."""

    def __call__(
        self, parser: argparse.ArgumentParser, namespace: argparse.Namespace, values: Any, name: str | None = None
    ) -> None:
        super().__call__(parser, namespace, values, name)
        _record(namespace, self.dest)


def _record(namespace: argparse.Namespace, name: str) -> None:
    namespace.given = {*getattr(namespace, "given", ()), name}


class HelpFormatter(argparse.ArgumentDefaultsHelpFormatter, argparse.RawDescriptionHelpFormatter):
    """Shows the default of every option that has one, and keeps the line breaks of descriptions and epilogs."""

    def _get_help_string(self, action: argparse.Action) -> str | None:
        has_default = action.default is not None and action.default is not False and action.default != ""
        return super()._get_help_string(action) if has_default else action.help


def count(text: str) -> int:
    """Converts the text of an argument to an integer of at least 1.

    Args:
        text: The digits, which may be grouped by `_`.

    Raises:
        ArgumentTypeError: The text is not an integer of at least 1.
    """
    try:
        number = int(text.replace("_", ""))
    except ValueError:
        number = 0
    if number < 1:
        raise argparse.ArgumentTypeError(f"must be an integer of at least 1. Received: {text!r}.")
    return number


@dataclasses.dataclass(frozen=True, kw_only=True)
class TaskOptions(Declaration):
    """Options of the tasks."""

    tasks: str = option()
    """The tasks, separated by commas: names from `mtq tasks`, ids of Atari games such as ALE/Pong-v5, or Gymnasium ids,
    where module:Id imports the module first."""
    env_kwargs: str = option("{}", metavar="JSON")
    """The arguments with which environments are made, by the text of --tasks, such as '{"FrozenLake-v1": {"map_name":
    "8x8"}}'."""
    imports: str = option("", alias="import", metavar="MODULES")
    """The modules to import first, separated by commas, such as one that registers environments."""


def add_options(parser: argparse.ArgumentParser, cls: type) -> None:
    """Adds the options that a dataclass declares, in a group for each class that declares some.

    Args:
        parser: The parser of the command.
        cls: The dataclass.
    """
    groups: dict[type, Any] = {cls: parser}
    for name in sorted(fields(cls), key=lambda name: _declared_by(cls, name) is not cls):
        owner = _declared_by(cls, name)
        if owner not in groups:
            groups[owner] = parser.add_argument_group(_sentence((owner.__doc__ or "").partition("\n")[0]))
        add_option(groups[owner].add_argument, cls, name)


def add_option(add: Callable[..., Any], cls: type, name: str) -> None:
    """Adds one option that a dataclass declares.

    Args:
        add: The `add_argument` of a parser or a group.
        cls: The dataclass.
        name: The name of the option.
    """
    field, (kind, _) = fields(cls)[name], types_of(cls)[name]
    known = facts(field)
    settings: dict[str, Any] = {"dest": name, "default": defaults(cls).get(name), "required": name not in defaults(cls)}
    if kind is bool and settings["default"]:
        settings["action"] = _Switch
    elif kind is bool:
        settings |= {"action": _Value, "nargs": 0, "const": True}
    else:
        settings["action"] = _Value
        settings["type"] = count if kind is int and (known.least or 0) >= 1 else _converter(kind)
        settings["metavar"] = known.metavar or None
        settings["choices"] = known.choices or None
    names = [_as_option(other) for other in (name, known.alias) if other]
    add(*names, **settings, help=_sentence(help_of(cls, name)).replace("%", "%%"))
    if known.former:
        settings |= {"default": argparse.SUPPRESS, "required": False, "help": argparse.SUPPRESS}
        add(_as_option(known.former), **settings)


def _converter(kind: Any) -> Callable[[str], Any]:
    """Returns a function that converts the text of an option; its name is part of argparse's messages."""
    element = element_of(kind)
    if element is None:
        return kind if kind in (int, float) else str

    def sequence(text: str) -> Any:
        return convert_sequence(kind, text)

    sequence.__name__ = f"list of {element.__name__}"
    return sequence


def _declared_by(cls: type, name: str) -> type:
    """Returns the class that has declared an option first, before others gave it other defaults."""
    return next(owner for owner in reversed(cls.__mro__) if name in owner.__dict__.get("__dataclass_fields__", {}))


def _as_option(name: str) -> str:
    return f"--{name.replace('_', '-')}"


def _sentence(docstring: str) -> str:
    """Returns a docstring as help texts are written: without a capital at the start and a full stop at the end."""
    text = docstring.removeprefix("Whether to ").removesuffix(".")
    return text[:1].lower() + text[1:]


def options_of(cls: type[T], parsed: argparse.Namespace) -> T:
    """Returns the options of a dataclass from those that were parsed.

    Args:
        cls: The dataclass.
        parsed: The parsed options.
    """
    options = cls(**{name: getattr(parsed, name) for name in fields(cls)})
    record_given(options, getattr(parsed, "given", ()))
    return options


def import_modules(names: str) -> None:
    """Imports the modules of `--import`.

    Args:
        names: Their names, separated by commas.

    Raises:
        ValueError: A module cannot be imported.
    """
    modules = [*filter(None, map(str.strip, names.split(",")))]
    if modules:
        import mtq

        mtq.tasks.import_environments(*modules)


def parse_tasks(options: Any) -> Any:
    """Creates the tasks of `--tasks`.

    Args:
        options: The options `tasks`, `env_kwargs` and `num_envs`.

    Returns:
        A `mtq.TaskSet`.

    Raises:
        ValueError: A task is unknown, or `--env-kwargs` is not a JSON object with an object for each of some tasks.
    """
    import mtq

    names = [name.strip() for name in options.tasks.split(",")]
    try:
        arguments = json.loads(options.env_kwargs)
    except ValueError:
        arguments = None
    if not isinstance(arguments, dict) or not all(isinstance(of_task, dict) for of_task in arguments.values()):
        raise ValueError(
            "--env-kwargs must be a JSON object with an object of arguments for each task. Received: "
            f'{options.env_kwargs!r}. Write it as in \'{{"FrozenLake-v1": {{"map_name": "8x8"}}}}\'.'
        )
    unknown = [name for name in arguments if name not in names]
    if unknown:
        raise ValueError(f"--env-kwargs must name tasks as --tasks does, {names}. Received: {unknown[0]!r}.")
    return mtq.TaskSet([mtq.suites.task(name, options.num_envs, arguments.get(name)) for name in names])
