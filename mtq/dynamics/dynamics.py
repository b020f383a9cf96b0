"""The base class of in-graph environments, and their integrator."""

import abc
import copy
from collections.abc import Callable

import tensorflow as tf

from mtq.checks import integer


class Dynamics(abc.ABC):
    """The dynamics of N copies of an environment at once, as pure functions. A state is a vector of S numbers.

    Attributes:
        observation_shape: The shape of one observation, without the dimension N.
        observation_dtype: The dtype of the observations, `"float32"` or `"uint8"`.
        observation_high: The upper bound of the observations, from which a network scales them from `[0, high]` to
            `[0, 1]`; None if they are not scaled. Observations of dtype uint8 need it.
        num_actions: The number of actions, which are `0 … num_actions − 1`.
        num_random: The number of random numbers that `initial_state` and `step` take.
        reward_threshold: The return at which the task counts as solved under the constructor's default time limit; None
            if it is unknown.

    Args:
        max_episode_steps: The number of steps after which an episode is truncated; None for the limit in the class
            attribute of this name, or no limit if the class has none.
    """

    observation_shape: tuple[int, ...]
    observation_dtype: str = "float32"
    observation_high: float | None = None
    num_actions: int
    num_random: int = 1
    reward_threshold: float | None = None

    def __init__(self, max_episode_steps: int | None = None) -> None:
        given = getattr(type(self), "max_episode_steps", None) if max_episode_steps is None else max_episode_steps
        self.max_episode_steps = None if given is None else integer("max_episode_steps of dynamics", given)

    def with_limit(self, max_episode_steps: int | None) -> "Dynamics":
        """Returns a copy of the dynamics with another time limit.

        Args:
            max_episode_steps: The number of steps after which an episode is truncated; None for no limit.
        """
        other = copy.copy(self)
        other.max_episode_steps = max_episode_steps
        return other

    def close(self) -> None:  # noqa: B027
        """Does nothing, because dynamics hold no resources."""

    @abc.abstractmethod
    def initial_state(self, random: tf.Tensor) -> tf.Tensor:
        """Returns the state at the start of an episode.

        Args:
            random: The uniform random numbers from 0 to 1, `[N, num_random]` float32.

        Returns:
            The states, `[N, S]` float32.
        """

    @abc.abstractmethod
    def step(self, state: tf.Tensor, action: tf.Tensor, random: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor, tf.Tensor]:
        """Returns the result of an action.

        Args:
            state: The states, `[N, S]` float32.
            action: The actions, `[N]` int32.
            random: The uniform random numbers from 0 to 1, `[N, num_random]` float32.

        Returns:
            The next states, `[N, S]` float32; the rewards, `[N]` float32; and whether each episode terminated, `[N]`
            bool.
        """

    def observe(self, state: tf.Tensor) -> tf.Tensor:
        """Returns the observations of states, `[N, …]` of `observation_dtype`; by default the states themselves."""
        return state

    def action_mask(self, state: tf.Tensor) -> tf.Tensor | None:
        """Returns which actions are legal in states. Optional: without this method all actions always are.

        At least one action must be legal in every state that is acted on or truncated; none need be in a terminal one.

        Args:
            state: The states, `[N, S]` float32.

        Returns:
            Whether each action is legal, `[N, num_actions]` bool.
        """
        return None

    @property
    def has_action_mask(self) -> bool:
        """Whether there are illegal actions: whether a class defines `action_mask`."""
        return type(self).action_mask is not Dynamics.action_mask


class DynamicsWrapper(Dynamics):
    """The base class of wrappers around dynamics, whose attributes a wrapper copies.

    Args:
        dynamics: The wrapped dynamics.

    Attributes:
        dynamics: The wrapped dynamics.
    """

    def __init__(self, dynamics: Dynamics) -> None:
        super().__init__()
        self.dynamics, self.max_episode_steps = dynamics, dynamics.max_episode_steps
        self.observation_shape, self.num_actions = tuple(dynamics.observation_shape), dynamics.num_actions
        self.observation_dtype, self.observation_high = dynamics.observation_dtype, dynamics.observation_high
        self.num_random = dynamics.num_random

    @property
    def has_action_mask(self) -> bool:
        """Whether there are illegal actions in the wrapped dynamics."""
        return self.dynamics.has_action_mask


def runge_kutta(
    derivative: Callable[[tf.Tensor], tf.Tensor], state: tf.Tensor, duration: float | tf.Tensor, substeps: int
) -> tf.Tensor:
    """Integrates `state' = derivative(state)` with the classical fourth-order Runge–Kutta method.

    Args:
        derivative: The function from states `[N, S]` to their time derivatives `[N, S]`.
        state: The states at the start, `[N, S]`.
        duration: The time to integrate over, a number or `[N, 1]`, in the time unit of the derivative.
        substeps: The number of equal integration steps.

    Returns:
        The states at the end, `[N, S]`.
    """
    h = duration / substeps
    for _ in range(substeps):
        k_1 = derivative(state)
        k_2 = derivative(state + h / 2 * k_1)
        k_3 = derivative(state + h / 2 * k_2)
        k_4 = derivative(state + h * k_3)
        state = state + h / 6 * (k_1 + 2 * k_2 + 2 * k_3 + k_4)
    return state
