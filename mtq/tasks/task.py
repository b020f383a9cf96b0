"""`Task` and `TaskSet`: the names, shapes and settings of tasks. Both are immutable and checked on construction."""

import collections
import dataclasses
import json
import math
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any

import keras
import numpy as np

from mtq.checks import integer, is_real, real
from mtq.errors import raised_in
from mtq.storage.deserialization import class_of
from mtq.tasks.action_masks import returns_masks
from mtq.tasks.atari import FRAME_STACK, REWARD_CLIP, is_atari, without_module
from mtq.tasks.environment_source import EnvironmentSource, is_tf_agents, make_environment
from mtq.tasks.observation_spaces import part_spaces
from mtq.tasks.reference_return import ReadReference, known_reference
from mtq.tasks.spec import TaskSpec, read_spec, stacked_spec
from mtq.tasks.task_config import listed_tasks, task_arguments
from mtq.tasks.task_names import check_names_together, check_task_name


class _DefaultInt(int):
    """A setting that was chosen for the environment rather than given by the user."""


class _DefaultFloat(float):
    """A setting that was chosen for the environment rather than given by the user."""


@keras.saving.register_keras_serializable("mtq")
@dataclasses.dataclass(frozen=True)
class Task:
    """One reinforcement-learning task.

    Args:
        name: The task's name: a letter followed by letters, digits and underscores. It names the network's input and
            output, the logs and the export's signature. Python's keywords, names that begin with `val_`, the prefix of
            evaluation logs, and names that the export uses itself are not allowed.
        environment: A Gymnasium id such as `"CartPole-v1"`, or `"module:Id"`, whose module is imported first; the id of
            an Atari game such as `"ALE/Pong-v5"`, preprocessed as by `mtq.tasks.atari.Preprocessing`; an
            in-graph environment, given by a name such as `"in_graph/CartPole"` or as a `mtq.dynamics.Dynamics`; a
            callable without arguments that returns a Gymnasium or a tf-agents environment; or a tf-agents environment,
            of which there can then be only one copy. Discrete, Dict and Tuple observations become one vector, as by
            `gymnasium.spaces.flatten`, float32 unless all parts are bytes.
        discount: The discount γ, from 0 to 1.
        weight: The task's weight in the loss, at least 0. `compile(loss_weights=…)` overrides it.
        reward_scale: The factor by which rewards are multiplied before training; returns are reported unscaled.
        reward_clip: The bound to which scaled rewards are clipped, `[−reward_clip, reward_clip]`. By default 1 for
            Atari games, for which `math.inf` turns clipping off, and None (no clipping) for others.
        num_envs: The number of copies of the environment that are stepped at once for training.
        max_episode_steps: The time limit in environment steps, which replaces the environment's own; None keeps it. An
            episode that reaches it is truncated: values are bootstrapped past it.
        reference_return: The return that `val_score` maps to 1, such as the return at which the task counts as
            solved. By default the `reward_threshold` that Gymnasium registers, if the task uses the time limit, the
            rewards and the settings for which it was registered; None otherwise. A default is read again if
            `dataclasses.replace` changes the environment or max_episode_steps.
        frame_stack: The number of frames in one observation of the network: the latest observations of the environment,
            stacked on the last axis, oldest first. By default 4 for Atari games and 1 for others. At the start of an
            episode, its first frame is repeated for the missing ones. Each part of a Dict or Tuple is stacked
            separately. Replay buffers store each frame once.
        env_kwargs: The arguments with which an environment given by its id or name is made, such as `{"map_name":
            "8x8"}`: JSON values, because they are saved with the task. For Atari games, the settings of
            `mtq.tasks.atari.Preprocessing`.
        action_mask: Whether masks of legal actions are used: illegal actions are then neither taken nor bootstrapped
            from. They are `info["action_mask"]` of Gymnasium's `reset` and `step`, the key `"action_mask"` of a Dict
            observation, which then is the Dict without it, or `action_mask` of a `mtq.dynamics.Dynamics`. None uses
            them if there are any: an environment in whose code the key stands is reset once when the spec is read.
            False ignores them, and such a key is a part of the observation; True raises an error if there are none.
        spec: The shapes and dtypes of the observations and actions; read from the environment if None.

    Raises:
        ValueError: A setting is out of its range, or the environment is not suitable.

    Example:
        >>> import mtq
        >>> mtq.Task("mountain_car", "MountainCar-v0", max_episode_steps=1_000).num_actions
        3
    """

    name: str
    environment: EnvironmentSource
    _: dataclasses.KW_ONLY
    discount: float = 0.99
    weight: float = 1.0
    reward_scale: float = 1.0
    reward_clip: float | None = None
    num_envs: int = 1
    max_episode_steps: int | None = None
    reference_return: float | None = None
    frame_stack: int = None  # type: ignore[assignment]
    env_kwargs: dict[str, Any] = dataclasses.field(default_factory=dict, hash=False)
    action_mask: bool | None = None
    spec: TaskSpec = None  # type: ignore[assignment]

    def __post_init__(self) -> None:
        check_task_name(self.name)
        check_weight(self.name, self.weight)
        self._check_number("discount", float, lambda value: 0 <= value <= 1, "a number from 0 to 1")
        object.__setattr__(self, "weight", float(self.weight))
        self._check_number("reward_scale", float, lambda value: math.isfinite(value) and value != 0, "finite and not 0")
        object.__setattr__(self, "environment", without_module(self.environment))
        is_default_stack = self.frame_stack is None or isinstance(self.frame_stack, _DefaultInt)
        if is_default_stack:
            object.__setattr__(self, "frame_stack", FRAME_STACK if is_atari(self.environment) else 1)
        is_default_clip = self.reward_clip is None or isinstance(self.reward_clip, _DefaultFloat)
        if is_default_clip:
            object.__setattr__(self, "reward_clip", REWARD_CLIP if is_atari(self.environment) else None)
        if not (is_atari(self.environment) and is_real(self.reward_clip) and self.reward_clip == math.inf):
            self._check_number("reward_clip", float, lambda value: value > 0, "above 0, or None", optional=True)
        self._check_number("num_envs", int, lambda value: value >= 1, "an integer of at least 1")
        self._check_number("frame_stack", int, lambda value: value >= 1, "an integer of at least 1")
        if is_default_stack:  # chosen again if dataclasses.replace changes the environment
            object.__setattr__(self, "frame_stack", _DefaultInt(self.frame_stack))
        if is_default_clip and self.reward_clip is not None:
            object.__setattr__(self, "reward_clip", _DefaultFloat(self.reward_clip))
        self._check_number(
            "max_episode_steps", int, lambda value: value >= 1, "an integer of at least 1, or None", optional=True
        )
        reference = self.reference_return
        self._check_number("reference_return", float, math.isfinite, "finite, or None", optional=True)
        is_outdated = False
        if isinstance(reference, ReadReference):
            is_outdated = reference.of != self._environment_settings()
            object.__setattr__(self, "reference_return", None if is_outdated else reference)
        self._check_env_kwargs()
        if is_tf_agents(self.environment):
            self._check(
                "num_envs", self.num_envs == 1, "1 with a tf-agents environment object, or the environment a callable"
            )
        if isinstance(self.action_mask, np.bool_):
            object.__setattr__(self, "action_mask", bool(self.action_mask))
        self._check(
            "action_mask", self.action_mask is None or isinstance(self.action_mask, bool), "True, False or None"
        )
        has_other_stack = isinstance(self.spec, TaskSpec) and self.spec.frame_stack != self.frame_stack
        if (has_other_stack or self._has_other_masks()) and self.environment is not None:
            object.__setattr__(self, "spec", None)  # read again
        if self.spec is None or (is_outdated and self.environment is not None):
            self._read_environment()
        self._check("spec", isinstance(self.spec, TaskSpec), "an mtq.tasks.TaskSpec, or None to be read")
        if self.spec.frame_stack != self.frame_stack:
            raise ValueError(
                f"frame_stack of task '{self.name}' must equal the frame_stack of its spec, {self.spec.frame_stack}. "
                f"Received: {self.frame_stack}. Pass the environment, so that the spec is read from it."
            )
        if self._has_other_masks():
            must = "None or False if the environment has no masks of legal actions"
            remedy = "Return them as info['action_mask'] from reset and step, or define action_mask of the dynamics"
            if not self.action_mask:
                must, remedy = "None or True if its spec has masks", "Pass the environment, so that it is read again"
            raise ValueError(
                f"action_mask of task '{self.name}' must be {must}. Received: {self.action_mask}. {remedy}."
            )

    @property
    def num_actions(self) -> int:
        """The number of actions."""
        return self.spec.num_actions

    def make_environment(self, render: bool = False) -> Any:
        """Creates another copy of the environment, or returns the only one if it was given as an object.

        Args:
            render: Whether an environment given by its id renders as `"rgb_array"`, if it can.

        Returns:
            A Gymnasium environment, a `mtq.dynamics.Dynamics` or a tf-agents environment. Its observations are single
            frames.

        Raises:
            ValueError: The environment cannot be made, or does not match the task's `spec`.
            BrokenEnvironmentError: The environment's constructor raised an exception.
        """
        uses_masks = self.action_mask is not False if self.spec is None else self.spec.has_action_mask
        environment = make_environment(
            self.name, self.environment, self.max_episode_steps, self.env_kwargs, render, uses_masks
        )
        if self.spec is not None:
            self._check_fits(environment)
        return environment

    def get_config(self) -> dict[str, Any]:
        """Returns the settings as Keras saves them, with None for an environment that was not given by its id."""
        config = {field.name: getattr(self, field.name) for field in dataclasses.fields(self)}
        config["environment"] = self.environment if isinstance(self.environment, str) else None
        config["spec"] = dataclasses.asdict(self.spec)
        for field in ("reference_return", "reward_clip"):
            config[field] = None if config[field] is None else float(config[field])
        config["frame_stack"] = int(self.frame_stack)
        if self.frame_stack == 1:  # as in the files of earlier versions, to which a study compares its tasks
            del config["frame_stack"], config["spec"]["frame_stack"]
        if not self.spec.parts:
            del config["spec"]["parts"]
        if not self.env_kwargs:
            del config["env_kwargs"]
        if not self.spec.has_action_mask:
            del config["spec"]["has_action_mask"]
        if self.action_mask is None:
            del config["action_mask"]
        return config

    @classmethod
    def from_config(cls, config: dict[str, Any]) -> "Task":
        """Creates a task from its config, without making its environment.

        An environment id that names a module, `"module:Id"`, is treated as read from a file: making the environment
        raises an error unless imports are trusted (`mtq.tasks.trusting_imports`).

        Args:
            config: The config, as `get_config` returns it.

        Returns:
            The task.

        Raises:
            ValueError: A field is missing, unknown or invalid.
        """
        known = {field.name: field.name in ("name", "environment", "spec") for field in dataclasses.fields(cls)}
        arguments = task_arguments(config, known)
        try:
            return cls(**arguments)
        except (TypeError, OverflowError) as error:
            raise ValueError(
                f"The config of task {config['name']!r} must hold valid settings. Received: settings that Python "
                f"rejects: {error}. Save the tasks again with mtq."
            ) from error

    def _check_number(
        self, argument: str, kind: type, holds: Callable[[Any], bool], must: str, optional: bool = False
    ) -> None:
        """Checks a setting, and converts NumPy's numbers to Python's, which can be saved."""
        value = getattr(self, argument)
        if value is None and optional:
            return
        try:
            number = integer(argument, value, -(10**18)) if kind is int else real(argument, value)
        except ValueError:
            number = None
        self._check(argument, number is not None and holds(number), must)
        object.__setattr__(self, argument, number)

    def _check(self, argument: str, holds: bool, must: str) -> None:
        if not holds:
            raise ValueError(f"{argument} of task '{self.name}' must be {must}. Received: {getattr(self, argument)!r}.")

    def _check_fits(self, environment: Any) -> None:
        spec = stacked_spec(self.name, read_spec(self.name, environment), self.frame_stack)
        parts = part_spaces(environment)
        first_parts = vars(self).setdefault("_parts", parts)  # those of the first copy
        if parts != first_parts:
            raise ValueError(
                f"All copies of the environment of task '{self.name}' must declare the same parts of an observation, "
                f"{list(first_parts)}. Received: {list(parts)}. Make the observation_space the same for every copy."
            )
        has_parts = spec.parts == self.spec.parts or not self.spec.parts
        has_masks = not (spec.in_graph and self.spec.has_action_mask) or environment.has_action_mask
        if spec == self.spec and spec.in_graph == self.spec.in_graph and has_parts and has_masks:
            return
        if environment is not self.environment:
            environment.close()
        raise ValueError(
            f"The environment of task '{self.name}' must have the shapes of the task's spec, {self.spec}. Received: "
            f"{spec}. Create the task again without a spec, so that the spec is read from the environment."
        )

    def _may_have_masks(self) -> bool:
        is_other = is_atari(self.environment) or is_tf_agents(self.environment)
        return self.action_mask is not False and not is_other

    def _has_other_masks(self) -> bool:
        """Whether the spec uses masks although the task must not, or does not although the task must."""
        is_given = self.action_mask is not None and isinstance(self.spec, TaskSpec)
        return is_given and self.spec.has_action_mask != self.action_mask

    def _environment_settings(self) -> tuple[Any, ...]:
        return self.environment, self.max_episode_steps, self.env_kwargs

    def _check_env_kwargs(self) -> None:
        self._check("env_kwargs", isinstance(self.env_kwargs, Mapping), "a dict of arguments")
        object.__setattr__(self, "env_kwargs", dict(self.env_kwargs))
        if not self.env_kwargs:
            return
        is_made_here = isinstance(self.environment, str) or self.environment is None
        self._check("env_kwargs", is_made_here, "empty unless the environment is given by its id or name")
        self._check(
            "env_kwargs", "max_episode_steps" not in self.env_kwargs, "without max_episode_steps, which the task has"
        )
        try:
            kept = json.loads(json.dumps(self.env_kwargs))  # a copy, which is shared with nobody
        except (TypeError, ValueError, RecursionError):
            kept = None
        is_kept = kept == self.env_kwargs
        self._check("env_kwargs", is_kept, "JSON values. Make the environment in a callable to pass others")
        object.__setattr__(self, "env_kwargs", kept)

    def _read_environment(self) -> None:
        environment = self.make_environment()
        spec = stacked_spec(self.name, read_spec(self.name, environment), self.frame_stack)
        if self._may_have_masks() and returns_masks(environment, are_demanded=bool(self.action_mask)):
            spec = dataclasses.replace(spec, has_action_mask=True)
        object.__setattr__(self, "spec", spec)
        object.__setattr__(self, "_parts", part_spaces(environment))
        if self.reference_return is None:
            threshold = known_reference(environment)
            reference = None if threshold is None else ReadReference(threshold, self._environment_settings())
            object.__setattr__(self, "reference_return", reference)
        if environment is not self.environment:
            with raised_in(self.name, "close"):
                environment.close()


