"""Checks the values that an environment returns from `reset` and `step`."""

import numbers
from typing import Any

import gymnasium
import numpy as np

from mtq.environments.ranges import ObservationRange, shortened
from mtq.environments.tf_agents_view import DISCOUNT
from mtq.errors import InvalidAnswerError, raise_broken, raised_in
from mtq.tasks.observation_spaces import LARGEST, check_exact
from mtq.tasks.spec import TaskSpec, read_spec
from mtq.tasks.task import Task

_BOOLS = (bool, np.bool_)


class Answers:
    """Checks the values that the copies of one task's environment return.

    Args:
        task: The task.
        spec: The spec of the observations that the copies return: of single frames, if the task stacks frames.
        environments: The copies of its environment, as Gymnasium environments.

    Raises:
        ValueError: The action or observation space of a copy differs from the task's or from another copy's.
    """

    def __init__(self, task: Task, spec: TaskSpec, environments: list[gymnasium.Env]) -> None:
        self._task, self._spec, self._dtype = task, spec, np.dtype(spec.observation_dtype)
        self._shape = spec.observation_shape
        for environment in environments:
            self._check_spaces(environments[0], environment)
        self._spaces = [_spaces(environment) for environment in environments]
        space = self._spaces[0][1] if environments else None
        self._declared = self._dtype if space is None else np.dtype(space.dtype)
        self._is_integer = self._declared.kind in "iub"
        self._fast_dtype = self._dtype if self._declared == self._dtype else None  # needs no conversion
        self._range = ObservationRange(task.name, spec, space)

    def of_reset(self, answer: Any) -> np.ndarray:
        """Checks the values that `reset` returned.

        Args:
            answer: The return value of `reset`.

        Returns:
            A copy of the observation, because the environment may overwrite its own array.

        Raises:
            ValueError: The answer is not an observation and a dict, or the observation has the wrong shape, dtype or
                range.
        """
        if not isinstance(answer, tuple | list) or len(answer) != 2 or not isinstance(answer[1], dict):
            raise self._wrong(
                "an observation and a dict of infos from reset",
                answer,
                "End reset by `return observation, {}`, as Gymnasium's environments do since 0.26.",
            )
        observation = np.array(self.observation(answer[0]))
        self._range.check(observation)
        return observation

    def of_step(self, answer: Any) -> tuple[Any, float, bool, bool, dict[str, Any]]:
        """Checks the values that `step` returned, except for the observation, which `observation` checks.

        Args:
            answer: The return value of `step`.

        Returns:
            The five values: observation, reward (a finite float), terminated, truncated, info.

        Raises:
            ValueError: The answer is not five values, one of them has the wrong type, or the reward is not finite.
        """
        if not isinstance(answer, tuple | list) or len(answer) != 5:
            raise self._wrong(
                "five values from step: observation, reward, terminated, truncated, info",
                answer,
                "Split `done` into terminated and truncated, or wrap an old environment in shimmy's GymV21.",
            )
        observed, reward, terminated, truncated, info = answer
        if type(reward) is not float:
            reward = self._reward(reward)
        if type(terminated) not in _BOOLS or type(truncated) not in _BOOLS:
            role, value = ("terminated", terminated) if type(terminated) not in _BOOLS else ("truncated", truncated)
            raise self._wrong(f"{role} from step as a bool", value, f"Return bool({role}).")
        if not isinstance(info, dict):
            raise self._wrong("a dict of infos as the last value of step", info, "Return {} if there are no infos.")
        if not -LARGEST <= reward <= LARGEST:
            raise self._not_finite(reward)
        return observed, reward, terminated, truncated, info  # type: ignore[return-value]

    def observation(self, observed: Any) -> np.ndarray:
        """Checks an observation, except for its range, which `check_range` checks.

        Args:
            observed: The observation that the environment returned.

        Returns:
            An array of the spec's shape and dtype. It may be the environment's own array.

        Raises:
            ValueError: The observation is not one array, or has the wrong shape or dtype.
        """
        array = observed if type(observed) is np.ndarray else self._array(observed)
        if array.dtype is not self._fast_dtype or array.shape != self._shape:
            array = self._converted(array, observed)
        return array

    def zero_observations(self, number: int) -> np.ndarray:
        """Returns an array of zeros for a number of observations, of the shape and dtype that `observation` returns."""
        return np.zeros((number, *self._shape), self._dtype)

    def check_range(self, observations: np.ndarray, only: np.ndarray | None) -> None:
        """Raises a ValueError if an observation is outside the bounds that the environment declares, or not finite.

        Args:
            observations: The observations, as `observation` returned them, `[N, …]`.
            only: The mask of the copies to check, `[N]` bool; None for all.
        """
        self._range.check(observations if only is None else observations[only])

    def discount(self, info: dict[str, Any]) -> float:
        """Returns the discount of a tf-agents environment, after checking that it is from 0 to 1.

        Args:
            info: The dict of infos from `step`, which holds the discount.

        Returns:
            The discount.

        Raises:
            ValueError: The discount is outside the range from 0 to 1.
        """
        discount = info[DISCOUNT]
        if not 0.0 <= discount <= 1.0:  # also true for NaN
            raise self._wrong("discounts from 0 to 1", discount, "Fix the discounts of its time steps.")
        return discount

    def check_spaces(self, index: int, environment: gymnasium.Env) -> None:
        """Raises a ValueError if an environment has replaced its spaces with different ones since it was created.

        Args:
            index: The index of the copy.
            environment: The copy.
        """
        actions, space = previous = self._spaces[index]
        current = _spaces(environment)
        if current[0] is actions and current[1] is space:
            return
        if current != previous:
            is_action = current[0] != actions
            role, kept, found = ("action", actions, current[0]) if is_action else ("observation", space, current[1])
            raise InvalidAnswerError(
                f"The environment of task '{self._task.name}' must keep its {role}_space, {kept}. Received: {found} "
                "after a reset. Create a separate task for each space."
            )
        self._spaces[index] = current

    def _check_spaces(self, first: gymnasium.Env, environment: gymnasium.Env) -> None:
        actions, spec = environment.action_space, self._spec
        found = (getattr(actions, "n", None), getattr(actions, "start", 0))
        wanted = (spec.num_actions, getattr(first.action_space, "start", 0))
        if found != wanted:
            raise ValueError(
                f"All copies of the environment of task '{self._task.name}' must have the same {wanted[0]} actions, "
                f"numbered from {wanted[1]}. Received: {actions}. Make the action_space the same for every copy."
            )
        space = getattr(environment, "observation_space", None)
        if space is None:  # a tf-agents environment, from which the task's spec was read
            return
        shape = read_spec(self._task.name, environment).observation_shape
        if shape != spec.observation_shape:
            raise ValueError(
                f"All copies of the environment of task '{self._task.name}' must declare observations of shape "
                f"{spec.observation_shape}. Received: {space}. Make the observation_space the same for every copy."
            )

    def _reward(self, reward: Any) -> float:
        number = reward
        if not isinstance(reward, numbers.Real | np.bool_) or isinstance(reward, np.timedelta64):
            is_array = not isinstance(reward, str | bytes | np.ma.MaskedArray) and reward is not None
            with raised_in(self._task.name, "step, when its reward was read"):
                array = np.asarray(reward) if is_array else np.empty(0)
            if array.shape != () or array.dtype.kind not in "fiub":
                raise self._wrong("each reward from step as one number", reward, "Return float(reward).")
            number = array.item()
        try:
            return float(number)
        except OverflowError:
            raise self._not_finite(reward) from None

    def _array(self, observed: Any) -> np.ndarray:
        if isinstance(observed, np.ma.MaskedArray) and np.ma.is_masked(observed):
            raise self._wrong("observations without masked entries", observed, "Return observation.filled(value).")
        try:
            return np.asarray(observed)
        except (ValueError, TypeError) as error:
            raise self._wrong("each observation as one array", observed, f"NumPy's error: {error}") from None
        except BaseException as error:
            raise_broken(self._task.name, "step or reset, when its observation was read", error)

    def _converted(self, array: np.ndarray, observed: Any) -> np.ndarray:
        if array.dtype.kind not in "fiub":
            raise self._wrong(
                f"each observation as one array of {self._dtype}",
                observed,
                "Fix the observations that reset and step return.",
            )
        if array.shape != self._shape:
            raise ValueError(
                f"The environment of task '{self._task.name}' must return observations of the shape of its "
                f"observation_space, {self._shape}. Received: an observation of shape {array.shape}. Fix the "
                "observation_space, or the observations that reset and step return."
            )
        if array.dtype == self._dtype == self._declared:
            return array
        check_exact(self._task.name, array)
        if self._is_integer:
            self._range.check_integers(array)
        with np.errstate(over="ignore"):  # an overflow is reported as a value that is not finite
            return array.astype(self._dtype, copy=False)

    def _not_finite(self, reward: Any) -> ValueError:
        return ValueError(
            f"The environment of task '{self._task.name}' must return finite numbers. Received: reward "
            f"{shortened(reward)}. Fix the environment, or end the episode before its state overflows."
        )

    def _wrong(self, what: str, received: Any, remedy: str) -> ValueError:
        return ValueError(
            f"The environment of task '{self._task.name}' must return {what}. "
            f"Received: {_described(received)}. {remedy}"
        )


def _spaces(environment: gymnasium.Env) -> tuple[gymnasium.Space, gymnasium.spaces.Box | None]:
    """Returns the action and the observation space; the latter is None for a tf-agents environment."""
    return environment.action_space, getattr(environment, "observation_space", None)  # type: ignore[return-value]


def _described(value: Any) -> str:
    if isinstance(value, np.ndarray):
        return f"an array of shape {value.shape} and type {value.dtype}"
    if isinstance(value, tuple | list) and len(value) < 10:
        return f"a {type(value).__name__} of {len(value)}: {shortened([_inner(part) for part in value])}"
    return shortened(value)


def _inner(value: Any) -> Any:
    return f"array{value.shape}" if isinstance(value, np.ndarray) else value
