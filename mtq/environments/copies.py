"""Several copies of one task's environment, stepped at once in Python."""

from typing import Any, NamedTuple

import numpy as np

from mtq.environment_error import raise_broken, raised_in
from mtq.environments.answers import Answers
from mtq.environments.py_environment import DISCOUNT, as_gymnasium
from mtq.numeric import integer
from mtq.observation_spaces import check_bounds
from mtq.spaces import is_tf_agents
from mtq.tasks import Task


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
        self._environments = [as_gymnasium(task.make_environment()) for _ in range(num_copies)]
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
        return self._first([self._begin(env, seed) for env, seed in zip(self._environments, self._seeds, strict=True)])

    def restart(self) -> np.ndarray:
        """Begins another episode in every copy, without seeding it. Returns as `reset`."""
        return self._first([self._begin(environment) for environment in self._environments])

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
                raise_broken(self.task.name, "step", error)
            observed, reward[i], terminated, truncated, info = answers.of_step(answer)
            next_observation[i] = answers.observation(observed)
            discount[i] = info.get(DISCOUNT, 0.0 if terminated else 1.0)
            if terminated or truncated:
                is_last[i] = True
                restarted[i] = self._begin(environment)
        self._checked(next_observation)
        observation = next_observation
        if restarted:
            observation = next_observation.copy()
            for i, first in restarted.items():
                observation[i] = first
            self._checked(observation)
        return Step(next_observation, reward, discount, is_last, observation)

    def close(self) -> None:
        """Closes the copies, unless the environment was given as an object, which is the user's to close."""
        if is_tf_agents(self.task.environment):
            return
        for environment in self._environments:
            with raised_in(self.task.name, "close"):
                environment.close()

    def _begin(self, environment: Any, seed: int | None = None) -> np.ndarray:
        try:
            answer = environment.reset() if seed is None else environment.reset(seed=seed)
        except BaseException as error:
            no_seed = self._answers.no_seed(error) if isinstance(error, TypeError) else None
            if no_seed is not None:
                raise no_seed from error
            raise_broken(self.task.name, "reset", error)
        return self._answers.of_reset(answer)

    def _first(self, observations: list[np.ndarray]) -> np.ndarray:
        first, spec = np.stack(observations), self.task.spec
        check_bounds(self.task.name, first, spec.observation_low, spec.observation_high)
        return self._checked(first)

    def _checked(self, observations: np.ndarray) -> np.ndarray:
        if observations.dtype.kind == "f" and not np.isfinite(observations).all():
            raise self._answers.not_finite("observation", observations)
        self._answers.check_limit(observations)
        return observations
