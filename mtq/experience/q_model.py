"""The interface of the models that select actions, for experiences, evaluations and exports."""

from collections.abc import Mapping
from typing import Protocol

import keras
import tensorflow as tf

from mtq.tasks import TaskSet


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
