"""`Protocol`: the settings that all runs of a study have in common, unless an arm overrides them."""

import dataclasses
import math
from typing import Any

import keras

from mtq.checks import flag, integer, real
from mtq.experience import exploration as exploration
from mtq.study.design.serialization import loss_config

_INTEGERS = (
    "epochs",
    "updates_per_epoch",
    "batch_size",
    "target_update_period",
    "replay_capacity",
    "warmup_steps",
    "exploration_steps",
    "n_step",
    "evaluation_episodes",
    "cosines_every",
)
_POSITIVE = ("steps_per_update", "learning_rate")
_PROBABILITIES = ("initial_epsilon", "final_epsilon")
_FLAGS = ("double", "restarts_episodes", "evaluates_target")


@dataclasses.dataclass(frozen=True)
class Protocol:
    """The settings by which every network of a study is trained and evaluated.

    Args:
        epochs: The number of epochs. Each ends with an evaluation; there is one more before the first epoch.
        updates_per_epoch: The number of updates of the network in each epoch. Each uses one batch of every task.
        batch_size: The batch size B of each task.
        steps_per_update: The number of environment steps of each task per update, the inverse of the replay ratio.
        learning_rate: The learning rate of Adam.
        final_learning_rate: The learning rate at the last update, to which it decays along a cosine; None for a
            constant learning rate.
        loss: The loss of the temporal-difference errors: a name, or a loss of Keras, which is stored as its config.
        double: Whether targets are those of Double DQN.
        n_step: The number of steps of an n-step return.
        target_update_period: The number of updates between two copies to the target network.
        target_update_tau: If given, the fraction of the way that the target network instead moves toward the online
            network after each update.
        replay_capacity: The capacity of each task's replay buffer, in environment steps.
        warmup_steps: The number of random environment steps of each task before the first update.
        initial_epsilon: The exploration rate ε after the warm-up.
        final_epsilon: The exploration rate ε after `exploration_steps`.
        exploration_steps: The number of environment steps of a task in which ε decays linearly.
        repeat_exponent: The exponent of the zeta distribution by which random actions are repeated; None for no
            repetition. See `mtq.exploration.EpsilonGreedy`.
        restarts_episodes: Whether every epoch starts new episodes. Unfinished episodes then count as truncated.
        evaluation_episodes: The number of greedy episodes of each task in every evaluation. The score is their mean
            return.
        evaluation_steps: If given, the number of greedy steps of each task in every evaluation, instead of episodes.
            The score is the mean discounted return of the episodes that ended within them, and 0 if none ended: give
            more steps than the longest episode has.
        evaluates_target: Whether evaluations use the target network instead of the online network. With a small
            `target_update_tau` the target network is a running mean of the online network.
        cosines_every: The number of updates between two samples of the cosines of the tasks' gradients.

    Raises:
        ValueError: A setting is out of its range, or the loss is unknown.
    """

    epochs: int = 20
    updates_per_epoch: int = 1_000
    batch_size: int = 32
    steps_per_update: float = 1.0
    learning_rate: float = 1e-3
    final_learning_rate: float | None = None
    loss: Any = "squared"
    double: bool = False
    n_step: int = 1
    target_update_period: int = 100
    target_update_tau: float | None = None
    replay_capacity: int = 50_000
    warmup_steps: int = 1_000
    initial_epsilon: float = 1.0
    final_epsilon: float = 0.05
    exploration_steps: int = 10_000
    repeat_exponent: float | None = None
    restarts_episodes: bool = False
    evaluation_episodes: int = 20
    evaluation_steps: int | None = None
    evaluates_target: bool = False
    cosines_every: int = 100

    def __post_init__(self) -> None:
        object.__setattr__(self, "loss", loss_config(self.loss))
        numbers: dict[str, int | float] = {
            name: integer(f"{name} of a study", getattr(self, name)) for name in _INTEGERS
        }
        numbers |= {name: real(f"{name} of a study", getattr(self, name), above=0) for name in _POSITIVE}
        numbers |= {name: real(f"{name} of a study", getattr(self, name), least=0, most=1) for name in _PROBABILITIES}
        numbers |= {name: flag(f"{name} of a study", getattr(self, name)) for name in _FLAGS}
        if self.final_learning_rate is not None:
            numbers["final_learning_rate"] = real("final_learning_rate of a study", self.final_learning_rate, least=0)
        if self.target_update_tau is not None:
            numbers["target_update_tau"] = real("target_update_tau of a study", self.target_update_tau, above=0, most=1)
        if self.repeat_exponent is not None:
            numbers["repeat_exponent"] = real("repeat_exponent of a study", self.repeat_exponent, above=1)
        if self.evaluation_steps is not None:
            numbers["evaluation_steps"] = integer("evaluation_steps of a study", self.evaluation_steps)
        for name, number in numbers.items():
            object.__setattr__(self, name, _kept(getattr(self, name), number))
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

    def optimizer(self) -> keras.optimizers.Optimizer:
        """Returns a new optimizer: Adam with the learning rate or its schedule."""
        rate: Any = self.learning_rate
        if self.final_learning_rate is not None:
            updates = self.epochs * self.updates_per_epoch
            rate = keras.optimizers.schedules.CosineDecay(rate, updates, alpha=self.final_learning_rate / rate)
        return keras.optimizers.Adam(rate, epsilon=1e-8)

    def exploration(self) -> exploration.Exploration:
        """Returns the exploration: ε-greedy, where ε is a function of a task's environment steps."""
        epsilon = exploration.linear(self.initial_epsilon, self.final_epsilon, self.exploration_steps)
        return exploration.EpsilonGreedy(epsilon, repeat_exponent=self.repeat_exponent)


def _kept(given: Any, number: int | float) -> int | float:
    """Returns the given value if it is a number of Python, so that plans of older studies stay the same."""
    return given if type(given) in (int, float) and given == number and not isinstance(number, int) else number
