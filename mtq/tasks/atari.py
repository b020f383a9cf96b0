"""Atari's games, emulated by ale-py with the usual preprocessing."""

import dataclasses
import difflib
import functools
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, NamedTuple, TypeGuard

import gymnasium
import numpy as np

from mtq.checks import flag, integer, real

ATARI = "ALE/"  # the prefix of the ids of Atari's games
FRAME_STACK, REWARD_CLIP = 4, 1.0  # the defaults of a task
_LARGEST_SEED = 2**31
_FRAMES_PER_EPISODE = 108_000  # half an hour
_SCREEN = 210, 160
_RATE = 60  # frames per second


def is_atari(source: Any) -> TypeGuard[str]:
    """Returns whether the environment of a task is one of Atari's games.

    Args:
        source: The environment, as `Task` takes it.
    """
    return isinstance(source, str) and source.startswith(ATARI)


def without_module(source: Any) -> Any:
    """Returns the environment of a task, where the id of an Atari game has no module, as in `"ale_py:ALE/Pong-v5"`.

    Args:
        source: The environment, as `Task` takes it.
    """
    is_prefixed = isinstance(source, str) and source.startswith(f"ale_py:{ATARI}")
    return ATARI + source.removeprefix(f"ale_py:{ATARI}") if is_prefixed else source


@dataclasses.dataclass(frozen=True)
class Preprocessing:
    """The settings of a game, which are the `env_kwargs` of its task.

    Attributes:
        frame_skip: The number of frames for which an action is repeated. Rewards are summed, and the observation is the
            maximum of the last two frames.
        repeat_action_probability: The probability with which the emulator repeats the previous action in a frame.
        full_action_space: If True, all games have the same 18 actions; if False, only those that have an effect.
        screen_size: The height and width of a gray frame.
        noop_max: The maximum number of frames without an action at the start of an episode; the number is random.
        terminal_on_life_loss: Whether the loss of a life counts as terminal in the targets, so that values are not
            bootstrapped past it. The game continues, and returns are those of whole games.

    Reference:
        Machado et al., "Revisiting the Arcade Learning Environment", JAIR 2018, section 5.
    """

    frame_skip: int = 4
    repeat_action_probability: float = 0.25
    full_action_space: bool = True
    screen_size: int = 84
    noop_max: int = 0
    terminal_on_life_loss: bool = False

    @classmethod
    def of(cls, name: str, env_kwargs: Mapping[str, Any]) -> "Preprocessing":
        """Returns the settings of a task, after checking them.

        Args:
            name: The task's name, for messages.
            env_kwargs: The settings that are not the default.
        """
        known = {field.name: field.type for field in dataclasses.fields(cls)}
        checked: dict[str, Any] = {}
        for key, value in env_kwargs.items():
            role = f"{key} in env_kwargs of task '{name}'"
            if key not in known:
                raise ValueError(
                    f"The keys of env_kwargs of task '{name}' must be among {[*known]}. Received: {key!r}. For other "
                    "settings of the emulator, pass a callable that makes the environment with gymnasium.make."
                )
            if known[key] is bool:
                checked[key] = flag(role, value)
            elif known[key] is float:
                checked[key] = real(role, value, least=0, most=1)
            else:
                checked[key] = integer(role, value, least=0 if key == "noop_max" else 1)
        return cls(**checked)


@functools.cache
def rom_names() -> dict[str, str]:
    """Returns the names by which ale-py knows the games, by their ids.

    Raises:
        ImportError: ale-py is not installed.
    """
    import ale_py

    gymnasium.register_envs(ale_py)
    return {
        identifier: spec.kwargs["game"]
        for identifier, spec in gymnasium.registry.items()
        if identifier.startswith(ATARI)
    }


def game_of(environment_id: str) -> str:
    """Returns the name by which ale-py knows a game.

    Args:
        environment_id: The id, such as `"ALE/Pong-v5"`.

    Raises:
        ValueError: There is no such game, or ale-py is not installed.
    """
    games = _known_games()
    if environment_id not in games:
        raise ValueError(
            f"The id of an Atari game must be one of ale-py's, such as 'ALE/Pong-v5'. Received: {environment_id!r}."
            f"{_nearest(environment_id, games)}"
        )
    return games[environment_id]


def id_of(game: str) -> str:
    """Returns the id of a game.

    Args:
        game: The game's name in lower case, such as `"space_invaders"`, or its id.

    Raises:
        ValueError: There is no such game, or ale-py is not installed.
    """
    identifiers = {rom: identifier for identifier, rom in _known_games().items()}
    if is_atari(game):
        game_of(game)
        return game
    if game not in identifiers:
        raise ValueError(
            f"games must be the names or ids of Atari's games, such as 'pong' or 'ALE/Pong-v5'. Received: {game!r}."
            f"{_nearest(game, identifiers)}"
        )
    return identifiers[game]


def _nearest(name: Any, known: Iterable[str]) -> str:
    """Returns the end of a message that suggests the known name nearest to a wrong one, or an empty text."""
    nearest = difflib.get_close_matches(str(name), known, n=1, cutoff=0.4)
    return f" Did you mean {nearest[0]!r}?" if nearest else ""


def _known_games() -> dict[str, str]:
    try:
        return rom_names()
    except ImportError as error:
        raise ValueError(
            f"Atari's games need the packages of the extra atari: pip install 'mtq-rl[atari]'. Received: {error}."
        ) from error


