"""Checks the config of a task that was read from a file, before the task is created."""

import dataclasses
import math
from collections.abc import Mapping
from typing import Any

from mtq.checks import is_real, is_whole
from mtq.storage.trust import named_in_file
from mtq.tasks.spec import TaskSpec

_DTYPES = ("float32", "uint8")
_MOST_NUMBERS = 2**28  # the most numbers in one observation: a gigabyte of float32
_MOST_ACTIONS = 2**20
_MOST_COPIES = 2**20
_LONGEST_ID = 1_000
_LARGEST = 10**18  # the largest integer; far larger ones cannot be converted to floats
_REMEDY = "Save the tasks again with mtq, or create them in Python."


def task_arguments(config: Any, known: Mapping[str, bool]) -> dict[str, Any]:
    """Checks the config of a task and converts it to the arguments of `Task`.

    Args:
        config: The config, as read from a file.
        known: A mapping from the name of each argument of `Task` to whether the config must have it.

    Returns:
        A dict from the names of arguments to their values.

    Raises:
        ValueError: A field is missing, unknown or invalid.
    """
    if not isinstance(config, Mapping):
        raise ValueError(f"The config of a task must be a dict. Received: {_short(config)}. {_REMEDY}")
    role = f"the config of task {_short(config.get('name'))}"
    _check_keys(role, config, known)
    environment = config["environment"]
    if environment is not None and not (isinstance(environment, str) and 0 < len(environment) <= _LONGEST_ID):
        raise _field("environment", role, "the id of an environment, or null", environment)
    if not isinstance(config["name"], str):
        raise _field("name", role, "a string", config["name"])
    if "num_envs" in config and not (is_whole(config["num_envs"]) and 1 <= config["num_envs"] <= _MOST_COPIES):
        raise _field("num_envs", role, f"an integer from 1 to {_MOST_COPIES:,}", config["num_envs"])
    if not isinstance(config.get("env_kwargs", {}), Mapping):
        raise _field("env_kwargs", role, "a dict", config["env_kwargs"])
    if not isinstance(config.get("action_mask"), bool | None):
        raise _field("action_mask", role, "true, false or null", config["action_mask"])
    for name, value in config.items():
        if is_whole(value) and abs(value) > _LARGEST:
            raise _field(name, role, f"at most {_LARGEST:,}", value)
    spec = _spec(config["spec"], role)
    if config.get("action_mask") not in (None, spec.has_action_mask):
        raise _field("action_mask", role, f"has_action_mask of its spec, {spec.has_action_mask}", config["action_mask"])
    return {
        "frame_stack": 1,  # that of files of earlier versions
        **config,
        "environment": None if environment is None else named_in_file(environment),
        "spec": spec,
    }


def listed_tasks(config: Any) -> list[Any]:
    """Extracts the configs of the tasks from the config of a TaskSet.

    Args:
        config: The config of the TaskSet, as read from a file.

    Returns:
        The configs of its tasks, unchecked.

    Raises:
        ValueError: The config does not hold a list of tasks.
    """
    tasks = config.get("tasks") if isinstance(config, Mapping) else None
    if not isinstance(tasks, list | tuple):
        raise ValueError(f"tasks in the config of a TaskSet must be a list. Received: {_short(config)}. {_REMEDY}")
    return list(tasks)


def _spec(spec: Any, role: str) -> TaskSpec:
    if not isinstance(spec, Mapping):
        raise _field("spec", role, "a dict", spec)
    required = {field.name: field.default is dataclasses.MISSING for field in dataclasses.fields(TaskSpec)}
    _check_keys(f"spec in {role}", spec, required)
    shape = spec["observation_shape"]
    if not isinstance(shape, list | tuple) or not 0 < len(shape) < 16 or not all(is_whole(n) and n > 0 for n in shape):
        raise _field("observation_shape", role, "a list of integers of at least 1", shape)
    if math.prod(shape) > _MOST_NUMBERS:
        raise _field("observation_shape", role, f"a shape of at most {_MOST_NUMBERS:,} numbers", shape)
    if spec["observation_dtype"] not in _DTYPES:
        raise _field("observation_dtype", role, f"one of {list(_DTYPES)}", spec["observation_dtype"])
    for bound in ("observation_high", "observation_low"):
        given = spec.get(bound)
        numbers: list[Any] = list(given) if isinstance(given, list | tuple) else [given]
        has_length = not isinstance(given, list | tuple) or len(given) == shape[-1]
        if given is not None and not (has_length and all(is_real(n) and abs(n) < 1e300 for n in numbers)):
            raise _field(bound, role, "a finite number, one for each entry of the last axis, or null", given)
    if not is_whole(spec.get("first_action", 0)):
        raise _field("first_action", role, "an integer", spec["first_action"])
    if not is_whole(spec["num_actions"]) or not 1 <= spec["num_actions"] <= _MOST_ACTIONS:
        raise _field("num_actions", role, f"an integer from 1 to {_MOST_ACTIONS:,}", spec["num_actions"])
    frames = spec.get("frame_stack", 1)
    if not is_whole(frames) or frames < 1 or shape[-1] % frames:
        raise _field("frame_stack", role, "an integer of at least 1 that divides the last axis", frames)
    if not _are_parts(spec.get("parts", ()), shape, frames):
        must = "a list of names and shapes, which together have as many numbers as a frame"
        raise _field("parts", role, must, spec["parts"])
    for flag in ("in_graph", "has_action_mask"):
        if not isinstance(spec.get(flag, False), bool):
            raise _field(flag, role, "true or false", spec[flag])
    whole = {"observation_shape": tuple(int(n) for n in shape), "num_actions": int(spec["num_actions"])}
    return TaskSpec(**{**spec, **whole})


def _are_parts(parts: Any, shape: Any, frames: int) -> bool:
    """Returns whether these are the parts of observations of a shape."""
    if not isinstance(parts, list | tuple) or not all(
        isinstance(part, list | tuple) and len(part) == 2 for part in parts
    ):
        return False
    names, shapes = [name for name, _ in parts], [axes for _, axes in parts]
    have_names = all(isinstance(name, str) for name in names) and len(set(names)) == len(names)
    if not have_names or not all(isinstance(axes, list | tuple) and axes for axes in shapes):
        return False
    if not all(is_whole(n) and n > 0 for axes in shapes for n in axes):
        return False
    return not parts or (len(shape) == 1 and sum(map(math.prod, shapes)) * frames == shape[0])


def _check_keys(role: str, config: Mapping[str, Any], known: Mapping[str, bool]) -> None:
    missing = [name for name, is_required in known.items() if is_required and name not in config]
    if missing:
        raise ValueError(f"{missing[0]} in {role} must be given. Received: {_short(list(config))}. {_REMEDY}")
    unknown = [name for name in config if name not in known]
    if unknown:
        raise ValueError(
            f"Each field of {role} must be one of {list(known)}. Received: {_short(unknown[0])}. {_REMEDY}"
        )


def _field(field: str, role: str, must: str, value: Any) -> ValueError:
    return ValueError(f"{field} in {role} must be {must}. Received: {_short(value)}. {_REMEDY}")


def _short(value: Any) -> str:
    try:
        text = repr(value)
    except ValueError:  # an integer with more digits than Python converts to text
        text = "a number of thousands of digits"
    return text if len(text) < 200 else f"{text[:200]}…"
