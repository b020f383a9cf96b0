"""Creates a task's environment from an id, a callable, a `Dynamics` or a tf-agents environment."""

import contextlib
import functools
import weakref
from collections.abc import Callable, Mapping
from typing import Any

import gymnasium

import mtq.tasks.gymnasium_ids  # noqa: F401  (registers ids such as `mtq/breakout`)
from mtq.dynamics import BY_NAME, Dynamics
from mtq.errors import raise_broken, raised_in
from mtq.storage.trust import check_import, import_module
from mtq.tasks.action_masks import with_mask_in_info
from mtq.tasks.atari import Atari, is_atari
from mtq.tasks.observation_spaces import as_one_array
from mtq.tasks.wrappers import check_no_running_normalization, layers, with_limit

IN_GRAPH = "in_graph/"  # the prefix of the names of in-graph environments
EnvironmentSource = str | Callable[[], Any] | Any

_made: dict[int, weakref.ref] = {}  # every environment that is still alive, keyed by `id(environment)`


def make_environment(
    name: str,
    source: EnvironmentSource,
    max_episode_steps: int | None = None,
    env_kwargs: Mapping[str, Any] | None = None,
    render: bool = False,
    uses_masks: bool = False,
) -> Any:
    """Creates one copy of a task's environment.

    Args:
        name: The task's name, for messages.
        source: A Gymnasium id, the id of an Atari game such as `"ALE/Pong-v5"`, the name of an in-graph environment
            such as `"in_graph/CartPole"`, a callable without arguments, a `mtq.dynamics.Dynamics`, or a tf-agents
            environment (returned unchanged).
        max_episode_steps: The time limit that replaces the environment's own, in environment steps; None keeps it.
        env_kwargs: The arguments with which an environment given by its id or name is made; for an Atari game, the
            settings of its `Preprocessing`.
        render: Whether an environment that is made from an id renders as `"rgb_array"`, if it can.
        uses_masks: Whether `"action_mask"` in a Dict observation is moved to the infos.

    Returns:
        A Gymnasium environment with a Box observation and a Discrete action space, a `Dynamics`, or a tf-agents
        environment.

    Raises:
        ValueError: The environment does not exist or cannot be made, or `source` is of another kind.
    """
    if is_atari(source):
        return Atari(name, source, env_kwargs or {}, max_episode_steps)
    environment = _make(name, source, max_episode_steps, env_kwargs or {}, render)
    if isinstance(environment, Dynamics):
        return environment if max_episode_steps is None else environment.with_limit(max_episode_steps)
    if is_tf_agents(environment):
        return _check_no_limit(name, environment, max_episode_steps)
    return _as_task_needs(name, environment, max_episode_steps, uses_masks)


def is_tf_agents(environment: Any) -> bool:
    """Returns whether an object is a tf-agents environment, without importing tf-agents."""
    has_specs = all(callable(getattr(environment, name, None)) for name in ("time_step_spec", "action_spec"))
    return has_specs and not isinstance(environment, type)


def _make(
    name: str, source: EnvironmentSource, max_episode_steps: int | None, env_kwargs: Mapping[str, Any], render: bool
) -> Any:
    if source is None:
        raise ValueError(
            f"Task '{name}' must have an environment to be played. Received: None, because the task was loaded from a "
            "file, and its environment was a Python object, which a file cannot hold. Create a TaskSet with the "
            "environment and pass that."
        )
    if isinstance(source, str) and source.startswith(IN_GRAPH):
        dynamics = _find_dynamics(name, source.removeprefix(IN_GRAPH))
        with raised_in(name, "its constructor"):
            return dynamics(**env_kwargs)
    if isinstance(source, str):
        environment = _from_id(name, source, max_episode_steps, env_kwargs, render)
    elif isinstance(source, Dynamics) or is_tf_agents(source):
        return source
    else:
        environment = _from_callable(name, source)
    if not isinstance(environment, Dynamics):
        check_is_new(name, environment)
        _check_kind(name, environment)
    return environment


