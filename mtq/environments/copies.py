"""Steps several copies of one task's environment at once, in Python."""

import abc
from typing import Any, NamedTuple, NoReturn, TypeAlias

import numpy as np

from mtq.checks import integer
from mtq.environments.answers import Answers
from mtq.environments.frame_stack import FrameStack
from mtq.environments.masks import ActionMasks, check_legal, check_no_mask, warn_of_unused_masks
from mtq.environments.old_interfaces import explained
from mtq.environments.tf_agents_view import as_gymnasium
from mtq.errors import raise_broken, raised_in
from mtq.tasks.action_masks import ACTION_MASK, has_mask
from mtq.tasks.environment_source import is_tf_agents
from mtq.tasks.spec import read_spec
from mtq.tasks.task import Task

Observations: TypeAlias = Any
"""Observations `[N, …]`, an array; or the pair of them and the masks of legal actions, `[N, A]` bool."""


class Step(NamedTuple):
    """The result of one action in each of N copies of an environment.

    If the task has masks of legal actions, observations are pairs of observations and masks, `[N, A]` bool. At a true
    terminal, the mask of the next observation may be empty.

    Attributes:
        next_observation: The observations that the actions led to, `[N, ...]`. Where an episode ended, this is its
            last observation.
        reward: The rewards as the environment returned them, `[N]` float32.
        discount: The discounts, `[N]` float32: 0 at a true terminal, else 1; or those of a tf-agents environment.
        is_last: Whether the episode ended, by a terminal or by a time limit, `[N]` bool.
        observation: The observations to act on next, `[N, ...]`: the first of a new episode where one ended.
    """

    next_observation: Observations
    reward: np.ndarray
    discount: np.ndarray
    is_last: np.ndarray
    observation: Observations


class VectorEnvironment(abc.ABC):
    """N copies of a task's environment, each of which starts its next episode within the step that ends the last.

    If the task has masks of legal actions, observations are pairs of observations and masks.
    """

    @abc.abstractmethod
    def reset(self) -> Observations:
        """Seeds every copy and starts an episode in it. Returns the observations, `[N, ...]`."""

    @abc.abstractmethod
    def restart(self) -> Observations:
        """Starts another episode in every copy without seeding it. Returns the observations, `[N, ...]`."""

    @abc.abstractmethod
    def step(self, actions: np.ndarray, only: np.ndarray | None = None) -> Step:
        """Takes one action in each copy.

        Args:
            actions: The actions, `[N]` int.
            only: The mask of the copies to step, `[N]` bool; None for all. The results of the other copies are
                undefined.

        Returns:
            The result of the actions in all copies.
        """

    @abc.abstractmethod
    def reseed(self, seed: int) -> None:
        """Sets the seed from which the copies are seeded at the next `reset`.

        Args:
            seed: The seed, at least 0.
        """

    @abc.abstractmethod
    def render(self) -> np.ndarray | None:
        """Returns a picture of the first copy, `[height, width, 3]` uint8; None if it does not render `rgb_array`."""

    @abc.abstractmethod
    def close(self) -> None:
        """Closes the copies, except for an environment that was given as an object, which the user closes."""


def copy_seeds(seed: int, num_copies: int) -> list[int]:
    """Returns the seeds of the copies of an environment, each different.

    Args:
        seed: The seed of all copies.
        num_copies: The number of copies.
    """
    return [int(s) for s in np.random.SeedSequence(seed).generate_state(num_copies)]


