"""Observations as mtq takes them: one array each, and how a network brings them to `[0, 1]`.

What is scaled follows from the type and the bounds that a space announces:

- Integers and bools are, by the bounds of each entry of the last axis: of each channel of an image, of each entry of a
  vector. Vectors without bounds are not; images without bounds are refused.
- Floats from 0 to 255 in all entries are. So are images of floats (three axes or more) with finite bounds beyond
  `[−1, 1]`. Other floats are taken to have the scale that they should have.
- Of a Dict or Tuple, each part as if it were alone. One-hot vectors are as they should be.
"""

import math
from collections.abc import Iterator
from typing import Any

import gymnasium
import numpy as np
from gymnasium import spaces
from gymnasium.wrappers import FlattenObservation

Bound = float | tuple[float, ...] | None
EXACT = 2**24  # integers up to it are told apart by float32
_ONE_HOT = (spaces.Discrete, spaces.MultiDiscrete, spaces.MultiBinary)


def as_one_array(name: str, environment: gymnasium.Env) -> gymnasium.Env:
    """Brings an environment's observations to one array, if they are not.

    A Discrete space becomes a one-hot vector, Dicts and Tuples of vectors become one vector.

    Args:
        name: The task's name, for messages.
        environment: A Gymnasium environment.

    Raises:
        ValueError: The observations are not of fixed shape, or an image would lose its shape.
    """
    space = environment.observation_space
    parts = list(_parts(space))
    check_shape(name, (len(parts),), space)
    for where, part in parts:
        if not isinstance(part, (spaces.Box, *_ONE_HOT)):
            raise ValueError(
                f"The observation of task '{name}' must be one array of fixed shape. Received: {space}, where "
                f"{where or 'it'} is a {type(part).__name__}. Leave that out or make an array of it, in a "
                "gymnasium.wrappers.FilterObservation or TransformObservation (for MiniGrid: "
                "minigrid.wrappers.ImgObsWrapper or FlatObsWrapper)."
            )
    for where, part in parts:
        if where and isinstance(part, spaces.Box) and len(part.shape) > 1:
            raise ValueError(
                f"The parts of the observation of task '{name}' must be vectors: a Dict or Tuple becomes one vector, "
                f"in which {where} would lose its shape {part.shape}. Received: {space}. Take out what should be seen, "
                f"such as gymnasium.wrappers.TransformObservation(env, lambda observation: {where}, "
                f"env.observation_space{where.removeprefix('observation')}), or flatten that part yourself."
            )
    return environment if isinstance(space, spaces.Box) else FlattenObservation(environment)


def read_box(name: str, environment: gymnasium.Env) -> tuple[tuple[int, ...], str, Bound, Bound]:
    """The shape, type, and lower and upper bounds of an environment's observations.

    Args:
        name: The task's name, for messages.
        environment: From `as_one_array`.

    Returns:
        The shape, `"float32"` or `"uint8"`, the upper bounds and the lower bounds by which a network scales.

    Raises:
        ValueError: There are no numbers in an observation, or an image's scale is not known.
    """
    box, flattened = environment.observation_space, _flattened(environment)
    if flattened is None:
        return read_array(name, tuple(box.shape), box.dtype, *_bounds(box))
    check_shape(name, box.shape, box)
    parts = [_flat_bounds(name, part) for _, part in _parts(flattened)]
    return tuple(box.shape), *_as_spec(box.dtype, *(np.concatenate(bounds) for bounds in zip(*parts, strict=True)))


def read_array(
    name: str, shape: tuple[int, ...], dtype: np.dtype, low: Any, high: Any
) -> tuple[tuple[int, ...], str, Bound, Bound]:
    """As `read_box`, of an array of this shape and type.

    Args:
        name: The task's name, for messages.
        shape: Of one observation.
        dtype: Its type.
        low: Its smallest values, of this shape or one for all; −∞ for none.
        high: Its largest values.
    """
    check_shape(name, shape, f"shape {shape}")
    if np.dtype(dtype).kind not in "iufb":
        raise ValueError(
            f"The observation of task '{name}' must be of real numbers. Received: {dtype}. Wrap the environment in "
            "something that returns numbers."
        )
    low, high = (np.broadcast_to(np.asarray(bound, np.float64), shape) for bound in (low, high))
    return shape, *_as_spec(dtype, *_scaled_bounds(name, np.dtype(dtype), low, high))


def check_shape(name: str, shape: tuple[int, ...], received: Any) -> None:
    """Raises a ValueError unless there are axes, and numbers in them."""
    if not shape:
        raise ValueError(
            f"The observation of task '{name}' must have at least one dimension. Received: a single number, {received}."
            " Wrap the environment in a gymnasium.wrappers.TransformObservation that returns an array of length 1."
        )
    if None in shape or math.prod(shape) == 0:
        raise ValueError(
            f"The observation of task '{name}' must hold at least one number, and be of fixed shape. Received: "
            f"{received}. Make its observation_space that of what there is to see."
        )


