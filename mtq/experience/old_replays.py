"""Converts replays in checkpoints of versions that stored two observations for each step, or no ages of frames."""

import math
from collections.abc import Mapping
from typing import Any

import numpy as np

from mtq.experience.replay import Replay

_NUMBERS_WITHOUT_AGE = 5  # in a row of a table with one observation per step and no ages
# In a row of a table with two observations per step: reward, discount, action, and whether the step was the last.
_NUMBERS = 4


def converted(saved: Mapping[str, np.ndarray], replays: Mapping[str, Any]) -> dict[str, np.ndarray]:
    """Returns the variables of a checkpoint, in which the replays of earlier versions have today's variables.

    Args:
        saved: The variables by name, of which those of a replay are `"<task>/replay/<number>"`.
        replays: The replays of the tasks, into which the variables are to be read.
    """
    result = dict(saved)
    for task, replay in replays.items():
        names = [name for name in saved if name.startswith(f"{task}/replay/")]
        parts = [saved[name] for name in sorted(names, key=lambda name: int(name.rpartition("/")[2]))]
        if not isinstance(replay, Replay):
            continue
        if parts and parts[0].shape == (replay.num_envs * replay.length, _NUMBERS_WITHOUT_AGE):
            result[f"{task}/replay/0"] = np.pad(parts[0], [(0, 0), (0, 1)])
        if replay.is_binary and parts and parts[1].shape == (replay.num_envs * replay.num_places, replay.frame_size):
            result[f"{task}/replay/1"] = _packed(parts[1])
        if _is_old(parts, replay):
            new = _convert(parts, replay)
            result = {name: value for name, value in result.items() if name not in names}
            result |= {f"{task}/replay/{number}": part for number, part in enumerate(new)}
    return result


def _packed(bits: np.ndarray) -> np.ndarray:
    return np.packbits(bits.astype(np.uint8), axis=-1, bitorder="little")


def _is_old(parts: list[np.ndarray], replay: Replay) -> bool:
    """Whether these are the one or two tables of a replay of this size, the last step, and the sampler's variables."""
    rows = replay.num_envs * replay.length
    observations = 2 * math.prod(replay.observation_shape)
    shapes = [part.shape for part in parts]
    return shapes[:2] in ([(rows, _NUMBERS + observations), ()], [(rows, _NUMBERS), (rows, observations)])


def _convert(parts: list[np.ndarray], replay: Replay) -> list[np.ndarray]:
    tables = parts[:1] if parts[1].ndim == 0 else parts[:2]
    last_step, *others = parts[len(tables) :]
    numbers, both = tables[0][:, :_NUMBERS], tables[-1][:, -2 * math.prod(replay.observation_shape) :]
    first, second = np.split(both, 2, axis=1)
    new = [variable.numpy() for variable in replay.state()]
    new_numbers, observations, _, _, place, owners = new[:6]
    if replay.is_binary:
        first, second = _packed(first), _packed(second)
    number = min(int(last_step) + 1, replay.length)
    steps, first_step = np.arange(last_step + 1 - number, last_step + 1), 0
    for copy in range(replay.num_envs if number else 0):
        rows = steps % replay.length + copy * replay.length
        is_last = numbers[rows, 3] > 0
        places = np.arange(number) + np.concatenate([[0], np.cumsum(is_last)[:-1]])
        place[copy] = places[-1] + 1 + is_last[-1]
        kept = places >= place[copy] + 2 - replay.num_places
        first_step = max(first_step, int(steps[kept][0])) if not kept.all() else first_step
        places, start = places % replay.num_places, copy * replay.num_places
        columns = numbers[rows, 2], numbers[rows, 0], numbers[rows, 1], is_last, places, np.zeros(number)
        new_numbers[rows] = np.column_stack(columns)
        for step, row, at in zip(steps, rows, places, strict=True):  # later steps replace earlier ones
            both_places = [start + at, start + (at + 1) % replay.num_places]
            observations[both_places] = first[row], second[row]
            if len(owners):
                owners[both_places] = step
    return [
        new_numbers,
        observations,
        last_step,
        np.array(first_step, np.int64),
        place % replay.num_places,
        owners,
        *others,
    ]
