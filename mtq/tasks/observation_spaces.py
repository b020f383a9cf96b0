"""Converts observations to single arrays, and finds the bounds from which a network scales them to `[0, 1]`.

The dtype and the bounds of the observation space determine which observations are scaled:

- Integers and bools are scaled by the bounds of each entry of the last axis: each channel of an image, or each entry
  of a vector. Integer vectors without bounds are not scaled; integer images without bounds raise an error.
- Floats are scaled if all entries have the bounds 0 and 255. Float images (three or more axes, or two axes of at least
  36 entries each) are also scaled if their bounds exceed `[−1, 1]` and are at most 2²⁴. Other floats are not scaled.
- Each part of a Dict or Tuple is scaled by the same rules. One-hot vectors are not scaled.

A Dict or Tuple becomes one vector, in which the arrays of its parts lie one after the other. `TaskSpec.parts` lists
them, and a network takes the vector apart again: see `encoders` of `mtq.networks.shared_q_network`.
"""

import math
from collections.abc import Hashable, Iterator
from typing import Any

import gymnasium
import numpy as np
from gymnasium import spaces
from gymnasium.wrappers import FlattenObservation

from mtq.tasks.flattening import CheckedFlattening

Bound = float | tuple[float, ...] | None
Parts = tuple[tuple[str, tuple[int, ...]], ...]
LARGE = 36  # the smallest height and width of images for `nature_cnn`
LARGEST = float(np.finfo(np.float32).max)
EXACT = 2**24  # float32 represents all integers up to this one exactly
_ROUNDING = 4 * float(np.finfo(np.float32).eps)  # the relative amount by which floats may exceed their bounds
_ONE_HOT = (spaces.Discrete, spaces.MultiDiscrete, spaces.MultiBinary)


def as_one_array(name: str, environment: gymnasium.Env) -> gymnasium.Env:
    """Wraps an environment so that each observation is one array.

    A Discrete observation becomes a one-hot vector; a Dict or Tuple becomes one vector.

    Args:
        name: The task's name, for messages.
        environment: A Gymnasium environment.

    Returns:
        The environment itself if its observations are arrays already, otherwise a wrapper around it.

    Raises:
        ValueError: The observations have no fixed shape, two parts have the same name, or a part is an image without
            bounds.
    """
    space = environment.observation_space
    parts = list(_parts(space))
    check_shape(name, (len(parts),), space)
    for path, part in parts:
        if not isinstance(part, (spaces.Box, *_ONE_HOT)):
            raise ValueError(
                f"The observation of task '{name}' must be one array of fixed shape. Received: {space}, where "
                f"{_where(path) if path else 'it'} is a {type(part).__name__}. Remove that part with "
                "gymnasium.wrappers.FilterObservation, or convert it to an array with TransformObservation (for "
                "MiniGrid: minigrid.wrappers.ImgObsWrapper or FlatObsWrapper)."
            )
        low, high = _bounds(part) if isinstance(part, spaces.Box) else (0.0, 1.0)
        if path and is_image(part.shape) and np.any(np.maximum(np.abs(low), np.abs(high)) > EXACT):
            raise ValueError(
                f"{_where(path)}, an image in the observation of task '{name}', must have bounds, from which it is "
                f"scaled to [0, 1]. Received: {part}. Set the smallest and largest values in its space, such as 0 and "
                "255, and clip the image to them in a gymnasium.wrappers.TransformObservation."
            )
    names = [_part_name(path) for path, _ in parts]
    if len(set(names)) < len(names):
        raise ValueError(
            f"The parts of the observation of task '{name}' must have different names. Received: {names}. Rename a key."
        )
    return environment if isinstance(space, spaces.Box) else CheckedFlattening(environment, name)


def read_parts(environment: gymnasium.Env) -> Parts:
    """Reads the names and shapes of the parts of a Dict or Tuple, in the order in which the flat vector holds them.

    Args:
        environment: An environment that `as_one_array` returned.

    Returns:
        A tuple of pairs of a name and a shape: the key of a Dict or the index in a Tuple, joined by dots where they
        are nested, and the shape of the part's array, of one axis for discrete parts and single numbers. Empty if the
        observation is not a Dict or Tuple.
    """
    if not isinstance(environment, CheckedFlattening):
        return ()
    return tuple(
        (_part_name(path), _part_shape(part)) for path, part in _parts(environment.env.observation_space) if path
    )


def read_box(name: str, environment: gymnasium.Env) -> tuple[tuple[int, ...], str, Bound, Bound]:
    """Reads the shape, dtype and bounds of an environment's observations.

    Args:
        name: The task's name, for messages.
        environment: An environment that `as_one_array` returned.

    Returns:
        The shape of one observation; its dtype, `"float32"` or `"uint8"`; and the lower and the upper bound from which
        a network scales it, as in `TaskSpec`.

    Raises:
        ValueError: An observation holds no numbers, or an integer image has no bounds.
    """
    box, flattened = environment.observation_space, _flattened(environment)
    if flattened is None:
        return read_array(name, tuple(box.shape), box.dtype, *_bounds(box))
    check_shape(name, box.shape, box)
    parts = [_flat_bounds(name, part) for _, part in _parts(flattened)]
    return tuple(box.shape), *as_spec(box.dtype, *(np.concatenate(bounds) for bounds in zip(*parts, strict=True)))


