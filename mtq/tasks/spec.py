"""`TaskSpec`: the shapes and dtypes of a task's observations and actions, as its environment declares them."""

import dataclasses
import math
from typing import Any

import gymnasium
import numpy as np

from mtq.checks import real
from mtq.dynamics import Dynamics
from mtq.dynamics.stacked import stacked_shape
from mtq.tasks.environment_source import is_tf_agents
from mtq.tasks.observation_spaces import Bound, Parts, as_spec, check_shape, read_array, read_box, read_parts

_LONGEST_BOUND = 8  # numbers in a text


@dataclasses.dataclass(frozen=True)
class TaskSpec:
    """The shapes, dtypes and bounds of one task's observations and actions.

    Attributes:
        observation_shape: The shape of one observation, without the batch dimension.
        observation_dtype: The dtype of the observations, `"float32"` or `"uint8"`; other dtypes are converted to these.
        observation_high: The upper bound from which a network scales observations to `[0, 1]` (255 for uint8 images),
            or one bound for each entry of the last axis if they differ. None if observations are not scaled, as for
            vectors of floats; `mtq.tasks.observation_spaces` gives the rules.
        num_actions: The number of actions, which are `0 … num_actions − 1`.
        in_graph: Whether the environment is a `mtq.dynamics.Dynamics`, which runs without host calls.
        first_action: The environment's own number for action 0: the `start` of a Gymnasium space or the `minimum` of a
            tf-agents spec. The environment is stepped with its own numbers, and an export returns them.
        observation_low: The lower bound that belongs to `observation_high`, in the same form; None for 0.
        frame_stack: The number of frames of which an observation consists.
        parts: The name and the shape of each part of a Dict or Tuple observation, in the order in which
            `gymnasium.spaces.flatten` joins them to the vector of one frame. Empty for other observations.
        has_action_mask: Whether there are masks of legal actions, which policies and targets respect.
    """

    observation_shape: tuple[int, ...]
    observation_dtype: str
    observation_high: Bound
    num_actions: int
    in_graph: bool = dataclasses.field(default=False, compare=False)
    first_action: int = 0
    observation_low: Bound = None
    frame_stack: int = 1
    parts: Parts = dataclasses.field(default=(), compare=False)  # files of earlier versions lack it
    has_action_mask: bool = dataclasses.field(default=False, compare=False)  # files of earlier versions lack it

    def __post_init__(self) -> None:
        for bound in ("observation_high", "observation_low"):
            if isinstance(getattr(self, bound), list):  # from a file
                object.__setattr__(self, bound, tuple(getattr(self, bound)))
        object.__setattr__(self, "parts", tuple((name, tuple(shape)) for name, shape in self.parts))

    @property
    def is_binary(self) -> bool:
        """Whether the observations are uint8 of 0 and 1."""
        return self.observation_dtype == "uint8" and self.observation_low is None and self.observation_high == 1.0

    @property
    def part_names(self) -> tuple[str, ...]:
        """The names of the parts of a Dict or Tuple observation."""
        return tuple(name for name, _ in self.parts)

    def __repr__(self) -> str:
        fields = [(field.name, getattr(self, field.name)) for field in dataclasses.fields(self)]
        return f"TaskSpec({', '.join(f'{name}={_short(value)}' for name, value in fields)})"


def read_spec(name: str, environment: Any) -> TaskSpec:
    """Reads the `TaskSpec` that an environment declares.

    Args:
        name: The task's name, for messages.
        environment: An environment that `make_environment` returned.

    Returns:
        The shapes, dtypes and bounds of the observations and actions.

    Raises:
        ValueError: The actions are not discrete, or the observation is not one array.
    """
    if isinstance(environment, Dynamics):
        return _read_dynamics_spec(name, environment)
    if is_tf_agents(environment):
        return _read_tf_agents_spec(name, environment)
    actions = environment.action_space
    if not isinstance(actions, gymnasium.spaces.Discrete):
        raise _not_discrete(name, actions)
    shape, dtype, low, high = read_box(name, environment)
    first = _check_actions(name, int(actions.start), int(actions.start) + int(actions.n) - 1)
    parts = read_parts(environment)
    return TaskSpec(shape, dtype, high, int(actions.n), first_action=first, observation_low=low, parts=parts)