def _from_id(
    name: str, environment_id: str, max_episode_steps: int | None, env_kwargs: Mapping[str, Any], render: bool
) -> gymnasium.Env:
    check_import(name, environment_id, env_kwargs)
    module, has_module, _ = environment_id.partition(":")
    if has_module:
        import_module(module)
    settings = {**env_kwargs, "max_episode_steps": max_episode_steps, "disable_env_checker": True}
    try:
        environment = gymnasium.make(environment_id, **settings)
        if not render or "rgb_array" not in environment.metadata.get("render_modes", []):
            return environment
        environment.close()
        return gymnasium.make(environment_id, **{**settings, "render_mode": "rgb_array"})
    except (gymnasium.error.Error, ImportError) as error:
        raise ValueError(
            f"The environment of task '{name}' could not be made. Received: {environment_id!r}, which failed with: "
            f"{error}. Check the id (`mtq tasks` lists those that come with mtq) and that its package is installed."
        ) from error
    except TypeError as error:
        if not env_kwargs or "unexpected keyword argument" not in str(error):
            raise_broken(name, "its constructor", error)
        raise ValueError(
            f"env_kwargs of task '{name}' must be arguments of the environment's constructor. Received: {env_kwargs}, "
            f"which failed with: {error}. Check their names."
        ) from error
    except BaseException as error:
        raise_broken(name, "its constructor", error)


def _from_callable(name: str, source: Any) -> Any:
    if isinstance(source, gymnasium.Env) or not callable(source):
        raise ValueError(
            f"The environment of task '{name}' must be a Gymnasium id, a callable without arguments that returns an "
            f"environment, or a tf-agents environment. Received: {source!r}. "
            "Several copies are needed, for training and for evaluation: pass `lambda: YourEnvironment()`."
        )
    with raised_in(name, "its constructor"):
        return source()


def _check_kind(name: str, environment: Any) -> None:
    """Raises a ValueError unless this is a tf-agents environment, or a Gymnasium environment with both spaces."""
    if is_tf_agents(environment):
        return
    if not isinstance(environment, gymnasium.Env):
        raise ValueError(
            f"The callable given as the environment of task '{name}' must return a Gymnasium or tf-agents "
            f"environment. Received: {environment!r}."
        )
    for space in ("observation_space", "action_space"):
        with raised_in(name, space):
            getattr(environment, space)


def check_is_new(name: str, environment: Any) -> None:
    """Raises a ValueError if this environment, or one inside it, was passed to this function before.

    If two copies were the same object, stepping one would step the other, and evaluation would reset and close the
    environment used for training.

    Args:
        name: The task's name, for the message.
        environment: The environment that a callable or `gymnasium.make` has just made.
    """
    all_layers = list(layers(environment))
    for layer in all_layers:
        previous = _made.get(id(layer))
        if previous is not None and previous() is layer:
            raise ValueError(
                f"The environment of task '{name}' must be a new object each time that its callable or id makes it. "
                f"Received: {layer!r} again, which was made before. Copies for training, evaluation and num_envs must "
                "not share it: make it within the callable, as in `lambda: YourEnvironment()`, or within the entry "
                "point of the id."
            )
    for layer in all_layers:
        with contextlib.suppress(TypeError):  # an object with __slots__ that does not support weak references
            key = id(layer)
            _made[key] = weakref.ref(layer, functools.partial(_forget, key))


def _find_dynamics(name: str, dynamics: str) -> Callable[[], Dynamics]:
    if dynamics not in BY_NAME:
        raise ValueError(
            f"The environment of task '{name}' must be one of the in-graph environments. Received: "
            f"{IN_GRAPH + dynamics!r}. Choose one of {[IN_GRAPH + known for known in BY_NAME]}."
        )
    return BY_NAME[dynamics]


def _check_no_limit(name: str, environment: Any, max_episode_steps: int | None) -> Any:
    if max_episode_steps is not None:
        raise ValueError(
            f"max_episode_steps of task '{name}' must be None for a tf-agents environment. Received: "
            f"{max_episode_steps}. Wrap the environment in tf_agents.environments.wrappers.TimeLimit instead."
        )
    return environment


def _as_task_needs(
    name: str, environment: gymnasium.Env, max_episode_steps: int | None, uses_masks: bool
) -> gymnasium.Env:
    """Replaces the environment's time limit with the task's, and wraps it so that each observation is one array."""
    check_no_running_normalization(name, environment)
    if max_episode_steps is not None:
        environment = with_limit(name, environment, max_episode_steps)
    if uses_masks:
        environment = with_mask_in_info(name, environment)
    return as_one_array(name, environment)


def _forget(key: int, dead: weakref.ref) -> None:
    if _made.get(key) is dead:
        del _made[key]
