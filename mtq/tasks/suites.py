"""The task sets that come with mtq, and the look-up of tasks by name for the command line."""

import difflib
import re
from collections.abc import Mapping, Sequence
from typing import Any

import gymnasium

from mtq.tasks.atari import game_of, id_of, is_atari, without_module
from mtq.tasks.environment_source import IN_GRAPH
from mtq.tasks.task import Task, TaskSet

_CLASSIC_CONTROL = {  # the environment, the time limit and the reference return; None for Gymnasium's value
    "cart_pole": ("CartPole-v1", None, None),
    "acrobot": ("Acrobot-v1", None, None),
    "mountain_car": ("MountainCar-v0", 1_000, -110.0),  # Gymnasium's threshold, attainable with the longer limit too
}
# Training returns of DQN after five million frames, read from a figure of Young and Tian, "MinAtar: An Atari-Inspired
# Testbed for Thorough and Reproducible Reinforcement Learning Experiments", 2019.
_MINATAR = {
    "asterix": ("MinAtar-Asterix", 16.8),
    "breakout": ("MinAtar-Breakout", 10.0),
    "freeway": ("MinAtar-Freeway", 50.1),
    "seaquest": ("MinAtar-Seaquest", 20.0),
    "space_invaders": ("MinAtar-SpaceInvaders", 43.4),
}


def names() -> list[str]:
    """Returns the names of the tasks that come with mtq, all of which `task` accepts."""
    return [*_CLASSIC_CONTROL, *_MINATAR]


def task(name: str, num_envs: int = 1, env_kwargs: Mapping[str, Any] | None = None) -> Task:
    """Creates a task that comes with mtq, or one of any Gymnasium id.

    Args:
        name: A name from `names()`, the name of an in-graph environment such as `"in_graph/CartPole"`, the id of an
            Atari game such as `"ALE/Pong-v5"`, or a Gymnasium id such as `"LunarLander-v3"` or `"module:Id"`.
        num_envs: The number of copies of the environment that are stepped at once.
        env_kwargs: The arguments with which the environment is made; `Task.env_kwargs`.

    Returns:
        The task. Its name is `name` without a prefix or a version, in letters, digits and underscores.

    Raises:
        ValueError: No task has this name; the message suggests the nearest name.

    Example:
        >>> import mtq
        >>> mtq.suites.task("mountain_car").max_episode_steps
        1000
    """
    name = without_module(name)
    settings: dict[str, Any] = {"num_envs": num_envs, "env_kwargs": dict(env_kwargs or {})}
    if name in _CLASSIC_CONTROL:
        environment, limit, reference = _CLASSIC_CONTROL[name]
        return Task(name, environment, max_episode_steps=limit, reference_return=reference, **settings)
    if name in _MINATAR:
        dynamics, reference = _MINATAR[name]
        return Task(name, IN_GRAPH + dynamics, reference_return=reference, **settings)
    if name.startswith(IN_GRAPH):
        words = name.removeprefix(IN_GRAPH).rpartition("-")[2]  # SpaceInvaders of MinAtar-SpaceInvaders
        return Task(re.sub(r"(?<!^)(?=[A-Z])", "_", words).lower(), name, **settings)
    if is_atari(name):
        return Task(game_of(name), name, **settings)
    if name in gymnasium.registry or ":" in name:
        words = name.rpartition(":")[2]
        identifier = "".join(c if c.isalnum() else "_" for c in words.rpartition("-v")[0] or words)
        return Task(identifier, name, **settings)
    nearest = difflib.get_close_matches(name, [*names(), *gymnasium.registry], n=1, cutoff=0.4)
    hint = f"Did you mean {nearest[0]!r}?" if nearest else "Choose another name."
    raise ValueError(
        f"The name of a task must be one that `mtq tasks` lists, or a Gymnasium id. Received: {name!r}. {hint}"
    )


