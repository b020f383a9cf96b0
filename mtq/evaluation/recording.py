"""Records pictures of play: GIFs and videos of episodes, in which a policy plays a task."""

import contextlib
import itertools
import os
from collections.abc import Callable, Generator, Iterable
from pathlib import Path

import numpy as np
from matplotlib import colormaps
from PIL import Image

from mtq.checks import flag, integer, real
from mtq.environments.copies import Observations
from mtq.environments.make import make_copies
from mtq.evaluation.evaluator import greedy_policy, task_seed
from mtq.evaluation.playing import EpisodeReturns, Policy
from mtq.experience.q_model import QFunctions
from mtq.storage.files import as_path
from mtq.storage.folders import beside, check_kind
from mtq.tasks.action_masks import split_observation
from mtq.tasks.observation_spaces import is_image
from mtq.tasks.task import Task

_MAGIC = {".gif": b"GIF8", ".mp4": b"ftyp"}  # within the first eight bytes
_SIZE = 320  # pixels of the larger side, up to which small pictures are magnified
_COLORS = np.array(colormaps["tab10"].colors + colormaps["Dark2"].colors) * 255  # of the channels of an image


def record(
    model: QFunctions,
    task: str,
    filepath: str | Path,
    *,
    episodes: int = 1,
    seed: int = 0,
    max_steps: int = 1_000,
    frames_per_second: float = 20.0,
    overwrite: bool = False,
) -> EpisodeReturns:
    """Plays episodes of a task greedily, and writes a picture of every step to a GIF or a video.

    A picture is what the environment renders as `"rgb_array"`. Where it renders nothing, the observation is drawn if it
    is an image: each channel of MinAtar's games, for example, in a color of its own.

    Args:
        model: The model.
        task: The name of one of its tasks.
        filepath: The path of the file, which must end in `.gif`, or in `.mp4`, which needs the extra `video`.
        episodes: The number of episodes, one after the other.
        seed: The seed of the environment.
        max_steps: The number of steps after which an unfinished episode is truncated.
        frames_per_second: The number of pictures per second. GIFs round the time of a picture to hundredths of a
            second.
        overwrite: Whether to replace an existing file.

    Returns:
        The returns and lengths of the episodes.

    Raises:
        FileExistsError: The file exists, or is not a recording.
        ImportError: The extra `video` is missing.
        ValueError: The model has no such task, its environment renders nothing and its observations are no images, or
            the file has another ending.

    Example:
        `mtq.evaluation.record(mtq.runs.load_best("runs/minatar"), "breakout", "breakout.gif")`
    """
    if task not in model.tasks:
        raise ValueError(f"task of record must be one of {[*model.tasks]}. Received: {task!r}.")
    return record_policy(
        model.tasks[task],
        greedy_policy(model.paths[task]),
        filepath,
        episodes=episodes,
        seed=task_seed(model.tasks, task, seed),
        max_steps=max_steps,
        frames_per_second=frames_per_second,
        overwrite=overwrite,
    )


def record_policy(
    task: Task,
    policy: Policy,
    filepath: str | Path,
    *,
    episodes: int = 1,
    seed: int = 0,
    max_steps: int = 1_000,
    frames_per_second: float = 20.0,
    overwrite: bool = False,
) -> EpisodeReturns:
    """Plays episodes of a task with any policy, and writes a picture of every step, as `record` does.

    Args:
        task: The task.
        policy: A function from observations `[1, …]`, or pairs of them and masks of legal actions, to actions `[1]`,
            which count from 0.
        filepath: The path of the file; see `record`.
        episodes: The number of episodes.
        seed: The seed of the environment.
        max_steps: The number of steps after which an unfinished episode is truncated.
        frames_per_second: The number of pictures per second.
        overwrite: Whether to replace an existing file.

    Returns:
        The returns and lengths of the episodes.
    """
    path = as_path("filepath of record", filepath)
    episodes, max_steps = integer("episodes of record", episodes), integer("max_steps of record", max_steps)
    rate = real("frames_per_second of record", frames_per_second, above=0)
    write = _writer(path)
    if path.exists() and not flag("overwrite of record", overwrite):
        raise FileExistsError(
            f"The recording must be written to a new file. Received: {str(path)!r}, which exists. Choose another path, "
            "or pass --overwrite (overwrite=True) to replace it."
        )
    check_kind(path, "recording", f"{path.suffix} file", lambda file: _MAGIC[path.suffix] in file.read(8))
    played: list[tuple[float, int]] = []
    frames = _play(task, policy, episodes, seed, max_steps, played)
    with contextlib.closing(frames):
        first = next(frames)  # before anything is written, because it may raise
        path.parent.mkdir(parents=True, exist_ok=True)
        with beside(path) as new:
            write(new, itertools.chain([first], frames), rate)
            if not new.exists() or not new.stat().st_size:
                raise RuntimeError(
                    f"{str(path)!r} could not be written: the encoder wrote nothing. Write a .gif instead."
                )
            os.replace(new, path)
    returns, lengths = zip(*played, strict=True)
    return EpisodeReturns(np.array(returns), np.array(lengths))