class EnvironmentCopies(VectorEnvironment):
    """N copies of a task's environment, each of which starts its next episode within the step that ends the last one.

    Every step of every copy is therefore a transition: N environment steps yield N transitions.

    Args:
        task: The task.
        num_copies: The number of copies N.
        seed: The seed from which the copies' first resets are seeded, each differently; at least 0.
        render: Whether the environments are made with `render_mode="rgb_array"`, if they support it.

    Raises:
        ValueError: The environment cannot be made.
    """

    def __init__(self, task: Task, num_copies: int, seed: int, render: bool = False) -> None:
        self.task = task
        num_copies, seed = integer("num_copies", num_copies), integer("seed", seed, least=0)
        environments = [task.make_environment(render) for _ in range(num_copies)]
        self._has_discounts = is_tf_agents(environments[0])
        spec = read_spec(task.name, environments[0])
        self._environments = [as_gymnasium(environment) for environment in environments]
        self._answers = Answers(task, spec, self._environments)
        self.reseed(seed)
        self._stack = FrameStack(task.spec, num_copies) if task.frame_stack > 1 else None
        self._first_action = [int(getattr(env.action_space, "start", 0)) for env in self._environments]
        self._masks = ActionMasks(task.name, task.num_actions) if task.spec.has_action_mask else None
        self._legal = np.ones((num_copies, task.num_actions), np.bool_)  # where each copy acts next; all without masks
        self._rejects_masks: bool | None = None if self._masks is None and task.action_mask is None else False

    def __len__(self) -> int:
        return len(self._environments)

    def reseed(self, seed: int) -> None:
        """Sets the seed from which the copies are seeded at the next `reset`.

        Args:
            seed: The seed, at least 0.
        """
        self._seeds = copy_seeds(seed, len(self))

    def reset(self) -> Observations:
        """Seeds every copy and starts an episode in it. Returns the observations, `[N, ...]`."""
        return self._first([self._begin(index, seed) for index, seed in enumerate(self._seeds)])

    def restart(self) -> Observations:
        """Starts another episode in every copy without seeding it. Returns the observations, `[N, ...]`."""
        return self._first([self._begin(index) for index in range(len(self))])

    def step(self, actions: np.ndarray, only: np.ndarray | None = None) -> Step:
        """Takes one action in each copy.

        Args:
            actions: The actions, `[N]` int.
            only: The mask of the copies to step, `[N]` bool; None for all. The entries of the other copies in the
                result are placeholders: zeros, with discount 1 and all actions legal.

        Returns:
            The result of the actions in all copies.

        Raises:
            ValueError: The environment returned an invalid value, such as NaN or an observation of the wrong shape; or
                an action is illegal.
            BrokenEnvironmentError: The environment raised an exception.
        """
        n = len(self)
        next_observation = self._answers.zero_observations(n)
        reward, discount, is_last = np.zeros(n, np.float32), np.ones(n, np.float32), np.zeros(n, np.bool_)
        restarted, answers, masks = {}, self._answers, self._masks
        if masks is not None:
            check_legal(self.task.name, self._legal, actions, only)
            next_legal = np.ones_like(self._legal)
            self._legal = np.ones_like(self._legal)
        for i, environment in enumerate(self._environments):
            if only is not None and not only[i]:
                continue
            try:
                answer = environment.step(int(actions[i]) + self._first_action[i])
            except BaseException as error:
                self._raise("step", error)
            observed, reward[i], terminated, truncated, info = answers.of_step(answer)
            next_observation[i] = answers.observation(observed)
            if masks is not None:
                self._legal[i] = next_legal[i] = masks.read(info, "step", is_acted_on=not terminated)
            elif self._rejects_masks and ACTION_MASK in info:
                check_no_mask(self.task.name, info, "step")
            if self._has_discounts:
                discount[i] = answers.discount(info)
            elif terminated:
                discount[i] = 0.0
            if terminated or truncated:
                is_last[i] = True
                restarted[i] = self._begin(i)
        answers.check_range(next_observation, only)
        observation = next_observation
        if restarted:
            observation = next_observation.copy()
            for i, first in restarted.items():
                observation[i] = first
        if self._stack is not None:
            next_observation, observation = self._stack.push(next_observation, observation, is_last)
        if masks is not None:
            next_observation, observation = (next_observation, next_legal), (observation, self._legal.copy())
        return Step(next_observation, reward, discount, is_last, observation)

    def render(self) -> np.ndarray | None:
        """Returns a picture of the first copy, `[height, width, 3]` uint8; None if it does not render `rgb_array`."""
        environment = self._environments[0]
        if getattr(environment, "render_mode", None) != "rgb_array":
            return None
        with raised_in(self.task.name, "render"):
            return np.asarray(environment.render(), np.uint8)

    def close(self) -> None:
        """Closes the copies, except for an environment that was given as an object, which the user closes."""
        if is_tf_agents(self.task.environment):
            return
        for environment in self._environments:
            with raised_in(self.task.name, "close"):
                environment.close()

    def _first(self, observations: list[np.ndarray]) -> Observations:
        first = np.stack(observations)
        first = first if self._stack is None else self._stack.begin(first)
        return first if self._masks is None else (first, self._legal.copy())

    def _begin(self, index: int, seed: int | None = None) -> np.ndarray:
        environment = self._environments[index]
        try:
            answer = environment.reset() if seed is None else environment.reset(seed=seed)
            self._answers.check_spaces(index, environment)
        except BaseException as error:
            self._raise("reset", error)
        observation = self._answers.of_reset(answer)
        if self._masks is not None:
            self._legal[index] = self._masks.read(answer[1], "reset")
        elif self._rejects_masks:
            check_no_mask(self.task.name, answer[1], "reset")
        elif self._rejects_masks is None:
            self._rejects_masks = not has_mask(answer[1])
            if not self._rejects_masks:
                warn_of_unused_masks(self.task.name)
        return observation

    def _raise(self, call: str, error: BaseException) -> NoReturn:
        explanation = explained(self.task.name, error)
        if explanation is not None:
            raise explanation from error
        raise_broken(self.task.name, call, error)
