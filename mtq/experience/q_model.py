"""The interface of the models that select actions, for experiences, evaluations and exports."""

import dataclasses
from collections.abc import Callable, Collection, Mapping, Sequence
from typing import Protocol

import keras
import tensorflow as tf

from mtq.tasks import TaskSet

QValues = Callable[[Mapping[str, tf.Tensor]], Mapping[str, tf.Tensor]]


def check_specs(tasks: TaskSet, model: "QFunctions") -> None:
    """Raises a ValueError unless tasks have the shapes of the model's tasks of the same names.

    Args:
        tasks: The tasks, all of which the model knows.
        model: The model.
    """
    for name, task in tasks.items():
        first_action = model.tasks[name].spec.first_action  # may differ: the network counts its actions from 0
        if dataclasses.replace(task.spec, first_action=first_action) != model.tasks[name].spec:
            raise ValueError(
                f"Task '{name}' must have the shapes that the model was built for, {model.tasks[name].spec}. "
                f"Received: {task.spec}. Make both from one TaskSet."
            )


class QFunctions(Protocol):
    """The action values of several tasks."""

    @property
    def tasks(self) -> TaskSet:
        """The tasks."""

    @property
    def paths(self) -> Mapping[str, keras.Model]:
        """The network of each task, `observation [N, …]` → `q_values [N, A]`, by the task's name."""

    @property
    def uses_xla(self) -> bool:
        """Whether XLA compiles the graphs that use the networks."""


class QModel(QFunctions, Protocol):
    """A model with the action values of several tasks. `MultiTaskDQN` is one."""

    @property
    def name(self) -> str:
        """The name, for messages."""

    @property
    def network(self) -> keras.Model:
        """The network that holds all paths."""

    @property
    def distribute_strategy(self) -> tf.distribute.Strategy:
        """The strategy in whose scope the network was made."""

    @property
    def running_returns(self) -> Collection[str]:
        """The tasks whose batches must have the running returns of their episodes."""

    def joint_q_values(self, tasks: Sequence[str]) -> QValues:
        """Returns a function that computes the action values of several tasks.

        Args:
            tasks: The names of the tasks.

        Returns:
            The function, `{task: observation [N, …]}` → `{task: q_values [N, A]}`.
        """
