"""What every in-graph environment is made of."""

import abc
import copy
from collections.abc import Callable

import tensorflow as tf

from mtq.checks import integer


class Dynamics(abc.ABC):
    """What happens in N copies of an environment at once, as pure functions. A state is a vector of S numbers.

    Attributes:
        observation_shape: Of one observation, without N.
        num_actions: Actions are `0 … num_actions − 1`.
        num_random: How many random numbers `initial_state` and `step` take.
        reward_threshold: The return at which the task counts as solved under the constructor's own time limit, if there
            is one.

    Args:
        max_episode_steps: Episodes are truncated after so many steps; None for the class's own limit, an attribute of
            this name, if there is one, and otherwise for no limit.
    """

    observation_shape: tuple[int, ...]
    num_actions: int
    num_random: int = 1
    reward_threshold: float | None = None

    def __init__(self, max_episode_steps: int | None = None) -> None:
        given = getattr(type(self), "max_episode_steps", None) if max_episode_steps is None else max_episode_steps
        self.max_episode_steps = None if given is None else integer("max_episode_steps of dynamics", given)

    def with_limit(self, max_episode_steps: int | None) -> "Dynamics":
        """The same with another time limit."""
        other = copy.copy(self)
        other.max_episode_steps = max_episode_steps
        return other

    def close(self) -> None:  # noqa: B027
        """There is nothing to close."""

    @abc.abstractmethod
    def initial_state(self, random: tf.Tensor) -> tf.Tensor:
        """The state at the start of an episode.

        Args:
            random: Uniform numbers from 0 to 1, `[N, num_random]` float32.

        Returns:
            `[N, S]` float32.
        """

    @abc.abstractmethod
    def step(self, state: tf.Tensor, action: tf.Tensor, random: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor, tf.Tensor]:
        """What an action leads to.

        Args:
            state: `[N, S]` float32.
            action: `[N]` int32.
            random: Uniform numbers from 0 to 1, `[N, num_random]` float32.

        Returns:
            The next state `[N, S]`, the reward `[N]` float32, and whether the episode terminated, `[N]` bool.
        """

    def observe(self, state: tf.Tensor) -> tf.Tensor:
        """The observation of a state, `[N, …]` float32; by default the state itself."""
        return state


def runge_kutta(
    derivative: Callable[[tf.Tensor], tf.Tensor], state: tf.Tensor, duration: float | tf.Tensor, substeps: int
) -> tf.Tensor:
    """Integrates `state' = derivative(state)` by the classical method of fourth order.

    Args:
        derivative: `[N, S]` → `[N, S]`.
        state: `[N, S]`.
        duration: For how long, a number or `[N, 1]`.
        substeps: In how many equal steps.

    Returns:
        The state at the end, `[N, S]`.
    """
    h = duration / substeps
    for _ in range(substeps):
        k_1 = derivative(state)
        k_2 = derivative(state + h / 2 * k_1)
        k_3 = derivative(state + h / 2 * k_2)
        k_4 = derivative(state + h * k_3)
        state = state + h / 6 * (k_1 + 2 * k_2 + 2 * k_3 + k_4)
    return state
