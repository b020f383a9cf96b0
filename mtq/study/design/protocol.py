"""What all runs of a study have in common, unless an arm says otherwise."""

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
    """How long, from how much experience, and by what settings every network of a study learns.

    Args:
        epochs: Each ends with an evaluation; there is one more before the first.
        updates_per_epoch: Of the network, from one batch of every task each.
        batch_size: B, of each task.
        steps_per_update: Environment steps of each task per update.
        learning_rate: Of Adam.
        final_learning_rate: To which it falls on a cosine until the last update; by default it stays.
        loss: Of the temporal-difference errors, a name, or a loss of Keras, which is kept as its config.
        double: Double DQN's targets.
        n_step: Steps that a return spans.
        target_update_period: Updates between two copies to the target network.
        target_update_tau: If given, the target network instead moves this part of the way after each update.
        replay_capacity: Environment steps of each task that are remembered.
        warmup_steps: Random environment steps of each task before the first update.
        initial_epsilon: ε after these.
        final_epsilon: ε from `exploration_steps` on.
        exploration_steps: In which ε falls, on a line, in environment steps of a task.
        repeat_exponent: If given, random actions are repeated, as `mtq.exploration.EpsilonGreedy` says.
        restarts_episodes: Whether every epoch begins with new episodes; those that are open then count as truncated.
        evaluation_episodes: Greedy episodes of each task at every evaluation. The score is their mean return.
        evaluation_steps: If given, instead so many greedy steps of each task. The score is the mean discounted return
            of the episodes that ended within them, and 0 if none did: give more steps than the longest episode has.
        evaluates_target: Whether the target network plays in evaluations, and not the online one. With a small
            `target_update_tau` it is a running mean of the online network.
        cosines_every: Updates between two looks at the cosines of the tasks' gradients.

    Raises:
        ValueError: A setting is out of its range, or there is no such loss.
    """

    epochs: int = 20
    updates_per_epoch: int = 1_000
    batch_size: int = 32
    steps_per_update: float = 1.0
    learning_rate: float = 1e-3
    final_learning_rate: float | None = None
    loss: Any = "huber"
    double: bool = False
    n_step: int = 1
    target_update_period: int = 100
    target_update_tau: float | None = None
    replay_capacity: int = 20_000
    warmup_steps: int = 1_000
    initial_epsilon: float = 1.0
    final_epsilon: float = 0.05
    exploration_steps: int = 5_000
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
                f"replay_capacity of a study must hold a batch of {self.batch_size}. Received: {self.replay_capacity}."
            )

    @property
    def env_steps(self) -> int:
        """Environment steps of each task in one run, the warm-up's not included."""
        return math.floor(self.epochs * self.updates_per_epoch * self.steps_per_update)

    @property
    def score(self) -> str:
        """What an evaluation reports."""
        if self.evaluation_steps is None:
            return f"mean return of {self.evaluation_episodes} greedy episodes"
        return (
            f"mean discounted return of the episodes that ended within {self.evaluation_steps:,} greedy steps, else 0"
        )

    def optimizer(self) -> keras.optimizers.Optimizer:
        """A new optimizer."""
        rate: Any = self.learning_rate
        if self.final_learning_rate is not None:
            updates = self.epochs * self.updates_per_epoch
            rate = keras.optimizers.schedules.CosineDecay(rate, updates, alpha=self.final_learning_rate / rate)
        return keras.optimizers.Adam(rate, epsilon=1e-8)

    def exploration(self) -> exploration.Exploration:
        """ε over a task's environment steps."""
        epsilon = exploration.linear(self.initial_epsilon, self.final_epsilon, self.exploration_steps)
        return exploration.EpsilonGreedy(epsilon, repeat_exponent=self.repeat_exponent)


def _kept(given: Any, number: int | float) -> int | float:
    """The value that was given if it is one of Python's own, so that plans of studies begun before stay the same."""
    return given if type(given) in (int, float) and given == number and not isinstance(number, int) else number
