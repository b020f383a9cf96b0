"""`option` declares an option as the field of a dataclass; `Declaration` is the base of such dataclasses."""

import ast
import dataclasses
import functools
import inspect
import itertools
import textwrap
import types
import typing
from collections.abc import Collection
from typing import Any, Self

_KEY = "mtq"


@dataclasses.dataclass(frozen=True, kw_only=True)
class Facts:
    """What is declared about an option besides its name, type, default and docstring.

    Args:
        least: The smallest value allowed.
        above: The exclusive lower bound.
        most: The largest value allowed.
        choices: The values allowed; by default all.
        alias: A second name, by which command lines and an arm's text may set the option too.
        former: An earlier name, which command lines may still have, but which no help shows.
        metavar: The placeholder of the value in the help of `mtq`.
        passed_to: The part that takes the option as an argument of the same name: `"network"` (`shared_q_network`),
            `"model"` (`MultiTaskDQN`), `"compile"` (`MultiTaskDQN.compile`) or `"experience"` (`Experience`). By
            default none: `mtq/runs/parts.py` says what the option does.
        excludes: The name of another option that must not be given too.
        differs_between_arms: Whether arms of one study may differ in the option.
        affects_results: Whether a run must be resumed with the same value.
        kept: Whether None, the default, stands for a value that mtq chooses. If the option is not given, a run or study
            that is resumed then keeps the value that it was started with, even if mtq would now choose another.
    """

    least: float | None = None
    above: float | None = None
    most: float | None = None
    choices: tuple[str, ...] = ()
    alias: str = ""
    former: str = ""
    metavar: str = ""
    passed_to: str = ""
    excludes: str = ""
    differs_between_arms: bool = True
    affects_results: bool = True
    kept: bool = False


def option(default: Any = dataclasses.MISSING, **declared: Any) -> Any:
    """Declares an option as a field of a `Declaration`. The docstring below the field is the help of the option.

    Args:
        default: The default; without one, the option is required.
        declared: What else is declared about the option; see `Facts`.
    """
    known = Facts(**declared)
    metadata: dict[str, Any] = {_KEY: known}
    if known.alias:
        metadata["alias"] = [known.alias]  # simple_parsing reads this entry and the next
    if known.choices:
        metadata["choices"] = [*known.choices]
    return dataclasses.field(default=default, kw_only=True, metadata=metadata)


@dataclasses.dataclass(frozen=True, kw_only=True)
class Declaration:
    """The base of dataclasses that declare options.

    A subclass that gives an inherited option another default, or another docstring, keeps everything else that was
    declared about it. Options are given by keyword, but for those that a subclass declares as plain fields.

    Example:
        >>> import dataclasses, mtq
        >>> @dataclasses.dataclass(frozen=True)
        ... class Options(mtq.settings.LearningOptions):
        ...     batch_size: int = 64
        >>> Options(n_step=3).batch_size
        64
    """

    def __init_subclass__(cls, **kwargs: Any) -> None:
        super().__init_subclass__(**kwargs)
        for name in inspect.get_annotations(cls):
            inherited = next((own[name] for own in map(_declared, cls.__mro__[1:]) if name in own), None)
            if inherited is None:
                continue
            field = cls.__dict__.get(name, dataclasses.MISSING)
            if not isinstance(field, dataclasses.Field):
                field = dataclasses.field(default=field)
            field.kw_only = True
            field.metadata = types.MappingProxyType({**inherited.metadata, **field.metadata})
            setattr(cls, name, field)

    def __new__(cls, *args: Any, **kwargs: Any) -> Self:
        """Creates the options, and records which of them are given."""
        self = super().__new__(cls)
        positional = [name for name, field in fields(cls).items() if not field.kw_only]
        names = {*positional[: len(args)], *kwargs}
        record_given(self, names if names < set(fields(cls)) else ())
        return self

    def replace(self, **changes: Any) -> Self:
        """Returns a copy with other values, which count as given.

        Args:
            changes: The values that differ, by name.
        """
        new = dataclasses.replace(self, **changes)
        record_given(new, {*names_given(self), *changes})
        return new


def _declared(cls: type) -> dict[str, dataclasses.Field]:
    return cls.__dict__.get("__dataclass_fields__", {})


def facts(field: dataclasses.Field) -> Facts:
    """Returns what is declared about an option.

    Args:
        field: The field of the option; one that `option` has not made has no bounds, aliases and so on.
    """
    return field.metadata.get(_KEY, Facts())


def fields(cls: Any) -> dict[str, dataclasses.Field]:
    """Returns the fields of a declaration's options, by name.

    Args:
        cls: The class, or an instance of it.
    """
    return {field.name: field for field in dataclasses.fields(cls)}