def _play(
    task: Task, policy: Policy, episodes: int, seed: int, max_steps: int, played: list[tuple[float, int]]
) -> Generator[np.ndarray, None, None]:
    """Plays episodes one after the other, and yields the pictures.

    Args:
        task: The task.
        policy: The policy.
        episodes: The number of episodes.
        seed: The seed of the environment.
        max_steps: The number of steps after which an unfinished episode is truncated.
        played: The list to which the return and the length of each episode are added.
    """
    copies = make_copies(task, 1, seed, compiled=False, render=True)
    try:
        observation = copies.reset()
        renders = copies.render() is not None
        if not renders and not is_image(task.spec.observation_shape):
            raise ValueError(
                f"Task '{task.name}' must have pictures to be recorded: an environment that renders as 'rgb_array', or "
                f"images as observations. Received: observations of shape {task.spec.observation_shape} and no "
                "renderer. Give a Gymnasium id, or a callable that makes the environment with render_mode='rgb_array'."
            )
        for number in range(episodes):
            total, length, is_open = 0.0, 0, True
            yield copies.render() if renders else _drawn(_first(observation), task)
            while is_open and length < max_steps:
                step = copies.step(policy(observation))
                total, length, is_open = total + float(step.reward[0]), length + 1, not step.is_last[0]
                if not renders:
                    yield _drawn(_first(step.next_observation), task)
                elif is_open:  # else the renderer already shows the next episode
                    yield copies.render()
                observation = step.observation
            played.append((total, length))
            if is_open and number < episodes - 1:
                observation = copies.restart()
    finally:
        copies.close()


def _first(images: Observations) -> np.ndarray:
    return split_observation(images)[0][0]


def _drawn(image: np.ndarray, task: Task) -> np.ndarray:
    """Draws an image as a picture `[H, W, 3]` uint8."""
    pixels = np.asarray(image, np.float32)
    pixels = pixels if pixels.ndim == 3 else pixels[..., None]
    channels = pixels.shape[-1] // task.frame_stack  # of the newest frame, which comes last
    bounds = (0.0 if bound is None else bound for bound in (task.spec.observation_low, task.spec.observation_high))
    low, high = (np.broadcast_to(np.float32(bound), pixels.shape[-1])[-channels:] for bound in bounds)
    span = high - low
    pixels = np.clip((pixels[..., -channels:] - low) / np.where(span > 0, span, 1.0), 0.0, 1.0)
    if pixels.shape[-1] == 1:
        picture = np.repeat(pixels, 3, axis=-1) * 255
    elif pixels.shape[-1] == 3:
        picture = pixels * 255
    else:  # the first channel of those that are not zero is in front
        colors = _COLORS[np.arange(pixels.shape[-1]) % len(_COLORS)]
        front = np.argmax(pixels > 0, axis=-1)
        picture = colors[front] * np.max(pixels, axis=-1, keepdims=True)
    factor = max(_SIZE // max(picture.shape[:2]), 1)
    return picture.repeat(factor, axis=0).repeat(factor, axis=1).astype(np.uint8)


def _writer(path: Path) -> Callable[[Path, Iterable[np.ndarray], float], None]:
    """Returns the function that writes the kind of file that a path names."""
    if path.suffix == ".gif":
        return _write_gif
    if path.suffix != ".mp4":
        raise ValueError(f"filepath of record must end in .gif or .mp4. Received: {str(path)!r}.")
    try:
        import imageio_ffmpeg  # noqa: F401
        from imageio import v2 as imageio
    except ImportError as error:
        raise ImportError(
            "Videos need the packages of the extra video: pip install 'mtq-rl[video]'. Or write a .gif."
        ) from error

    def write(file: Path, frames: Iterable[np.ndarray], rate: float) -> None:
        with imageio.get_writer(file, format="FFMPEG", mode="I", fps=rate, macro_block_size=1) as video:
            for frame in frames:
                video.append_data(_even(frame))

    return write


def _even(frame: np.ndarray) -> np.ndarray:
    """Adds a black row or column if their number is odd, which the encoder does not accept."""
    height, width = frame.shape[:2]
    return np.pad(frame, [(0, height % 2), (0, width % 2), (0, 0)])


def _write_gif(path: Path, frames: Iterable[np.ndarray], rate: float) -> None:
    first, *others = (Image.fromarray(frame).quantize() for frame in frames)
    milliseconds = max(10 * round(100 / rate), 10)
    first.save(path, format="GIF", save_all=True, append_images=others, duration=milliseconds, loop=0)