@keras.saving.register_keras_serializable("mtq")
class TaskSet(collections.abc.Mapping[str, Task]):
    """An immutable, ordered mapping from names to the tasks that one network learns.

    Args:
        tasks: The tasks, at least one, each with a different name.

    Raises:
        ValueError: `tasks` is empty, or two names collide in the network, the logs or the export.

    Example:
        >>> import mtq
        >>> tasks = mtq.TaskSet([mtq.Task("cart_pole", "CartPole-v1"), mtq.Task("acrobot", "Acrobot-v1")])
        >>> tasks.names, tasks["acrobot"].num_actions
        (('cart_pole', 'acrobot'), 3)
    """

    def __init__(self, tasks: Iterable[Task]) -> None:
        if not isinstance(tasks, Iterable) or isinstance(tasks, str | bytes):
            raise ValueError(f"tasks must be a list of Task objects. Received: {tasks!r}. Put it into a list.")
        tasks = tuple(tasks)
        for task in tasks:
            if not isinstance(task, Task):
                raise ValueError(
                    f"tasks must hold Task objects. Received: {task!r}. Wrap it: mtq.Task(name, environment)."
                )
        if not tasks:
            raise ValueError("A TaskSet must hold at least one task. Received: no tasks. Give it an mtq.Task.")
        masked = [task.name for task in tasks if task.spec.has_action_mask]
        check_names_together([task.name for task in tasks], masked)
        self._tasks = {task.name: task for task in tasks}

    @property
    def names(self) -> tuple[str, ...]:
        """The names of the tasks, in the order of every `[T]` vector in mtq."""
        return tuple(self._tasks)

    def __getitem__(self, name: str) -> Task:
        return self._tasks[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._tasks)

    def __len__(self) -> int:
        return len(self._tasks)

    def __repr__(self) -> str:
        return f"TaskSet({list(self.names)})"

    def get_config(self) -> dict[str, Any]:
        """Returns the configs of the tasks, as Keras saves them."""
        return {"tasks": [keras.saving.serialize_keras_object(task) for task in self.values()]}

    @classmethod
    def from_config(cls, config: dict[str, Any]) -> "TaskSet":
        """Creates a task set from its config.

        Args:
            config: The config, as `get_config` returns it.

        Returns:
            The task set.

        Raises:
            ValueError: The config holds no tasks, or one of them is invalid.
        """
        return cls([_task(task) for task in listed_tasks(config)])


def _task(config: Any) -> Task:
    """Creates a task from its config, whose class must be a registered Task."""
    kind = class_of(config)
    if not isinstance(kind, type) or not issubclass(kind, Task):
        raise ValueError(
            f"The config of a TaskSet must hold configs of Tasks. Received: {str(config)[:200]}. Save the tasks again."
        )
    return kind.from_config(config.get("config"))


def check_tasks(role: str, tasks: Any) -> None:
    """Raises a ValueError unless the value is a `TaskSet`.

    Args:
        role: The name of the argument, for the message.
        tasks: The value received.
    """
    if not isinstance(tasks, TaskSet):
        raise ValueError(f"{role} must be a TaskSet. Received: {tasks!r}. Write mtq.TaskSet([…]).")


def check_weight(name: str, weight: Any) -> None:
    """Raises a ValueError unless the value is a valid weight, a finite number of at least 0.

    Args:
        name: The task's name, for the message.
        weight: The value received.
    """
    if not is_real(weight) or not math.isfinite(weight) or weight < 0:
        raise ValueError(
            f"The weight of task '{name}' must be a finite number, 0 or more. Received: {weight!r}. "
            "To exclude a task from the training, set its weight to 0."
        )