def defaults(cls: Any) -> dict[str, Any]:
    """Returns the defaults of a declaration's options, by name, but for options that are required.

    Args:
        cls: The class, or an instance of it.
    """
    found = {}
    for name, field in fields(cls).items():
        if field.default is not dataclasses.MISSING:
            found[name] = field.default
        elif field.default_factory is not dataclasses.MISSING:
            found[name] = field.default_factory()
    return found


def chosen(options: Any) -> list[str]:
    """Returns the names of the options that are not given and for which mtq chooses a value.

    Args:
        options: The options, an instance of a `Declaration`.
    """
    return [name for name, field in fields(options).items() if facts(field).kept and getattr(options, name) is None]


def other_names(cls: Any) -> dict[str, str]:
    """Returns the names of options by their aliases and former names.

    Args:
        cls: The class, or an instance of it.
    """
    return {
        other: name
        for name, field in fields(cls).items()
        for other in (facts(field).alias, facts(field).former)
        if other and other not in fields(cls)
    }


def arguments(options: Any, part: str) -> dict[str, Any]:
    """Returns the options that a part takes as arguments, by name.

    Args:
        options: The options, an instance of a `Declaration`.
        part: The part: `"network"`, `"model"`, `"compile"` or `"experience"`.
    """
    return {name: getattr(options, name) for name, field in fields(options).items() if facts(field).passed_to == part}


def given(options: Any) -> dict[str, Any]:
    """Returns the options that were given, by name: also those whose value is their default.

    If all options were given at once, as `dataclasses.replace` gives them, those with their default count as not given.

    Args:
        options: The options, an instance of a `Declaration`.
    """
    names = {*names_given(options), *changed(options)}
    return {name: value for name, value in values(options).items() if name in names}


def changed(options: Any) -> dict[str, Any]:
    """Returns the options that have another value than their default, by name.

    Args:
        options: The options, an instance of a `Declaration`.
    """
    usual = defaults(options)
    return {name: value for name, value in values(options).items() if name not in usual or value != usual[name]}


def values(options: Any) -> dict[str, Any]:
    """Returns the values of all options, by name.

    Args:
        options: The options, an instance of a `Declaration`.
    """
    return {name: getattr(options, name) for name in fields(options)}


def record_given(options: Declaration, names: Collection[str]) -> None:
    """Records which of new options were given.

    Args:
        options: The options.
        names: The names of those that were given.
    """
    object.__setattr__(options, "_given", frozenset(names))


def names_given(options: Any) -> frozenset[str]:
    """Returns the names of the options that were given; none if all were given at once.

    Args:
        options: The options, an instance of a `Declaration`.
    """
    return options.__dict__.get("_given", frozenset())


@functools.cache
def types_of(cls: Any) -> dict[str, tuple[Any, bool]]:
    """Returns the type of each option, and whether it may be None, by name.

    Args:
        cls: The class.
    """
    found = {}
    for name, hint in typing.get_type_hints(cls).items():
        members = typing.get_args(hint) if typing.get_origin(hint) in (types.UnionType, typing.Union) else (hint,)
        kinds = [member for member in members if member is not types.NoneType]
        found[name] = kinds[0] if len(kinds) == 1 else Any, len(kinds) < len(members)
    return found


def help_of(cls: type, name: str) -> str:
    """Returns the docstring below an option's field, in one line; that of a base if the class gives only a default.

    Args:
        cls: The class.
        name: The name of the option.
    """
    return next((own[name] for own in map(_docstrings, cls.__mro__) if name in own), "")


@functools.cache
def _docstrings(cls: type) -> dict[str, str]:
    """Returns the docstrings below the fields of a class in its source, in one line each; none without the source."""
    try:
        (definition,) = ast.parse(textwrap.dedent(inspect.getsource(cls))).body
    except (OSError, TypeError, SyntaxError):
        return {}
    body = definition.body if isinstance(definition, ast.ClassDef) else []
    return {
        field.target.id: " ".join(below.value.value.split())
        for field, below in itertools.pairwise(body)
        if isinstance(field, ast.AnnAssign) and isinstance(field.target, ast.Name)
        if isinstance(below, ast.Expr) and isinstance(below.value, ast.Constant) and isinstance(below.value.value, str)
    }


def documented(cls: type) -> type:
    """Lists the options of a dataclass in its docstring, as arguments. A decorator.

    Args:
        cls: The class, whose docstring says `{options}` where the arguments stand.
    """
    if cls.__doc__ is not None:
        lines = [f"    {name}: {help_of(cls, name)}" for name in fields(cls)]
        cls.__doc__ = cls.__doc__.replace("{options}", "\n    ".join(["Args:", *lines]))
    return cls