class GameStep(NamedTuple):
    """The result of one action in each of N copies of a game.

    Attributes:
        next_frame: The frames that the actions led to, `[N, screen_size, screen_size]` uint8.
        reward: The rewards, `[N]` float32, which are not clipped.
        terminated: Whether the game is over, `[N]` bool.
        truncated: Whether the time limit was reached, `[N]` bool.
        lost_life: Whether a life was lost, `[N]` bool.
        frame: The frames to act on next, of the same shape: the first of a new game where one ended.
    """

    next_frame: np.ndarray
    reward: np.ndarray
    terminated: np.ndarray
    truncated: np.ndarray
    lost_life: np.ndarray
    frame: np.ndarray


class AtariGames:
    """N copies of a game, which ale-py steps in threads. A copy whose game ends starts the next one in the same step.

    Args:
        name: The task's name, for messages.
        environment_id: The id of the game, such as `"ALE/Pong-v5"`.
        env_kwargs: The settings of the `Preprocessing` that are not the default.
        max_episode_steps: The number of actions after which a game is truncated; None for 108,000
            frames of the emulator, half an hour of play.
        num_copies: The number of copies N.
        render: Whether `picture` can be called. A second set of emulators then plays the same games in color.
    """

    def __init__(
        self,
        name: str,
        environment_id: str,
        env_kwargs: Mapping[str, Any],
        max_episode_steps: int | None,
        num_copies: int,
        render: bool = False,
    ) -> None:
        game, settings = game_of(environment_id), Preprocessing.of(name, env_kwargs)
        from ale_py.vector_env import AtariVectorEnv

        limit = _FRAMES_PER_EPISODE if max_episode_steps is None else max_episode_steps * settings.frame_skip
        make = functools.partial(
            AtariVectorEnv,
            game,
            num_copies,
            autoreset_mode="SameStep",
            stack_num=1,
            reward_clipping=False,
            use_fire_reset=False,
            frameskip=settings.frame_skip,
            max_num_frames_per_episode=limit,
            noop_max=settings.noop_max,
            repeat_action_probability=settings.repeat_action_probability,
            full_action_space=settings.full_action_space,
        )
        self._games = make(img_height=settings.screen_size, img_width=settings.screen_size)
        # The second emulation has the same seeds and actions, and so the same game.
        self._in_color = make(img_height=_SCREEN[0], img_width=_SCREEN[1], grayscale=False) if render else None
        self.num_actions = int(self._games.single_action_space.n)
        self.settings = settings
        self._lives = np.zeros(num_copies, np.int32)

    def reset(self, seeds: Sequence[int] | None = None) -> np.ndarray:
        """Starts a game in every copy.

        Args:
            seeds: The seed of each copy, at least 0; None to continue the random numbers of each copy.

        Returns:
            The first frames, `[N, screen_size, screen_size]` uint8.
        """
        numbers = None if seeds is None else np.array([seed % _LARGEST_SEED for seed in seeds])
        frames, info = self._games.reset(seed=numbers)
        if self._in_color is not None:
            self._pictures = self._in_color.reset(seed=numbers)[0]
        self._lives = info["lives"]
        return frames[:, 0]

    def step(self, actions: np.ndarray) -> GameStep:
        """Takes one action in each copy.

        Args:
            actions: The actions, `[N]` int.
        """
        frames, rewards, terminated, truncated, info = self._games.step(np.asarray(actions, np.int64))
        if self._in_color is not None:
            self._pictures = self._in_color.step(np.asarray(actions, np.int64))[0]
        lost_life, self._lives = info["lives"] < self._lives, info["lives"]
        ended = terminated | truncated
        frame = next_frame = frames[:, 0]
        if ended.any():  # final_obs is valid only for the copies that ended
            next_frame = np.where(ended[:, None, None], info["final_obs"][:, 0], frame)
        return GameStep(next_frame, rewards.astype(np.float32), terminated, truncated, lost_life & ~ended, frame)

    def picture(self) -> np.ndarray | None:
        """Returns a picture of the first copy in color, `[210, 160, 3]` uint8; None unless `render`."""
        return None if self._in_color is None else self._pictures[0, 0]

    def close(self) -> None:
        """Closes the emulators."""
        self._games.close()
        if self._in_color is not None:
            self._in_color.close()


class Atari(gymnasium.Env):
    """One copy of a game, with Gymnasium's interface.

    The copies that tasks are trained on and evaluated with are stepped together instead, by `AtariGames`.

    Args:
        name: The task's name, for messages.
        environment_id: The id of the game.
        env_kwargs: The settings of the `Preprocessing` that are not the default.
        max_episode_steps: The number of actions after which a game is truncated; None for 108,000
            frames of the emulator, half an hour of play.
    """

    def __init__(
        self, name: str, environment_id: str, env_kwargs: Mapping[str, Any], max_episode_steps: int | None
    ) -> None:
        self._games = AtariGames(name, environment_id, env_kwargs, max_episode_steps, 1)
        size = self._games.settings.screen_size
        self.observation_space = gymnasium.spaces.Box(0, 255, (size, size), np.uint8)
        self.action_space = gymnasium.spaces.Discrete(self._games.num_actions)
        self.metadata = {"render_modes": [], "render_fps": _RATE / self._games.settings.frame_skip}

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[np.ndarray, dict[str, Any]]:
        """Starts a game. Returns the first frame, `[screen_size, screen_size]` uint8, and an empty dict."""
        return self._games.reset(None if seed is None else [seed])[0], {}

    def step(self, action: int) -> tuple[np.ndarray, float, bool, bool, dict[str, Any]]:
        """Takes an action. Returns the frame, the reward, terminated, truncated, and an empty dict."""
        step = self._games.step(np.array([action]))
        return step.next_frame[0], float(step.reward[0]), bool(step.terminated[0]), bool(step.truncated[0]), {}

    def close(self) -> None:
        """Closes the emulator."""
        self._games.close()
