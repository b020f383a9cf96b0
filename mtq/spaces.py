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

IN_GRAPH = "in_graph/"  # before the names of the in-graph environments
EnvironmentSource = str | Callable[[], Any] | Any


@dataclasses.dataclass(frozen=True)
class TaskSpec:
    """The shapes of one task.

    Attributes:
        observation_shape: Without the batch dimension.
        observation_dtype: `"float32"` or `"uint8"`; other types are turned into these.
        observation_high: The largest value of an integer observation (255 for images), None for floats.
        num_actions: Actions are `0 … num_actions − 1`.
        in_graph: Whether the environment is a `mtq.dynamics.Dynamics`, which needs no crossing into Python.
    """

    observation_shape: tuple[int, ...]
    observation_dtype: str
    observation_high: float | None
    num_actions: int
    in_graph: bool = dataclasses.field(default=False, compare=False)


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
        return _with_plain_spaces(name, environment)
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
    return _with_plain_spaces(name, _with_limit(environment, max_episode_steps))


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
    box, actions = environment.observation_space, environment.action_space
    if not isinstance(actions, gymnasium.spaces.Discrete):
        raise _not_discrete(name, actions)
    if not box.shape:
        raise ValueError(
            f"The observation of task '{name}' must have at least one dimension. Received: a single number, {box}. "
            "Wrap the environment in a gymnasium.wrappers.TransformObservation that returns an array of length 1."
        )
    return TaskSpec(tuple(box.shape), *_dtype_and_high(np.dtype(box.dtype), box.high), int(actions.n))


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


def _with_limit(environment: gymnasium.Env, max_episode_steps: int | None) -> gymnasium.Env:
    """Puts a time limit in place of the environment's own, if it has one."""
    if max_episode_steps is None:
        return environment
    layer = environment
    while isinstance(layer, gymnasium.Wrapper):
        if isinstance(layer, gymnasium.wrappers.TimeLimit):
            layer._max_episode_steps = max_episode_steps
            return environment
        layer = layer.env
    return gymnasium.wrappers.TimeLimit(environment, max_episode_steps)


def _with_plain_spaces(name: str, environment: gymnasium.Env) -> gymnasium.Env:
    space = environment.observation_space
    if isinstance(space, gymnasium.spaces.Box):
        return environment
    if space.is_np_flattenable:  # Discrete becomes one-hot, Dict and Tuple one vector
        return gymnasium.wrappers.FlattenObservation(environment)
    raise ValueError(
        f"The observation of task '{name}' must be one array of fixed shape. Received: {space}. "
        "Wrap the environment in a gymnasium.ObservationWrapper that returns an array."
    )


def _dtype_and_high(dtype: np.dtype, high: Any) -> tuple[str, float | None]:
    if dtype == np.uint8 or dtype == np.bool_:
        return "uint8", float(np.max(high)) if dtype == np.uint8 else 1.0
    return "float32", None


def _not_discrete(name: str, actions: Any) -> ValueError:
    return ValueError(
        f"Task '{name}' must have a discrete action space: Q-learning takes a maximum over the actions. "
        f" Received: {actions}. Discretize it with a gymnasium.ActionWrapper."
    )


def _read_tf_agents_spec(name: str, environment: Any) -> TaskSpec:
    observation, action = environment.observation_spec(), environment.action_spec()
    if not hasattr(observation, "shape"):
        raise ValueError(
            f"The observation of task '{name}' must be one array. Received: {observation}. "
            "Wrap it in tf_agents.environments.wrappers.FlattenObservationsWrapper."
        )
    bounds = (getattr(action, "minimum", None), getattr(action, "maximum", None))
    is_integer = np.issubdtype(_numpy_dtype(action), np.integer) if hasattr(action, "dtype") else False
    if not is_integer or None in bounds or tuple(action.shape) != () or int(np.min(bounds[0])) != 0:
        raise _not_discrete(name, action)
    dtype = _numpy_dtype(observation)
    high = np.iinfo(dtype).max if dtype == np.uint8 else 0.0
    return TaskSpec(
        tuple(observation.shape),
        *_dtype_and_high(dtype, getattr(observation, "maximum", high)),
        int(np.max(bounds[1])) + 1,
    )


def _numpy_dtype(spec: Any) -> np.dtype:
    return np.dtype(getattr(spec.dtype, "as_numpy_dtype", spec.dtype))
