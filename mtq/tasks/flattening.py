"""Flattens Dict, Tuple and discrete observations to one vector, after checking each part."""

from collections.abc import Mapping
from typing import Any

import gymnasium
import numpy as np
from gymnasium import spaces
from gymnasium.wrappers import FlattenObservation

from mtq.errors import InvalidAnswerError


class CheckedFlattening(FlattenObservation):
    """Flattens observations as `FlattenObservation` does, and rejects those outside the declared observation space.

    Gymnasium's own wrapper reads 300 as 44 in a uint8 part, and the category −1 as the last category.

    Args:
        env: The environment.
        name: The task's name, for messages.
    """

    def __init__(self, env: gymnasium.Env, name: str) -> None:
        super().__init__(env)
        self._name = name

    def observation(self, observation: Any) -> Any:
        """Checks and flattens an observation."""
        self._check(self.env.observation_space, observation, "the observation")
        return super().observation(observation)

    def _check(self, space: spaces.Space, value: Any, where: str) -> None:
        if isinstance(space, spaces.Dict):
            if not isinstance(value, Mapping) or set(value) != set(space.spaces):
                found = sorted(map(str, value)) if isinstance(value, Mapping) else type(value).__name__
                raise self._wrong(where, f"a dict of {sorted(space.spaces)}", found)
            for key, part in space.spaces.items():
                self._check(part, value[key], f"{where.removeprefix('the ')}[{key!r}]")
        elif isinstance(space, spaces.Tuple):
            if not isinstance(value, tuple | list) or len(value) != len(space.spaces):
                found = f"{len(value)} parts" if isinstance(value, tuple | list) else type(value).__name__
                raise self._wrong(where, f"a tuple of {len(space.spaces)} parts", found)
            for number, part in enumerate(space.spaces):
                self._check(part, value[number], f"{where.removeprefix('the ')}[{number}]")
        else:
            self._check_array(space, value, where)

    def _check_array(self, space: spaces.Space, value: Any, where: str) -> None:
        try:
            array = np.asarray(value)
        except (ValueError, TypeError) as error:
            raise self._wrong(where, f"in {space}", f"a value that is not an array ({error})") from None
        shape = (1,) if isinstance(space, spaces.Discrete) and array.shape == (1,) else space.shape
        if array.dtype.kind not in "fiub" or array.shape != shape:
            raise self._wrong(where, f"in {space}", f"an array of shape {array.shape} and type {array.dtype}")
        if isinstance(space, spaces.Box):
            if space.dtype.kind == "f":
                return
            low, high = space.low, space.high
            is_integer = array.dtype.kind != "f" or np.array_equal(array, np.floor(array))
        else:
            first = getattr(space, "start", 0)
            number = 2 if isinstance(space, spaces.MultiBinary) else getattr(space, "nvec", getattr(space, "n", 1))
            low, high, is_integer = first, first + number - 1, array.dtype.kind != "f"
        if not is_integer or not ((array >= low) & (array <= high)).all():
            raise self._wrong(where, f"in {space}", f"{array.dtype} {array.tolist()}"[:100])

    def _wrong(self, where: str, wanted: str, found: Any) -> InvalidAnswerError:
        return InvalidAnswerError(
            f"The environment of task '{self._name}' must return observations in its observation_space: {where} must "
            f"be {wanted}. Received: {found}. Fix the observation_space, or the values that reset and step return."
        )