def read_array(
    name: str, shape: tuple[int, ...], dtype: np.dtype, low: Any, high: Any
) -> tuple[tuple[int, ...], str, Bound, Bound]:
    """Converts the shape, dtype and bounds of an array observation to those of a `TaskSpec`.

    Args:
        name: The task's name, for messages.
        shape: The shape of one observation.
        dtype: Its dtype.
        low: Its lower bounds, an array of this shape or a single number; −∞ for entries without a lower bound.
        high: Its upper bounds, an array of this shape or a single number; ∞ for entries without an upper bound.

    Returns:
        The shape, the dtype, and the lower and the upper bound, as `read_box` returns them.

    Raises:
        ValueError: An observation holds no real numbers, or an integer image has no bounds.
    """
    check_shape(name, shape, f"shape {shape}")
    if np.dtype(dtype).kind not in "iufb":
        raise ValueError(
            f"The observation of task '{name}' must hold real numbers. Received: {dtype}. Wrap the environment in a "
            "gymnasium.wrappers.TransformObservation that returns numbers."
        )
    low, high = (np.broadcast_to(np.asarray(bound, np.float64), shape) for bound in (low, high))
    return shape, *as_spec(dtype, *_scaled_bounds(name, np.dtype(dtype), low, high))


def check_shape(name: str, shape: tuple[int, ...], received: Any) -> None:
    """Raises a ValueError unless observations have at least one axis and at least one number.

    Args:
        name: The task's name, for the message.
        shape: The shape of one observation.
        received: The space or shape, for the message.
    """
    if not shape:
        raise ValueError(
            f"The observation of task '{name}' must have at least one dimension. Received: a single number, {received}."
            " Wrap the environment in a gymnasium.wrappers.TransformObservation that returns an array of length 1."
        )
    if None in shape or math.prod(shape) == 0:
        raise ValueError(
            f"The observation of task '{name}' must hold at least one number, and have a fixed shape. Received: "
            f"{received}. Set the observation_space to the shape of the arrays that reset and step return."
        )


def check_exact(name: str, observation: np.ndarray) -> None:
    """Raises a ValueError if an observation holds integers that float32 cannot represent exactly.

    Args:
        name: The task's name, for the message.
        observation: One or more observations in the environment's own dtype.
    """
    if observation.dtype.kind in "iu" and observation.dtype.itemsize > 2 and observation.size:
        smallest, largest = int(observation.min()), int(observation.max())
        if max(-smallest, largest) > EXACT:
            raise ValueError(
                f"The environment of task '{name}' must return integers from {-EXACT} to {EXACT}, which float32 tells "
                f"apart. Received: integers from {smallest} to {largest}. Scale them in a "
                "gymnasium.wrappers.TransformObservation, or remove those that are identifiers."
            )


def scaling_bounds(dtype: str, low: Bound, high: Bound) -> tuple[np.ndarray, np.ndarray]:
    """Returns the bounds from which a network scales observations, and which the observations must not exceed.

    Args:
        dtype: The dtype of the observations, `TaskSpec.observation_dtype`.
        low: The lower bound, `TaskSpec.observation_low`.
        high: The upper bound, `TaskSpec.observation_high`.

    Returns:
        The lower and the upper bounds. Each is a single number, or an array with one number for each entry of the last
        axis; infinite for entries that are not scaled.
    """
    if high is None:
        return np.array(-np.inf), np.array(np.inf)
    lower, upper = np.broadcast_arrays(0.0 if low is None else low, high)
    is_scaled = (lower != 0) | (upper != 1) | (dtype == "uint8") | (upper.ndim == 0)
    return np.where(is_scaled, lower, -np.inf), np.where(is_scaled, upper, np.inf)


def with_rounding(low: np.ndarray, high: np.ndarray, is_integer: bool) -> tuple[np.ndarray, np.ndarray]:
    """Returns the bounds that float32 observations must meet, widened by rounding errors unless they are integers.

    Args:
        low: The lower bounds; −∞ for entries without a lower bound.
        high: The upper bounds; ∞ for entries without an upper bound.
        is_integer: Whether the observations are integers, which are exact.

    Returns:
        The lower and the upper bounds, finite, float32.
    """
    low, high = (np.clip(np.asarray(bound, np.float64), -LARGEST, LARGEST) for bound in (low, high))
    slack = 0.0 if is_integer else _ROUNDING
    lower, upper = low - slack * np.abs(low), high + slack * np.abs(high)
    return np.maximum(lower, -LARGEST).astype(np.float32), np.minimum(upper, LARGEST).astype(np.float32)


