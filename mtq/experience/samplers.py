"""Samplers by name: which stored transitions a batch consists of. `mtq.samplers` is this module."""

import functools
from collections.abc import Callable, Mapping
from typing import Any, TypeAlias

import keras

from mtq.experience.prioritized_sampler import PrioritizedSampler as Prioritized
from mtq.experience.sampler import Sampler, Selection
from mtq.experience.sampler import UniformSampler as Uniform
from mtq.pluggable import ensure_instance, lookup
from mtq.tasks import TaskSet

__all__ = ["Prioritized", "Sampler", "Selection", "Uniform", "deserialize", "get", "names", "serialize"]

MakeSampler: TypeAlias = Callable[[], Sampler]
Samplers: TypeAlias = str | Sampler | MakeSampler | Mapping[str, Any] | None

_BY_NAME: dict[str, type[Sampler]] = {"prioritized": Prioritized, "uniform": Uniform}


def names() -> list[str]:
    """Returns the names that `get` accepts, sorted."""
    return sorted(_BY_NAME)


def get(identifier: str | Sampler | Mapping[str, Any]) -> Sampler:
    """Returns a sampler, given its name, its config or the object itself.

    Args:
        identifier: A name such as `"prioritized"`, a `Sampler`, or the config of one.

    Returns:
        The sampler.

    Raises:
        ValueError: The identifier is not a sampler, its config, or a known name.

    Example:
        >>> import mtq
        >>> mtq.samplers.get("prioritized").alpha
        0.6
    """
    if isinstance(identifier, str):
        return lookup("sampler", identifier, _BY_NAME)()
    return ensure_instance("sampler", identifier, Sampler)


def serialize(sampler: Sampler) -> dict[str, Any]:
    """Returns the config from which `deserialize` recreates a sampler.

    Args:
        sampler: The sampler.
    """
    return keras.saving.serialize_keras_object(sampler)


def deserialize(config: dict[str, Any]) -> Sampler:
    """Creates a sampler from its config.

    Args:
        config: The config that `serialize` returned.

    Returns:
        The sampler.

    Raises:
        ValueError: The config is not that of a sampler.
    """
    return get(config)


def by_task(samplers: Samplers, tasks: TaskSet) -> dict[str, MakeSampler]:
    """Returns for each task the function that makes the sampler of one replay buffer.

    Args:
        samplers: A name, a sampler, its config, a function without arguments that returns a sampler, or a dict of them
            by task. None for uniform sampling.
        tasks: The tasks.

    Raises:
        ValueError: A task has no entry, an entry has no task, or an entry is none of these.
    """
    given: Mapping[str, Any] = dict.fromkeys(tasks, "uniform" if samplers is None else samplers)
    if isinstance(samplers, Mapping) and "class_name" not in samplers:
        if set(samplers) != set(tasks):
            raise ValueError(
                f"sampler must have an entry for each task and no others. Received: {sorted(samplers)}, for the tasks "
                f"{list(tasks)}. Pass one sampler for all tasks, or one for each."
            )
        given = samplers
    return {name: _maker(given[name]) for name in tasks}


def _maker(identifier: Any) -> MakeSampler:
    """Returns the function that makes a new sampler at each call."""
    if callable(identifier) and not isinstance(identifier, Sampler):
        return functools.partial(_made_by, identifier)
    if not isinstance(identifier, str | Sampler | Mapping):
        raise ValueError(
            "sampler of experience must be a name, a Sampler, a function or class that returns one, or a dict of them "
            f"by task. Received: {identifier!r}. Pass one of {names()}, for example."
        )
    sampler = get(identifier)  # type: ignore[arg-type]
    if sampler.is_built:
        raise ValueError(
            "sampler of experience must be one that no replay buffer uses, because each has a sampler of its own. "
            f"Received: a {type(sampler).__name__} that was built. Make another one."
        )
    config = sampler.get_config()
    return lambda: type(sampler).from_config(config)


def _made_by(function: MakeSampler) -> Sampler:
    sampler = function()
    if not isinstance(sampler, Sampler):
        raise ValueError(
            f"sampler must be a function without arguments that returns a Sampler. Received: one that returned "
            f"{sampler!r}. Pass a class that derives from mtq.samplers.Sampler, for example."
        )
    return sampler
