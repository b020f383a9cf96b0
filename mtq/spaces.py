"""What an environment looks like from outside: how to make one, and the shapes it speaks in."""

import dataclasses
from collections.abc import Callable
from typing import Any

import gymnasium
import numpy as np

import mtq.gymnasium_ids  # noqa: F401  (so that `mtq/breakout` and its like can be made)
from mtq.dynamics import BY_NAME, Dynamics
from mtq.environment_error import raise_broken, raised_in
from mtq.environment_instances import check_is_new
from mtq.observation_spaces import Bound, as_one_array, read_array, read_box
from mtq.trust import check_import
from mtq.trust import trusting_imports as trusting_imports
from mtq.wrappers import check_no_running_normalization, with_limit

IN_GRAPH = "in_graph/"  # before the names of the in-graph environments
EnvironmentSource = str | Callable[[], Any] | Any


@dataclasses.dataclass(frozen=True)
class TaskSpec:
    """The shapes of one task.

    Attributes:
        observation_shape: Without the batch dimension.
        observation_dtype: `"float32"` or `"uint8"`; other types are turned into these.
        observation_high: The upper bound from which a network scales observations to `[0, 1]` (255 for uint8 images),
            or one bound for each entry of the last axis if they differ. None if observations are not scaled, as for
            vectors of floats; `mtq.observation_spaces` gives the rules.
        num_actions: Actions are `0 … num_actions − 1`.
        in_graph: Whether the environment is a `mtq.dynamics.Dynamics`, which needs no crossing into Python.
        first_action: The environment's own number for action 0: the `start` of a Gymnasium space or the `minimum` of a
            tf-agents spec. The environment is stepped with its own numbers, and an export returns them.
        observation_low: The lower bound that belongs to `observation_high`, in the same form; None for 0.
    """

    observation_shape: tuple[int, ...]
    observation_dtype: str
    observation_high: Bound
    num_actions: int
    in_graph: bool = dataclasses.field(default=False, compare=False)
    first_action: int = 0
    observation_low: Bound = None

    def __post_init__(self) -> None:
        for bound in ("observation_high", "observation_low"):
            if isinstance(getattr(self, bound), list):  # from a file
                object.__setattr__(self, bound, tuple(getattr(self, bound)))


def is_tf_agents(environment: Any) -> bool:
    """Whether this is an environment of tf-agents, found out without importing tf-agents."""
    has_specs = all(callable(getattr(environment, name, None)) for name in ("time_step_spec", "action_spec"))
    return has_specs and not isinstance(environment, type)


def make_environment(name: str, source: EnvironmentSource, max_episode_steps: int | None = None) -> Any:
    """Makes one copy of a task's environment.

    Args:
        name: The task's name, for messages.
        source: A Gymnasium id, `"in_graph/CartPole"` or its like, a callable without arguments, a
            `mtq.dynamics.Dynamics`, or a tf-agents environment (returned as it is).
        max_episode_steps: A time limit put in place of the environment's own.

    Returns:
        A Gymnasium environment with a Box observation and a Discrete action space, a `Dynamics`, or a tf-agents
        environment.

    Raises:
        ValueError: There is no such environment, or it is of another kind.
    """
    if isinstance(source, str) and source.startswith(IN_GRAPH):
        source = _find_dynamics(name, source.removeprefix(IN_GRAPH))
    if isinstance(source, type) and issubclass(source, Dynamics):
        with raised_in(name, "its constructor"):
            source = source()
    if isinstance(source, Dynamics):
        return source if max_episode_steps is None else source.with_limit(max_episode_steps)
    if source is None:
        raise ValueError(
            f"Task '{name}' has no environment: it was loaded from a file, and its environment was a Python object, "
            "which a file cannot hold. Make a TaskSet with the environment again and pass that."
        )
    if isinstance(source, str):
        check_import(name, source)
        try:
            environment = gymnasium.make(source, max_episode_steps=max_episode_steps, disable_env_checker=True)
        except (gymnasium.error.Error, ImportError) as error:
            raise ValueError(
                f"The environment of task '{name}' could not be made. Received: {source!r}, which failed with: "
                f"{error}. Check the id (`mtq tasks` lists the ones that mtq brings) and that its package is installed."
            ) from error
        except BaseException as error:
            raise_broken(name, "its constructor", error)
        check_is_new(name, environment)
        return _as_task_needs(name, environment, max_episode_steps)
    if is_tf_agents(source):
        return _check_no_limit(name, source, max_episode_steps)
    if isinstance(source, gymnasium.Env) or not callable(source):
        raise ValueError(
            f"The environment of task '{name}' must be a Gymnasium id, a callable without arguments that returns an "
            f"environment, or a tf-agents environment. Received: {source!r}. "
            "Several copies are needed, for training and for evaluation: pass `lambda: YourEnvironment()`."
        )
    with raised_in(name, "its constructor"):
        environment = source()
    if isinstance(environment, Dynamics):
        return make_environment(name, environment, max_episode_steps)
    check_is_new(name, environment)
    if is_tf_agents(environment):
        return _check_no_limit(name, environment, max_episode_steps)
    if not isinstance(environment, gymnasium.Env):
        raise ValueError(
            f"The callable given as environment of task '{name}' must return a Gymnasium or tf-agents environment. "
            f"Received: {environment!r}."
        )
    for space in ("observation_space", "action_space"):
        with raised_in(name, space):
            getattr(environment, space)
    return _as_task_needs(name, environment, max_episode_steps)


