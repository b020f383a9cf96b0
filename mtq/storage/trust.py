"""Protection against files that name modules, which are not imported unless the user trusts the file."""

import contextlib
import contextvars
import importlib
import re
from collections.abc import Iterator, Mapping
from typing import Any

imported: list[str] = []  # the modules that the user has named in import_environments
_MODULE_AND_ID = re.compile(r"([^:/\s]+):(?!/)")  # as gymnasium.make splits them; not a URL
_TRUSTING = contextvars.ContextVar("mtq_trusting_imports", default=False)


class NamedInFile(str):
    """The id of an environment that was read from a file rather than written in the user's code.

    The id keeps this type when a task is copied, pickled or changed by `dataclasses.replace`, and when the id is given
    to another task.
    """

    __slots__ = ()


@contextlib.contextmanager
def trusting_imports() -> Iterator[None]:
    """Allows files to name environments as `"module:Id"`, whose module is then imported, within a `with` block.

    Use the block around the loading of the file, or around the code that creates the environments. Importing a module
    runs its code: trust a file only if you would run a program by its author.

    Example:
        ```python
        with mtq.tasks.trusting_imports():
            model = keras.models.load_model("runs/mine/best.keras")
        ```
    """
    token = _TRUSTING.set(True)
    try:
        yield
    finally:
        _TRUSTING.reset(token)


def named_in_file(environment: str) -> str:
    """Marks an environment id as read from a file, unless imports are trusted.

    Args:
        environment: The id of the environment.

    Returns:
        The id, as a `NamedInFile` unless imports are trusted.
    """
    return str(environment) if _TRUSTING.get() else NamedInFile(environment)


def check_import(name: str, environment: str, env_kwargs: Mapping[str, Any]) -> None:
    """Raises a ValueError for an environment id from a file that would import a module.

    Args:
        name: The task's name, for the message.
        environment: The id of the task's environment.
        env_kwargs: The arguments with which it is made, which may hold ids that its constructor makes.

    Raises:
        ValueError: The id was read from a file and names a module, and imports are not trusted.
    """
    if not isinstance(environment, NamedInFile) or _TRUSTING.get():
        return
    for role, text in (("environment", str(environment)), *(("env_kwargs", text) for text in _texts(env_kwargs))):
        found = _MODULE_AND_ID.match(text)
        if found is None or found[1] in imported:
            continue
        subject = f"The environment of task '{name}'" if role == "environment" else f"Each id in env_kwargs of '{name}'"
        raise ValueError(
            f"{subject} must be a registered id, because it was read from a file. Received: {text!r}, which would "
            "import a module and run its code. If you trust the file, load it within `with "
            "mtq.tasks.trusting_imports():` (--trust-imports); or pass your own tasks as tasks=."
        )


def import_environments(*modules: str) -> None:
    """Imports modules that register environments, also in the worker processes of studies.

    Args:
        *modules: The names of the modules. Files may then name their environments, `"module:Id"`.

    Raises:
        ValueError: A module cannot be imported.
    """
    for module in modules:
        import_module(module)
        if module not in imported:
            imported.append(module)


def import_module(module: str) -> None:
    """Imports a module.

    Args:
        module: Its name.

    Raises:
        ValueError: The module cannot be imported.
    """
    try:
        importlib.import_module(module)
    except Exception as error:
        raise ValueError(
            f"The module {module!r} must be one that can be imported. Received: {type(error).__name__}: {error}. "
            "Check its name, and that its folder is the current one or on PYTHONPATH."
        ) from error


def _texts(value: Any) -> Iterator[str]:
    if isinstance(value, str):
        yield value
    elif isinstance(value, Mapping):
        for key, inner in value.items():
            yield from _texts(key)
            yield from _texts(inner)
    elif isinstance(value, list | tuple):
        for inner in value:
            yield from _texts(inner)
