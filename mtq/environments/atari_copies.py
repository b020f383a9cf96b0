"""Copies of one of Atari's games that are stepped at once."""

import numpy as np

from mtq.checks import integer
from mtq.environments.copies import Step, VectorEnvironment, copy_seeds
from mtq.environments.frame_stack import FrameStack
from mtq.tasks.atari import AtariGames
from mtq.tasks.task import Task


class AtariCopies(VectorEnvironment):
    """N copies of a task's Atari game, with the interface of `EnvironmentCopies`. ale-py steps them in threads.

    Args:
        task: The task, whose environment is the id of a game.
        num_copies: The number of copies N.
        seed: The seed from which the copies' first resets are seeded, each differently; at least 0.
        render: Whether `render` returns pictures.
    """

    def __init__(self, task: Task, num_copies: int, seed: int, render: bool = False) -> None:
        num_copies, seed = integer("num_copies", num_copies), integer("seed", seed, least=0)
        self.task = task
        self._games = AtariGames(
            task.name, str(task.environment), task.env_kwargs, task.max_episode_steps, num_copies, render
        )
        self._stack, self._num_copies = FrameStack(task.spec, num_copies), num_copies
        self._ends_with_lives = self._games.settings.terminal_on_life_loss
        self.reseed(seed)

    def __len__(self) -> int:
        return self._num_copies

    def reseed(self, seed: int) -> None:
        """Sets the seed from which the copies are seeded at the next `reset`."""
        self._seeds = copy_seeds(seed, self._num_copies)

    def reset(self) -> np.ndarray:
        """Seeds every copy and starts a game in it. Returns the observations, `[N, ...]`."""
        return self._stack.begin(self._games.reset(self._seeds))

    def restart(self) -> np.ndarray:
        """Starts another game in every copy without seeding it. Returns the observations, `[N, ...]`."""
        return self._stack.begin(self._games.reset())

    def step(self, actions: np.ndarray, only: np.ndarray | None = None) -> Step:
        """Takes one action in each copy.

        Args:
            actions: The actions, `[N]` int.
            only: Ignored: all copies are stepped.

        Returns:
            The result of the actions in all copies.
        """
        game = self._games.step(actions)
        is_last = game.terminated | game.truncated
        next_observation, observation = self._stack.push(game.next_frame, game.frame, is_last)
        is_terminal = game.terminated | game.lost_life if self._ends_with_lives else game.terminated
        discount = np.where(is_terminal, 0.0, 1.0).astype(np.float32)
        return Step(next_observation, game.reward, discount, is_last, observation)

    def render(self) -> np.ndarray | None:
        """Returns a picture of the first copy, `[210, 160, 3]` uint8; None unless the copies were made to render."""
        return self._games.picture()

    def close(self) -> None:
        """Closes the emulators."""
        self._games.close()
