"""The layers of a task's head, from the backbone's features to action values."""

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any, TypeAlias

import keras

from mtq import heads as heads_lib
from mtq.heads import DuelingHead, Head, NoisyDense, Scalar
from mtq.networks.backbones import widths
from mtq.networks.encoding import check_keys
from mtq.tasks.task import Task, TaskSet

TaskHead: TypeAlias = str | Head | Sequence[int]


@dataclasses.dataclass(frozen=True)
class HeadDesign:
    """The design of one task's head.

    Attributes:
        task: The task.
        head: The head, which belongs to this task.
        units: The widths of the hidden dense layers.
        dueling: Whether the outputs are computed by a `DuelingHead`.
        noisy: Whether the layers are `NoisyDense`.
    """

    task: Task
    head: Head
    units: Sequence[int]
    dueling: bool
    noisy: bool

    def layers(self) -> list[keras.layers.Layer]:
        """Creates the layers, to be applied in order to the backbone's features."""
        name, head, num_actions, number = self.task.name, self.head, self.task.num_actions, self.head.num_outputs
        layers = [self._dense(units, f"{name}_head_{i}", "relu") for i, units in enumerate(self.units)]
        is_in_graph = type(head) is not Scalar or head.return_scaling is not None
        outputs_name = f"{name}_outputs" if is_in_graph else f"{name}_q_values"
        if self.dueling:
            options: dict[str, Any] = {} if number is None else {"num_outputs": number}
            options |= {"noisy": True} if self.noisy else {}
            outputs = [DuelingHead(num_actions, **options, name=outputs_name, dtype="float32")]
        else:
            outputs = [self._dense(num_actions * (number or 1), outputs_name, None, dtype="float32")]
            if number is not None:
                outputs.append(keras.layers.Reshape([num_actions, number], name=f"{name}_by_action", dtype="float32"))
        return [*layers, *outputs, *([head] if is_in_graph else [])]

    def _dense(self, units: int, name: str, activation: str | None, **options: Any) -> keras.layers.Layer:
        dense = NoisyDense if self.noisy else keras.layers.Dense
        return dense(units, activation=activation, name=name, **options)


def design_heads(
    tasks: TaskSet, heads: Any, head_units: Any, *, dueling: bool, noisy: bool, return_scaling: Any
) -> dict[str, HeadDesign]:
    """Checks the arguments of `shared_q_network` that concern heads, and designs the head of each task.

    Args:
        tasks: The tasks.
        heads: The heads, as for `shared_q_network`.
        head_units: The widths of the hidden layers, as for `shared_q_network`.
        dueling: Whether the outputs are computed by `DuelingHead`s.
        noisy: Whether the heads' layers are `NoisyDense`.
        return_scaling: The scaling of returns, as for `shared_q_network`.

    Returns:
        The designs by task.

    Raises:
        ValueError: An argument is not given for exactly these tasks, is unknown, or does not fit another.
    """
    by_task = _by_task("heads", heads, tasks)
    units = {name: [*entry] for name, entry in by_task.items() if _are_widths(entry)}
    if units and not _is_empty(head_units):
        raise ValueError(
            f"head_units must be left out if heads has widths of hidden layers. Received: {head_units!r}, and "
            f"heads={heads!r}. Give the widths as head_units."
        )
    given_units = _by_task("head_units", head_units, tasks)
    scalings = _by_task("return_scaling", return_scaling, tasks)
    designs = {}
    for name, task in tasks.items():
        role = "heads" if name in units else "head_units"
        hidden = widths(f"{role} of task '{name}'", units.get(name, given_units[name]))
        head = Scalar() if name in units else _head(by_task[name], name)
        scaling = heads_lib.get_return_scaling(scalings[name])
        if scaling is not None and head.return_scaling not in (None, scaling):
            raise ValueError(
                f"return_scaling of task '{name}' must be left out if its head has one. Received: {scaling!r}, and "
                f"{head.return_scaling!r} of the head. Give one of them."
            )
        designs[name] = HeadDesign(task, head.copy(f"{name}_q_values", scaling), hidden, dueling, noisy)
    return designs


def _head(entry: Any, task: str) -> Head:
    if isinstance(entry, Head | str):
        return heads_lib.get(entry)
    raise ValueError(
        f"heads of task '{task}' must be one of {heads_lib.names()}, a Head, or a list of integers, the widths of "
        f"hidden layers. Received: {entry!r}."
    )


def _are_widths(entry: Any) -> bool:
    return not isinstance(entry, str | bytes | Head | Mapping) and hasattr(entry, "__iter__")


def _is_empty(value: Any) -> bool:
    return hasattr(value, "__len__") and len(value) == 0


def _by_task(role: str, value: Any, tasks: TaskSet) -> dict[str, Any]:
    """Returns the value of each task."""
    if not isinstance(value, Mapping) or "class_name" in value:
        return dict.fromkeys(tasks, value)
    check_keys(role, value, tasks)
    return dict(value)