def is_image(shape: tuple[int, ...]) -> bool:
    """Returns whether observations of this shape are images: three or more axes, or two long ones (grayscale).

    Args:
        shape: The shape of one observation.
    """
    return len(shape) > 2 or (len(shape) == 2 and min(shape) >= LARGE)


def part_spaces(environment: Any) -> tuple[tuple[str, str], ...]:
    """Returns the names and spaces of the parts of a flattened observation, in order.

    Args:
        environment: An environment that `as_one_array` returned, or any other environment.

    Returns:
        A tuple of pairs of a name and the text of a space; empty if the observation is not flattened.
    """
    flattened = _flattened(environment)
    return () if flattened is None else tuple((_where(path), str(part)) for path, part in _parts(flattened))


def _parts(space: spaces.Space, path: tuple[Hashable, ...] = ()) -> Iterator[tuple[tuple[Hashable, ...], spaces.Space]]:
    """Yields the keys that lead to each part, and its space, in flattening order; no keys lead to the whole space."""
    if isinstance(space, spaces.Dict | spaces.Tuple):
        items = space.spaces.items() if isinstance(space, spaces.Dict) else enumerate(space.spaces)
        for key, part in items:
            yield from _parts(part, (*path, key))
    else:
        yield path, space


def _where(path: tuple[Hashable, ...]) -> str:
    return "observation" + "".join(f"[{key!r}]" for key in path)


def _part_name(path: tuple[Hashable, ...]) -> str:
    return ".".join(map(str, path))


def _part_shape(part: spaces.Space) -> tuple[int, ...]:
    return tuple(part.shape) if isinstance(part, spaces.Box) and part.shape else (spaces.flatdim(part),)


def _flattened(environment: gymnasium.Env) -> spaces.Space | None:
    """Returns the space that a `FlattenObservation` flattens, or None if it does not determine the final space."""
    while isinstance(environment, gymnasium.Wrapper):
        if isinstance(environment, FlattenObservation):
            return environment.env.observation_space
        if environment.observation_space is not environment.env.observation_space:
            return None
        environment = environment.env
    return None


def _flat_bounds(name: str, part: spaces.Space) -> tuple[np.ndarray, np.ndarray]:
    """Returns the scaling bounds of each number into which a part of a Dict or Tuple is flattened."""
    box = part if isinstance(part, spaces.Box) else spaces.flatten_space(part)
    low, high = (np.atleast_1d(bound) for bound in _bounds(box))
    lower, upper = _scaled_bounds(name, box.dtype, low, high)
    return np.broadcast_to(lower, low.shape).ravel(), np.broadcast_to(upper, high.shape).ravel()


def _bounds(box: spaces.Box) -> tuple[np.ndarray, np.ndarray]:
    return np.where(box.bounded_below, box.low, -np.inf), np.where(box.bounded_above, box.high, np.inf)


def _scaled_bounds(name: str, dtype: np.dtype, low: np.ndarray, high: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Returns the scaling bounds of each entry of the last axis; 0 and 1 for entries that are not scaled."""
    others = tuple(range(low.ndim - 1))
    all_known = np.all((np.abs(low) <= EXACT) & (np.abs(high) <= EXACT), axis=others)
    lowest, highest = low.min(axis=others).astype(np.float64), high.max(axis=others).astype(np.float64)
    if dtype.kind in "iub":
        if len(others) and not all_known.all():
            raise ValueError(
                f"The integer images of task '{name}' must have bounds, from which they are scaled to [0, 1]. "
                f"Received: {dtype} from {low.min()} to {high.max()}. Set the smallest and largest values in the "
                "observation_space, such as 0 and 255."
            )
        is_scaled = all_known
    else:
        are_bytes = bool(np.all(low == 0) and np.all(high == 255))
        is_scaled = all_known & (are_bytes | (is_image(low.shape) & ((lowest < -1) | (highest > 1))))
    with_range = np.where(highest > lowest, highest, lowest + 1)
    return np.where(is_scaled, lowest, 0.0), np.where(is_scaled, with_range, 1.0)


def as_spec(dtype: np.dtype, low: np.ndarray, high: np.ndarray) -> tuple[str, Bound, Bound]:
    """Returns the dtype and the bounds as a `TaskSpec` holds them: one number per bound if all entries agree.

    Args:
        dtype: The dtype of the environment's observations.
        low: The lower bound of each entry of the last axis; 0 for entries that are not scaled.
        high: The upper bound of each entry of the last axis; 1 for entries that are not scaled.

    Returns:
        The dtype, `"float32"` or `"uint8"`, and the lower and the upper bound.
    """
    as_bytes = dtype == np.uint8 or dtype == np.bool_
    if not as_bytes and not low.any() and np.all(high == 1):
        return "float32", None, None
    lower, upper = (_one_or_all(bound) for bound in (low, high))
    return "uint8" if as_bytes else "float32", None if lower == 0.0 else lower, upper


def _one_or_all(bounds: np.ndarray) -> Bound:
    return float(bounds[0]) if np.all(bounds == bounds[0]) else tuple(bounds.tolist())
