"""Recognizes environments that follow an older interface than Gymnasium's, by the exceptions that they raise."""

import re
import traceback
from pathlib import Path

import gymnasium

_SEED = re.compile(r"unexpected keyword argument 'seed'|missing 1 required (positional|keyword-only) argument: 'seed'")
_UNPACK = re.compile(r"(not enough|too many) values to unpack \(expected (2|5)")


def explained(name: str, error: BaseException) -> ValueError | None:
    """Explains the exception of an environment whose `reset` or `step` has another signature than Gymnasium's.

    Args:
        name: The task's name, for the message.
        error: The exception that `reset` or `step` raised.

    Returns:
        An error that names the remedy, or None if the exception has another cause.
    """
    if isinstance(error, TypeError) and _SEED.search(str(error)):
        return ValueError(
            f"The environment of task '{name}' must take a seed in reset. Received: {error}. "
            "Define `def reset(self, *, seed=None, options=None)`, and call super().reset(seed=seed) first."
        )
    match = _UNPACK.match(str(error)) if isinstance(error, ValueError) and _is_from_gymnasium(error) else None
    if match is None:
        return None
    if match[2] == "5":
        return ValueError(
            f"The environment of task '{name}' must return five values from step: observation, reward, terminated, "
            f"truncated, info. Received: {match[1]} values for one of Gymnasium's wrappers. Split `done` into "
            "terminated and truncated, or wrap an old environment in shimmy's GymV21."
        )
    return ValueError(
        f"The environment of task '{name}' must return an observation and a dict of infos from reset. Received: "
        f"{match[1]} values for one of Gymnasium's wrappers. End reset with `return observation, {{}}`, as "
        "Gymnasium's environments do since 0.26."
    )


def _is_from_gymnasium(error: BaseException) -> bool:
    frames = traceback.extract_tb(error.__traceback__)
    return bool(frames) and Path(gymnasium.__file__).parent in Path(frames[-1].filename).parents
