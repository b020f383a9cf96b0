"""Several copies of one task's environment, stepped at once in Python."""

from typing import NamedTuple, NoReturn

import numpy as np

from mtq.checks import integer
from mtq.environments.answers import Answers
from mtq.environments.old_interfaces import explained
from mtq.environments.tf_agents_view import as_gymnasium
from mtq.errors import raise_broken, raised_in
from mtq.tasks.environment_source import is_tf_agents
from mtq.tasks.task import Task


class Step(NamedTuple):
    """What came of one action in each of N copies.

    Attributes:
        next_observation: What the action led to, `[N, ...]`; of the old episode, even where that ended.
        reward: `[N]` float32, as the environment gave it.
        discount: `[N]` float32: 0 at a true terminal, else 1 (or what a tf-agents environment says).
        is_last: Where the episode ended, by a terminal or by a time limit, `[N]` bool.
        observation: What to act on next, `[N, ...]`: the first of a new episode where the old one ended.
    """

    next_observation: np.ndarray
    reward: np.ndarray
    discount: np.ndarray
    is_last: np.ndarray
    observation: np.ndarray


class EnvironmentCopies:
    """N copies of a task's environment. An episode that ends is followed by the next within the same step.

    Every step of every copy is therefore a transition: N steps of the environment, N transitions.

    Args:
        task: The task.
        num_copies: N.
        seed: Seeds the copies' first resets, each with a number of its own.

    Raises:
        ValueError: The environment cannot be made.
    """

    def __init__(self, task: Task, num_copies: int, seed: int) -> None:
        self.task = task
        num_copies, seed = integer("num_copies", num_copies), integer("seed", seed, least=0)
        made = [task.make_environment() for _ in range(num_copies)]
        self._gives_discounts = is_tf_agents(made[0])
        self._environments = [as_gymnasium(environment) for environment in made]
        self._answers = Answers(task, self._environments)
        self.reseed(seed)
        self._dtype = np.dtype(task.spec.observation_dtype)
        self._first_action = [int(getattr(env.action_space, "start", 0)) for env in self._environments]

    def __len__(self) -> int:
        return len(self._environments)

    def reseed(self, seed: int) -> None:
        """Begins with another seed at the next `reset`."""
        self._seeds = [int(s) for s in np.random.SeedSequence(seed).generate_state(len(self))]

    def reset(self) -> np.ndarray:
        """Begins an episode in every copy. Returns the observations, `[N, ...]`."""
        return np.stack([self._begin(index, seed) for index, seed in enumerate(self._seeds)])

    def restart(self) -> np.ndarray:
        """Begins another episode in every copy, without seeding it. Returns as `reset`."""
        return np.stack([self._begin(index) for index in range(len(self))])

    def step(self, actions: np.ndarray, only: np.ndarray | None = None) -> Step:
        """Takes one action in each copy.

        Args:
            actions: `[N]` int.
            only: The copies that are stepped, `[N]` bool; by default all. Of the others the step holds zeros.

        Raises:
            ValueError: The environment returned an invalid value, such as NaN or an observation of the wrong shape.
            BrokenEnvironmentError: The environment raised an exception.
        """
        n = len(self)
        next_observation = np.zeros((n, *self.task.spec.observation_shape), self._dtype)
        reward, discount, is_last = np.zeros(n, np.float32), np.ones(n, np.float32), np.zeros(n, np.bool_)
        restarted, answers = {}, self._answers
        for i, environment in enumerate(self._environments):
            if only is not None and not only[i]:
                continue
            try:
                answer = environment.step(int(actions[i]) + self._first_action[i])
            except BaseException as error:
                self._raise("step", error)
            observed, reward[i], terminated, truncated, info = answers.of_step(answer)
            next_observation[i] = answers.observation(observed)
            if self._gives_discounts:
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
        return Step(next_observation, reward, discount, is_last, observation)

    def close(self) -> None:
        """Closes the copies, unless the environment was given as an object, which is the user's to close."""
        if is_tf_agents(self.task.environment):
            return
        for environment in self._environments:
            with raised_in(self.task.name, "close"):
                environment.close()

    def _begin(self, index: int, seed: int | None = None) -> np.ndarray:
        environment = self._environments[index]
        try:
            answer = environment.reset() if seed is None else environment.reset(seed=seed)
            self._answers.check_spaces(index, environment)
        except BaseException as error:
            self._raise("reset", error)
        return self._answers.of_reset(answer)

    def _raise(self, call: str, error: BaseException) -> NoReturn:
        explanation = explained(self.task.name, error)
        if explanation is not None:
            raise explanation from error
        raise_broken(self.task.name, call, error)