def read_spec(name: str, environment: Any) -> TaskSpec:
    """Reads the shapes of an environment.

    Args:
        name: The task's name, for messages.
        environment: From `make_environment`.

    Raises:
        ValueError: Its actions are not discrete, or its observation is not one array.
    """
    if isinstance(environment, Dynamics):
        return TaskSpec(environment.observation_shape, "float32", None, environment.num_actions, in_graph=True)
    if is_tf_agents(environment):
        return _read_tf_agents_spec(name, environment)
    actions = environment.action_space
    if not isinstance(actions, gymnasium.spaces.Discrete):
        raise _not_discrete(name, actions)
    shape, dtype, low, high = read_box(name, environment)
    first = _check_actions(name, int(actions.start), int(actions.start) + int(actions.n) - 1)
    return TaskSpec(shape, dtype, high, int(actions.n), first_action=first, observation_low=low)


def _find_dynamics(name: str, dynamics: str) -> type[Dynamics]:
    if dynamics not in BY_NAME:
        raise ValueError(
            f"The environment of task '{name}' must be one of the in-graph ones. Received: {IN_GRAPH + dynamics!r}. "
            f"There are: {[IN_GRAPH + known for known in BY_NAME]}."
        )
    return BY_NAME[dynamics]


def _check_no_limit(name: str, environment: Any, max_episode_steps: int | None) -> Any:
    if max_episode_steps is not None:
        raise ValueError(
            f"max_episode_steps of task '{name}' cannot be put over a tf-agents environment. "
            f"Received: {max_episode_steps}. Wrap it in tf_agents.environments.wrappers.TimeLimit instead."
        )
    return environment


def _as_task_needs(name: str, environment: gymnasium.Env, max_episode_steps: int | None) -> gymnasium.Env:
    """Replaces the environment's time limit by the task's, and makes its observations single arrays."""
    check_no_running_normalization(name, environment)
    if max_episode_steps is not None:
        environment = with_limit(name, environment, max_episode_steps)
    return as_one_array(name, environment)


def _check_actions(name: str, first: int, last: int) -> int:
    """Returns the first action, after checking that all actions fit into int32, the type that an export returns."""
    bounds = np.iinfo(np.int32)
    if not bounds.min <= first <= last <= bounds.max:
        raise ValueError(
            f"The actions of task '{name}' must be numbers of int32. Received: {first} to {last}. Number them from 0 "
            "in a gymnasium.ActionWrapper."
        )
    return first


def _not_discrete(name: str, actions: Any) -> ValueError:
    return ValueError(
        f"Task '{name}' must have a discrete action space: Q-learning takes a maximum over the actions. "
        f"Received: {actions}. Discretize it with a gymnasium.ActionWrapper."
    )


def _read_tf_agents_spec(name: str, environment: Any) -> TaskSpec:
    observation, action = environment.observation_spec(), environment.action_spec()
    if not hasattr(observation, "shape"):
        raise ValueError(
            f"The observation of task '{name}' must be one array. Received: {observation}. "
            "Wrap it in tf_agents.environments.wrappers.FlattenObservationsWrapper if its parts are vectors of "
            "one scale, or let it return the one array that should be seen."
        )
    bounds = (getattr(action, "minimum", None), getattr(action, "maximum", None))
    is_integer = np.issubdtype(_numpy_dtype(action), np.integer) if hasattr(action, "dtype") else False
    if not is_integer or None in bounds or tuple(action.shape) != ():
        raise _not_discrete(name, action)
    first, last = int(np.min(bounds[0])), int(np.max(bounds[1]))
    _check_actions(name, first, last)
    dtype = _numpy_dtype(observation)
    limits = np.iinfo(dtype) if dtype.kind in "iu" else None
    low, high = (0, 1) if dtype.kind == "b" else (limits.min, limits.max) if limits else (-np.inf, np.inf)
    low, high = getattr(observation, "minimum", low), getattr(observation, "maximum", high)
    shape, as_dtype, lower, upper = read_array(name, tuple(observation.shape), dtype, low, high)
    return TaskSpec(shape, as_dtype, upper, last - first + 1, first_action=first, observation_low=lower)


def _numpy_dtype(spec: Any) -> np.dtype:
    return np.dtype(getattr(spec.dtype, "as_numpy_dtype", spec.dtype))
