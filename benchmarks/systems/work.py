"""The work that all systems do, and what a system must offer."""

import dataclasses
from typing import Protocol


@dataclasses.dataclass(frozen=True)
class Work:
    """Deep Q-learning at a fixed ratio: one update per step of a task's copies, that is per `num_envs` of its steps."""

    tasks: int = 5
    """How many tasks one network learns; systems that learn single tasks learn CartPole alone."""
    num_envs: int = 4
    """Copies of each task's environment; also the steps per update."""
    batch_size: int = 32
    """Per task."""
    hidden: int = 128
    """Width of the two hidden layers between a task's observation and its action values."""
    learning_rate: float = 1e-3
    """Of Adam."""
    replay_capacity: int = 50_000
    """Steps of each task."""
    warmup_steps: int = 1_000
    """Random steps of each task before the first update."""
    target_update_period: int = 100
    """Updates between two copies to the target network."""
    epsilon: float = 0.1
    """Of the exploration."""
    steps_per_execution: int = 100
    """Updates per call into the graph, where a system has such a setting."""


class System(Protocol):
    """One system, ready to learn."""

    round_to: int
    """Updates are run in multiples of this."""

    def run(self, updates: int) -> None:
        """Acts, remembers and learns for so many updates."""

    def env_steps(self) -> int:
        """How many steps the environments have taken so far, all tasks together."""