_IN_GRAPH = {
    "cart_pole": ("CartPole", 0.99),
    "acrobot": ("Acrobot", 0.99),
    "mountain_car": ("MountainCar", 0.99),
    "car_on_hill": ("CarOnHill", 0.95),
    "inverted_pendulum": ("InvertedPendulum", 0.95),
}


def classic(num_envs: int = 1) -> TaskSet:
    """Creates five in-graph tasks: CartPole, Acrobot, MountainCar (horizon 1,000), CarOnHill and InvertedPendulum.

    Args:
        num_envs: The number of copies of each environment that are stepped at once.
    """
    return TaskSet(
        [
            Task(name, f"in_graph/{dynamics}", discount=discount, num_envs=num_envs)
            for name, (dynamics, discount) in _IN_GRAPH.items()
        ]
    )


def classic_control(num_envs: int = 1, in_graph: bool = False) -> TaskSet:
    """Creates the tasks CartPole, Acrobot and MountainCar, the last with a horizon of 1,000 steps.

    Args:
        num_envs: The number of copies of each environment that are stepped at once.
        in_graph: Whether to use the in-graph environments, which have the dynamics of Gymnasium's and are many times
            as fast; False for Gymnasium's.
    """
    if in_graph:
        return TaskSet([Task(name, f"in_graph/{_IN_GRAPH[name][0]}", num_envs=num_envs) for name in _CLASSIC_CONTROL])
    return TaskSet([task(name, num_envs) for name in _CLASSIC_CONTROL])


def minatar(games: Sequence[str] = tuple(_MINATAR), num_envs: int = 1, in_graph: bool = True) -> TaskSet:
    """Creates tasks of MinAtar's games, with sticky actions and increasing difficulty.

    Args:
        games: The names of the games: any of asterix, breakout, freeway, seaquest, space_invaders.
        num_envs: The number of copies of each environment that are stepped at once.
        in_graph: Whether to use the in-graph environments, which follow the same rules as the package `minatar` and are
            several times as fast; False for the package, which must be installed.

    Raises:
        ValueError: A name is not that of a game.
    """
    unknown = sorted(set(games) - set(_MINATAR))
    if unknown:
        raise ValueError(f"games must be some of {list(_MINATAR)}. Received: {unknown}. Choose these names.")
    if in_graph:
        return TaskSet([task(game, num_envs) for game in games])
    return TaskSet([Task(game, f"mtq/{game}", num_envs=num_envs, reference_return=_MINATAR[game][1]) for game in games])


def atari(games: Sequence[str], num_envs: int = 1, env_kwargs: Mapping[str, Any] | None = None) -> TaskSet:
    """Creates tasks of Atari games with the standard preprocessing, which needs the extra `atari`.

    An observation is the stack of the last four frames, `[84, 84, 4]` uint8. An action is repeated for four frames of
    the emulator, and the observed frame is the maximum of the last two, in gray. Rewards are clipped to `[−1, 1]` for
    training. By default all games have the same 18 actions, and the emulator repeats the previous action with a
    probability of 0.25.

    Args:
        games: The names of the games, such as `["pong", "space_invaders"]`, or their ids.
        num_envs: The number of copies of each environment that are stepped at once.
        env_kwargs: The settings of `mtq.tasks.atari.Preprocessing` that are not the default, for all games.

    Raises:
        ValueError: A name is not that of a game, a setting is unknown, or ale-py is not installed.

    Example:
        `mtq.suites.atari(["pong", "breakout"], env_kwargs={"terminal_on_life_loss": True})`

    Reference:
        Mnih et al., "Human-level control through deep reinforcement learning", Nature 2015; Machado et al., "Revisiting
        the Arcade Learning Environment", JAIR 2018.
    """
    if isinstance(games, str):
        raise ValueError(f"games must be a list of names. Received: {games!r}. Write [{games!r}].")
    identifiers = [id_of(game) for game in games]
    return TaskSet(
        [Task(game_of(name), name, num_envs=num_envs, env_kwargs=dict(env_kwargs or {})) for name in identifiers]
    )
