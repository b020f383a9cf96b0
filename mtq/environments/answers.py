"""Checks of what an environment returns from `reset` and `step`."""

import numbers
from typing import Any

import gymnasium
import numpy as np

from mtq.observation_spaces import check_exact
from mtq.spaces import read_spec
from mtq.tasks import Task

LARGEST = float(np.finfo(np.float32).max)
_BOOLS = (bool, np.bool_)


class Answers:
    """Checks what the copies of one task's environment return.

    Args:
        task: The task.
        environments: The copies of its environment, as Gymnasium environments.

    Attributes:
        limit: The largest value that a uint8 observation may have, if that is below 255; None otherwise.

    Raises:
        ValueError: The actions or observations of a copy differ from those of the task or of another copy.
    """

    def __init__(self, task: Task, environments: list[gymnasium.Env]) -> None:
        self._task, self._dtype = task, np.dtype(task.spec.observation_dtype)
        for environment in environments:
            self._check_spaces(environments[0], environment)
        space = getattr(environments[0], "observation_space", None) if environments else None
        is_integer = isinstance(space, gymnasium.spaces.Box) and np.dtype(space.dtype).kind in "iu"
        self._bounds = (int(space.low.min()), int(space.high.max())) if is_integer else None  # type: ignore[union-attr]
        if self._dtype == np.uint8 and self._bounds is None:
            high = task.spec.observation_high
            self._bounds = (0, 255 if high is None else int(np.max(high)))
        self.limit = self._bounds[1] if self._dtype == np.uint8 and self._bounds and self._bounds[1] < 255 else None

    def of_reset(self, answer: Any) -> np.ndarray:
        """Checks what `reset` returned.

        Args:
            answer: What `reset` returned.

        Returns:
            The observation, copied, because the environment may overwrite its own array.

        Raises:
            ValueError: It is not an observation and a dict, or the observation has the wrong shape, type or range.
        """
        if not isinstance(answer, tuple | list) or len(answer) != 2 or not isinstance(answer[1], dict):
            raise self._wrong(
                "an observation and a dict of infos from reset",
                answer,
                "End reset by `return observation, {}`, as Gymnasium's environments do since 0.26.",
            )
        return np.array(self.observation(answer[0]))

    def of_step(self, answer: Any) -> tuple[Any, float, bool, bool, dict[str, Any]]:
        """Checks what `step` returned, except for the observation, which `observation` checks.

        Args:
            answer: What `step` returned.

        Returns:
            The five values: observation, reward (a finite float), terminated, truncated, info.

        Raises:
            ValueError: It is not five values, one of them has the wrong type, or the reward is not finite.
        """
        if not isinstance(answer, tuple | list) or len(answer) != 5:
            raise self._wrong(
                "five values from step: observation, reward, terminated, truncated, info",
                answer,
                "Split `done` into terminated and truncated, or wrap an old environment by shimmy's GymV21.",
            )
        observed, reward, terminated, truncated, info = answer
        if type(reward) is not float:
            reward = self._reward(reward)
        if type(terminated) not in _BOOLS or type(truncated) not in _BOOLS:
            role, value = ("terminated", terminated) if type(terminated) not in _BOOLS else ("truncated", truncated)
            raise self._wrong(f"{role} from step as a bool", value, f"Return bool({role}).")
        if not isinstance(info, dict):
            raise self._wrong("a dict of infos as the last value of step", info, "Return {} if there are none.")
        if not -LARGEST <= reward <= LARGEST:
            raise self.not_finite("reward", reward)
        return observed, reward, terminated, truncated, info  # type: ignore[return-value]

    def observation(self, observed: Any) -> np.ndarray:
        """Checks an observation.

        Args:
            observed: The observation that the environment returned.

        Returns:
            An array of the task's shape and dtype. It may be the environment's own array.

        Raises:
            ValueError: It is not one array, or has the wrong shape, type or range.
        """
        try:
            array = np.asarray(observed)
        except (ValueError, TypeError) as error:
            raise self._wrong("observations that are one array", observed, f"NumPy says: {error}") from None
        if array.dtype != self._dtype:
            array = self._converted(array, observed)
        if array.shape != self._task.spec.observation_shape:
            raise ValueError(
                f"The environment of task '{self._task.name}' must return observations of the shape that it announces, "
                f"{self._task.spec.observation_shape}. Received: one of shape {array.shape}. "
                "Mend its observation_space, or what reset and step return."
            )
        return array

    def check_limit(self, observations: np.ndarray) -> None:
        """Raises a ValueError if a uint8 value exceeds the upper bound that the environment announces.

        Args:
            observations: Observations, `[N, …]`.
        """
        if self.limit is not None and observations.max(initial=0) > self.limit:
            raise self._outside(observations)

    def not_finite(self, role: str, values: Any) -> ValueError:
        """Makes the error for numbers that are not finite.

        Args:
            role: What the numbers are, `"reward"` or `"observation"`, for the message.
            values: The numbers.
        """
        received = values.tolist() if isinstance(values, np.ndarray) else [values]
        return ValueError(
            f"The environment of task '{self._task.name}' must return finite numbers. Received: {role}s "
            f"{_shortened(received)}. Mend the environment, or end the episode before its state overflows."
        )

    def no_seed(self, error: TypeError) -> ValueError | None:
        """Makes the error for a `reset` that takes no seed; returns None if the TypeError has another cause.

        Args:
            error: The error that `reset(seed=…)` raised.
        """
        if "unexpected keyword argument 'seed'" not in str(error):
            return None
        return ValueError(
            f"The environment of task '{self._task.name}' must take a seed in reset. Received: {error}. "
            "Define it as `def reset(self, *, seed=None, options=None)` and begin with super().reset(seed=seed)."
        )

    def _check_spaces(self, first: gymnasium.Env, environment: gymnasium.Env) -> None:
        actions, spec = environment.action_space, self._task.spec
        now = (getattr(actions, "n", None), getattr(actions, "start", 0))
        wanted = (spec.num_actions, getattr(first.action_space, "start", 0))
        if now != wanted:
            raise ValueError(
                f"All copies of the environment of task '{self._task.name}' must have the same actions, {wanted[0]} "
                f"from {wanted[1]}. Received: {actions}. Make the action_space the same for every copy."
            )
        space = getattr(environment, "observation_space", None)
        if space is None:  # a tf-agents environment, whose own spec was read for the task's
            return
        shape = read_spec(self._task.name, environment).observation_shape
        if shape != spec.observation_shape:
            raise ValueError(
                f"All copies of the environment of task '{self._task.name}' must announce observations of shape "
                f"{spec.observation_shape}. Received: {space}. Make the observation_space the same for every copy."
            )

    def _reward(self, reward: Any) -> float:
        number = reward
        if not isinstance(reward, numbers.Real | np.bool_):
            array = None if isinstance(reward, str | bytes) or reward is None else np.asarray(reward)
            if array is None or array.shape != () or array.dtype.kind not in "fiub":
                raise self._wrong("rewards from step that are one number", reward, "Return float(reward).")
            number = array.item()
        try:
            return float(number)
        except OverflowError:
            raise self.not_finite("reward", reward) from None

    def _converted(self, array: np.ndarray, observed: Any) -> np.ndarray:
        if array.dtype.kind not in "fiub":
            raise self._wrong(
                f"observations that are one array of {self._dtype}", observed, "Mend what reset and step return."
            )
        check_exact(self._task.name, array)
        if self._bounds is not None and array.dtype.kind != "b":
            low, high = self._bounds
            if array.size and not (array.min() >= low and array.max() <= high):  # also true for NaN
                raise self._outside(array)
            if array.dtype.kind == "f" and (array != np.floor(array)).any():
                raise self._outside(array)
        with np.errstate(over="ignore"):  # an overflow is reported as a value that is not finite
            return array.astype(self._dtype)

    def _outside(self, array: np.ndarray) -> ValueError:
        assert self._bounds is not None
        return ValueError(
            f"The environment of task '{self._task.name}' must return observations of the type and range that it "
            f"announces, integers from {self._bounds[0]} to {self._bounds[1]}. Received: {array.dtype} from "
            f"{array.min()} to {array.max()}. Mend its observation_space, or what reset and step return."
        )

    def _wrong(self, what: str, received: Any, remedy: str) -> ValueError:
        return ValueError(
            f"The environment of task '{self._task.name}' must return {what}. "
            f"Received: {_described(received)}. {remedy}"
        )


def _described(value: Any) -> str:
    if isinstance(value, np.ndarray):
        return f"an array of shape {value.shape} and type {value.dtype}"
    if isinstance(value, tuple | list) and len(value) < 10:
        return f"a {type(value).__name__} of {len(value)}: {_shortened([_inner(one) for one in value])}"
    return _shortened(value)


def _inner(value: Any) -> Any:
    return f"array{value.shape}" if isinstance(value, np.ndarray) else value


def _shortened(value: Any) -> str:
    try:
        text = " ".join(repr(value).split())
    except Exception:  # such as an integer with more digits than Python converts to text
        return f"one of {type(value).__name__} that cannot be written"
    return text if len(text) <= 200 else text[:200] + "…"