def stacked_spec(name: str, frame: TaskSpec, frame_stack: int) -> TaskSpec:
    """Returns the spec of observations that consist of several frames.

    Args:
        name: The task's name, for messages.
        frame: The spec of one frame, as the environment declares it.
        frame_stack: The number of frames that are stacked on the last axis.

    Returns:
        The spec. Frames `[height, width]` become observations `[height, width, frame_stack]`; the last axis of all
        others becomes `frame_stack` times as long.

    Raises:
        ValueError: The shape does not show whether the channels of the frames, or of a part of them, come first or
            last; or the bounds of frames or parts of two axes differ from column to column.
    """
    if frame_stack == 1:
        return frame
    shape, bounds = frame.observation_shape, (frame.observation_low, frame.observation_high)
    if len(shape) > 3 or (len(shape) == 3 and shape[0] < min(shape[1:])):
        raise ValueError(
            f"frame_stack of task '{name}' needs vectors, or images with their channels last. Received: frames of "
            f"shape {shape}. Move the channels to the last axis with a gymnasium.wrappers.TransformObservation, and "
            "leave out other wrappers that stack frames."
        )
    if len(shape) == 2 and any(isinstance(bound, tuple) for bound in bounds):
        raise ValueError(
            f"frame_stack of task '{name}' needs frames whose bounds are the same in all columns. Received: frames of "
            f"shape {shape}. Give the observation_space one lower and one upper bound."
        )
    low, high = (bound * frame_stack if isinstance(bound, tuple) else bound for bound in bounds)
    stacked = dataclasses.replace(
        frame,
        observation_shape=stacked_shape(shape, frame_stack),
        observation_low=low,
        observation_high=high,
        frame_stack=frame_stack,
    )
    part_specs(name, stacked)  # raises an error if a part cannot be stacked
    return stacked


def part_specs(name: str, spec: TaskSpec) -> dict[str, TaskSpec]:
    """Returns the specs of the parts of a Dict or Tuple, as a network sees them.

    Args:
        name: The task's name, for messages.
        spec: The spec of the task's observations, the flat vectors.

    Returns:
        The spec of each part, by its name, in the order of the vector; empty for other observations.

    Raises:
        ValueError: Frames are stacked, and the shape of a part does not show whether its channels come first or last,
            or the bounds of a part of two axes differ from column to column.
    """
    specs, start = {}, 0
    size = spec.observation_shape[-1] // spec.frame_stack
    bounds = (spec.observation_low, 0.0), (spec.observation_high, 1.0)
    low, high = (
        np.broadcast_to(np.float64(none if bound is None else bound), spec.observation_shape[-1:])[:size]
        for bound, none in bounds
    )
    for part, shape in spec.parts:
        stop = start + math.prod(shape)
        lower, upper = (bound[start:stop].reshape(-1, shape[-1])[0] for bound in (low, high))
        dtype, lowest, highest = as_spec(np.dtype(spec.observation_dtype), lower, upper)
        frame = TaskSpec(shape, dtype, highest, spec.num_actions, observation_low=lowest)
        specs[part], start = stacked_spec(f"{name}', part '{part}", frame, spec.frame_stack), stop
    return specs


def _short(value: Any) -> str:
    is_long = isinstance(value, tuple) and len(value) > _LONGEST_BOUND
    return f"({', '.join(map(repr, value[:_LONGEST_BOUND]))}, … {len(value)} in all)" if is_long else repr(value)


def _read_dynamics_spec(name: str, dynamics: Dynamics) -> TaskSpec:
    dtype, high = dynamics.observation_dtype, dynamics.observation_high
    if not isinstance(dtype, str) or dtype not in ("float32", "uint8"):
        raise ValueError(
            f"observation_dtype of the dynamics of task '{name}' must be 'float32' or 'uint8'. Received: {dtype!r}. "
            "Cast the observations to one of these in observe."
        )
    if dtype == "uint8" and high is None:
        raise ValueError(
            f"observation_high of the dynamics of task '{name}' must be the upper bound of their uint8 observations. "
            "Received: None. Set it to 1 for binary images or to 255 for colors."
        )
    if high is not None:
        most = 255 if dtype == "uint8" else None
        high = real(f"observation_high of the dynamics of task '{name}'", high, above=0, most=most)
    shape = tuple(dynamics.observation_shape)
    check_shape(name, shape, f"shape {shape}")
    return TaskSpec(shape, dtype, high, dynamics.num_actions, in_graph=True)


def _check_actions(name: str, first: int, last: int) -> int:
    """Returns the first action, after checking that all actions fit into int32, the dtype that an export returns."""
    bounds = np.iinfo(np.int32)
    if not bounds.min <= first <= last <= bounds.max:
        raise ValueError(
            f"The actions of task '{name}' must fit into int32. Received: {first} to {last}. Number them from 0 "
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
            "Wrap the environment in tf_agents.environments.wrappers.FlattenObservationsWrapper if the parts are "
            "vectors of the same scale, or return only the array that the network should see."
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