def check_exact(name: str, observation: np.ndarray) -> None:
    """Raises a ValueError if an observation holds integers that float32 does not tell apart.

    Args:
        name: The task's name.
        observation: As the environment gave it, or several.
    """
    if observation.dtype.kind in "iu" and observation.dtype.itemsize > 2 and observation.size:
        smallest, largest = int(observation.min()), int(observation.max())
        if max(-smallest, largest) > EXACT:
            raise ValueError(
                f"The environment of task '{name}' must return integers from {-EXACT} to {EXACT}, which float32 tells "
                f"apart. Received: integers from {smallest} to {largest}. Scale them in a "
                "gymnasium.wrappers.TransformObservation, or leave out those that only name something."
            )


def check_bounds(name: str, observations: np.ndarray, low: Bound, high: Bound) -> None:
    """Raises a ValueError if observations that the network scales are not within their bounds.

    Args:
        name: The task's name.
        observations: `[N, …]`.
        low: As of a `TaskSpec`.
        high: Likewise.
    """
    if high is None:
        return
    lower, upper = np.asarray(0.0 if low is None else low), np.asarray(high)
    is_scaled = (lower != 0) | (upper != 1) if upper.ndim or lower.ndim else np.asarray(True)
    if np.any(is_scaled & ((observations > upper) | (observations < lower))):
        raise ValueError(
            f"The environment of task '{name}' must return observations within the bounds that it announces, by which "
            f"the network scales them: {low or 0.0} to {high}. Received: numbers from {observations.min()} to "
            f"{observations.max()}. Mend its observation_space, or what reset and step return."
        )


def _parts(space: spaces.Space, where: str = "") -> Iterator[tuple[str, spaces.Space]]:
    """What a space consists of, in the order in which it is flattened, each with a name (`''` for the whole)."""
    if isinstance(space, spaces.Dict | spaces.Tuple):
        items = space.spaces.items() if isinstance(space, spaces.Dict) else enumerate(space.spaces)
        for key, part in items:
            yield from _parts(part, f"{where or 'observation'}[{key!r}]")
    else:
        yield where, space


def _flattened(environment: gymnasium.Env) -> spaces.Space | None:
    """The space that a `FlattenObservation` flattens, if it is what shapes the observations."""
    while isinstance(environment, gymnasium.Wrapper):
        if isinstance(environment, FlattenObservation):
            return environment.env.observation_space
        if environment.observation_space is not environment.env.observation_space:
            return None
        environment = environment.env
    return None


def _flat_bounds(name: str, part: spaces.Space) -> tuple[np.ndarray, np.ndarray]:
    """The bounds to scale by of each number that a part of a Dict or Tuple becomes."""
    box = part if isinstance(part, spaces.Box) else spaces.flatten_space(part)
    low, high = (np.atleast_1d(bound) for bound in _bounds(box))
    lower, upper = _scaled_bounds(name, box.dtype, low, high)
    return np.broadcast_to(lower, low.shape).ravel(), np.broadcast_to(upper, high.shape).ravel()


def _bounds(box: spaces.Box) -> tuple[np.ndarray, np.ndarray]:
    return np.where(box.bounded_below, box.low, -np.inf), np.where(box.bounded_above, box.high, np.inf)


def _scaled_bounds(name: str, dtype: np.dtype, low: np.ndarray, high: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The bounds to scale by of each entry of the last axis; 0 and 1 where it is not scaled."""
    others = tuple(range(low.ndim - 1))
    all_known = np.all((np.abs(low) <= EXACT) & (np.abs(high) <= EXACT), axis=others)
    lowest, highest = low.min(axis=others).astype(np.float64), high.max(axis=others).astype(np.float64)
    if dtype.kind in "iub":
        if len(others) and not all_known.all():
            raise ValueError(
                f"The integers of the images of task '{name}' must have bounds, by which they are scaled to [0, 1]. "
                f"Received: {dtype} from {low.min()} to {high.max()}. Say in the observation_space what their smallest "
                "and largest values are, such as 0 and 255."
            )
        is_scaled = all_known
    else:
        are_bytes = bool(np.all(low == 0) and np.all(high == 255))
        is_image = low.ndim >= 3
        is_scaled = all_known & (are_bytes | (is_image & ((lowest < -1) | (highest > 1))))
    with_range = np.where(highest > lowest, highest, lowest + 1)
    return np.where(is_scaled, lowest, 0.0), np.where(is_scaled, with_range, 1.0)


def _as_spec(dtype: np.dtype, low: np.ndarray, high: np.ndarray) -> tuple[str, Bound, Bound]:
    """The type, the upper and the lower bounds as a `TaskSpec` holds them: one number where all agree."""
    as_bytes = dtype == np.uint8 or dtype == np.bool_
    if not as_bytes and not low.any() and np.all(high == 1):
        return "float32", None, None
    lower, upper = (_one_or_all(bound) for bound in (low, high))
    return "uint8" if as_bytes else "float32", upper, None if lower == 0.0 else lower


def _one_or_all(bounds: np.ndarray) -> Bound:
    return float(bounds[0]) if np.all(bounds == bounds[0]) else tuple(bounds.tolist())
