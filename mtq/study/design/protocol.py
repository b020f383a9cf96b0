"""`Protocol`: the settings that all runs of a study have in common, unless an arm overrides them."""

import dataclasses
import math
from typing import Any

import keras

from mtq.experience import exploration as exploration
from mtq.runs import learning_rate_for, make_exploration, make_optimizer
from mtq.settings import ProtocolOptions
from mtq.settings.checking import check, check_contradictions
from mtq.settings.declaration import documented, given, names_given
from mtq.settings.presets import epsilons_beside_noise, expanded
from mtq.study.design.serialization import loss_config
from mtq.tasks.task import TaskSet


@documented
@dataclasses.dataclass(frozen=True, kw_only=True)
class Protocol(ProtocolOptions):
    """The settings by which every network of a study is trained and evaluated.

    {options}

    Raises:
        ValueError: A setting is out of its range, or the loss is unknown.
    """

    loss: Any = None
    """The loss of the heads that it fits: a name, or a loss of Keras, which is stored as its config; by default squared
    for scalar heads. Other heads have their own loss."""

    def __post_init__(self) -> None:
        if self.preset is not None:
            for name, value in {**expanded(self.preset, given(self)), "preset": None}.items():
                object.__setattr__(self, name, value)
        elif self.noisy and names_given(self):  # not if the protocol is made from all values of another
            for name, value in epsilons_beside_noise(given(self)).items():
                object.__setattr__(self, name, value)
        check_contradictions(self)
        object.__setattr__(self, "loss", loss_config(self.loss))
        for name, value in check(self, " of a study").items():
            object.__setattr__(self, name, _kept(getattr(self, name), value))
        if self.replay_capacity < self.batch_size:
            raise ValueError(
                f"replay_capacity of a study must be at least the batch size, {self.batch_size}. Received: "
                f"{self.replay_capacity}. Raise replay_capacity or lower batch_size."
            )

    @property
    def env_steps(self) -> int:
        """The number of environment steps of each task in one run, without the warm-up."""
        return math.floor(self.epochs * self.updates_per_epoch * self.steps_per_update)

    @property
    def score(self) -> str:
        """A description of the score that an evaluation reports."""
        if self.evaluation_steps is None:
            return f"mean return of {self.evaluation_episodes} greedy episodes"
        return (
            f"mean discounted return of the episodes that ended within {self.evaluation_steps:,} greedy steps, else 0"
        )

    def for_tasks(self, tasks: TaskSet) -> "Protocol":
        """Returns the protocol with the default learning rate for the tasks, and the default loss of scalar heads.

        Args:
            tasks: The tasks.
        """
        chosen: dict[str, Any] = {}
        if self.learning_rate is None:
            chosen["learning_rate"] = learning_rate_for(tasks)
        if self.loss is None and self.heads == "scalar":
            chosen["loss"] = "squared"
        return self.replace(**chosen) if chosen else self

    def optimizer(self) -> keras.optimizers.Optimizer:
        """Returns a new optimizer: Adam with the learning rate or its schedule."""
        return make_optimizer(self, epsilon=1e-8)

    def exploration(self) -> exploration.Exploration:
        """Returns the exploration: ε-greedy, where ε is a function of a task's environment steps."""
        return make_exploration(self)


def _kept(given: Any, checked: Any) -> Any:
    """Returns the given value if it is a number of Python, so that plans of older studies stay the same."""
    if isinstance(checked, int):  # also a flag
        return checked
    return given if type(given) in (int, float) and given == checked else checked
