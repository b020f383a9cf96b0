"""Checks at every step that observations are within the bounds that their environment declares."""

import math
import warnings
from collections.abc import Callable
from typing import Any

import gymnasium
import numpy as np

from mtq.tasks.observation_spaces import EXACT, LARGEST, is_image, scaling_bounds, with_rounding
from mtq.tasks.spec import TaskSpec

_UNSCALED = 16.0  # the largest number of an image that is not scaled: such numbers are not colors from 0 to 255
_SMALL = 64  # the largest observation for which a Python loop is faster than NumPy
_warned: set[tuple[Any, ...]] = set()


class ObservationRange:
    """The bounds that an environment declares for its observations.

    All numbers must be finite. Bounds that affect the network's input are enforced: those of integers and bools, those
    from which observations are scaled, and those of images. Vectors of floats are not scaled, so numbers outside their
    bounds only cause a single warning. Float images without bounds are not scaled either. They must not hold numbers
    beyond ±16 in the first observation, nor only integers from 0 with some beyond 16 in later ones; other numbers
    beyond ±16 in later observations only cause the warning.

    Args:
        name: The task's name, for messages.
        spec: The spec of the observations.
        space: The observation space, or None for a tf-agents environment, whose bounds are those of the task's spec.
    """

    def __init__(self, name: str, spec: TaskSpec, space: gymnasium.spaces.Box | None) -> None:
        bounds = scaling_bounds(spec.observation_dtype, spec.observation_low, spec.observation_high)
        low, high = (np.broadcast_to(bound, spec.observation_shape) for bound in bounds)
        must_hold = np.isfinite(low) | _holds_image(spec)
        is_integer = spec.observation_dtype == "uint8"
        if space is not None:
            low = np.where(space.bounded_below, space.low, -np.inf)
            high = np.where(space.bounded_above, space.high, np.inf)
            is_integer = space.dtype.kind in "iub"
        must_hold |= is_integer
        self._space, self._is_unscaled = space, False
        if is_image(spec.observation_shape) and not is_integer:
            is_open = np.maximum(np.abs(low), np.abs(high)) > EXACT
            self._is_unscaled = bool(np.any(is_open))
            low = np.where(is_open, np.maximum(low, -_UNSCALED), low)
            high = np.where(is_open, np.minimum(high, _UNSCALED), high)
            self._must_hold_later = must_hold & ~is_open
        self._low, self._high = with_rounding(low, high, is_integer)
        self._set_least_and_most(must_hold)
        self._name, self._size = name, low.size
        self._declaration = "observation_high of its dynamics" if spec.in_graph else "its observation_space"
        self._lows, self._highs = self._low.ravel().tolist(), self._high.ravel().tolist()
        first_low, first_high = self._lows[0], self._highs[0]
        self._is_uniform = bool(np.all(self._low == first_low) and np.all(self._high == first_high))
        is_bytes = spec.observation_dtype == "uint8" and self._is_uniform and first_low <= 0
        self._is_endless = self._is_uniform and (first_low, first_high) == (-LARGEST, LARGEST)
        self._largest = int(first_high)
        has_all_bytes = is_bytes and first_high >= 255
        check = self._has_no_larger if is_bytes else self._has_none_outside
        self._holds: Callable[[np.ndarray], Any] = self._has_any if has_all_bytes else check
        if self._is_unscaled:
            self._then, self._holds = self._holds, self._holds_at_first

    def check(self, observations: np.ndarray) -> None:
        """Raises a ValueError if a number is not finite or outside a bound that is enforced.

        Args:
            observations: One observation or several, `[N, …]`, of the task's dtype and shape.
        """
        if not self._holds(observations):
            self._report(observations)

    def check_integers(self, array: np.ndarray) -> None:
        """Raises a ValueError unless all numbers of an observation of any dtype are integers within the bounds.

        Args:
            array: One observation, in the environment's own dtype.
        """
        if array.dtype.kind == "f" and not np.array_equal(array, np.floor(array)):  # also for NaN
            fractions = array[array != np.floor(array)]
            raise ValueError(
                f"The environment of task '{self._name}' must return observations of the dtype and range of its "
                f"observation_space, integers from {self._least.min():g} to {self._most.max():g}. Received: "
                f"{array.dtype}, such as {fractions[0]:g}. Fix the observation_space, or the observations that reset "
                "and step return."
            )
        if not ((array >= self._least) & (array <= self._most)).all():
            raise self._outside(array)

    def _holds_at_first(self, observations: np.ndarray) -> Any:
        """Checks the first observations, which show whether images hold colors, and relaxes the bounds afterwards."""
        holds = self._then(observations)
        if holds:
            self._holds = self._then
            self._set_least_and_most(self._must_hold_later)
        return holds

    def _set_least_and_most(self, must_hold: np.ndarray) -> None:
        self._least = np.where(must_hold, self._low, -LARGEST).astype(np.float32)
        self._most = np.where(must_hold, self._high, LARGEST).astype(np.float32)

    def _has_any(self, _: np.ndarray) -> bool:
        return True

    def _has_no_larger(self, observations: np.ndarray) -> bool:
        return np.maximum.reduce(observations.ravel()) <= self._largest  # a comparison with a float takes twice as long

    def _has_none_outside(self, observations: np.ndarray) -> bool:
        if observations.size == self._size <= _SMALL:
            for low, number, high in zip(self._lows, observations.ravel().tolist(), self._highs, strict=True):
                if not low <= number <= high:  # also true for NaN
                    return False
            return True
        if self._is_endless:
            return np.count_nonzero(np.isfinite(observations)) == observations.size
        if self._is_uniform:  # NaN is propagated, and compares false
            flat = observations.ravel()
            return np.minimum.reduce(flat) >= self._lows[0] and np.maximum.reduce(flat) <= self._highs[0]
        is_within = np.less_equal(observations, self._high)
        is_within &= observations >= self._low
        return np.count_nonzero(is_within) == observations.size

    def _report(self, observations: np.ndarray) -> None:
        if not np.isfinite(observations).all():
            raise ValueError(
                f"The environment of task '{self._name}' must return finite numbers. Received: observations "
                f"{shortened(observations.tolist())}. Fix the environment, or end the episode before its state "
                "overflows."
            )
        if ((observations < self._least) | (observations > self._most)).any() or self._has_colors(observations):
            raise self._outside(observations)
        key = (self._name, *self._lows, *self._highs)
        if key not in _warned:
            _warned.add(key)
            warnings.warn(
                f"{self._outside(observations)} Vectors of floats and floats without bounds are not scaled, so "
                "training continues with the unchanged numbers.",
                stacklevel=2,
            )

    def _has_colors(self, observations: np.ndarray) -> bool:
        """Returns whether images without bounds hold only integers of at least 0, as colors do."""
        return self._is_unscaled and bool(np.all((observations >= 0) & (observations == np.floor(observations))))

    def _outside(self, array: np.ndarray) -> ValueError:
        if self._is_unscaled:
            return ValueError(
                f"The environment of task '{self._name}' must return images from {-_UNSCALED:g} to {_UNSCALED:g}, or "
                f"declare other bounds, from which they are scaled to [0, 1]. Received: {array.dtype} from "
                f"{array.min()} to {array.max()}{(self._space and f', in {shortened(self._space)}') or ''}. Set the "
                f"smallest and largest values in {self._declaration}, such as 0 and 255, or clip the images."
            )
        low, high = (_bounds_text(bound) for bound in (self._low, self._high))
        return ValueError(
            f"The environment of task '{self._name}' must return observations within the bounds of {self._declaration},"
            f" {low} to {high}. Received: {array.dtype} from {array.min()} to {array.max()}. Fix {self._declaration}, "
            "or the observations that it returns."
        )


def _holds_image(spec: TaskSpec) -> np.ndarray:
    """Returns the mask of the numbers of an observation that belong to an image, of its shape or a scalar."""
    if not spec.parts:
        return np.array(is_image(spec.observation_shape))
    frame = np.concatenate([np.full(math.prod(shape), is_image(shape)) for _, shape in spec.parts])
    return np.tile(frame, spec.frame_stack)


def _bounds_text(bounds: np.ndarray) -> str:
    if (bounds == bounds.flat[0]).all():
        return f"{bounds.flat[0]:g}"
    return shortened([float(f"{bound:g}") for bound in bounds.ravel()[:20].tolist()])


def shortened(value: Any) -> str:
    """Returns the text of a value for a message, in one line of at most about 200 characters."""
    try:
        text = " ".join(repr(value).split())
    except Exception:  # such as an integer with more digits than Python converts to text
        return f"an object of type {type(value).__name__} without a text"
    return text if len(text) <= 200 else text[:200] + "…"
