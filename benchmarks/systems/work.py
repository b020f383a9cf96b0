"""The work that all systems do, and the interface of a system."""

import dataclasses
from typing import Protocol


@dataclasses.dataclass(frozen=True)
class Work:
    """Deep Q-learning with one update per step of a task's copies, that is, per `num_envs` environment steps."""

    tasks: int = 5
    """The number of tasks that one network learns; systems that learn single tasks learn CartPole alone."""
    num_envs: int = 4
    """The number of copies of each task's environment, and of environment steps of each task per update."""
    batch_size: int = 32
    """The batch size of each task."""
    hidden: int = 128
    """The width of the two hidden layers between a task's observation and its action values."""
    learning_rate: float = 1e-3
    """The learning rate of Adam."""
    replay_capacity: int = 50_000
    """The capacity of each task's replay buffer, in environment steps."""
    warmup_steps: int = 1_000
    """The number of random environment steps of each task before the first update."""
    target_update_period: int = 100
    """The number of updates between two copies to the target network."""
    epsilon: float = 0.1
    """The exploration rate ε."""
    steps_per_execution: int = 100
    """The number of updates per call into the graph, if the system has such a setting."""


class System(Protocol):
    """A system that is set up and ready to train."""

    round_to: int
    """The number whose multiples `run` accepts as numbers of updates."""

    def run(self, updates: int) -> None:
        """Acts, stores transitions and trains for a number of updates."""

    def env_steps(self) -> int:
        """Returns the number of environment steps so far, for all tasks together."""
