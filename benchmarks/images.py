"""Measures frames per second on images: mtq and Stable-Baselines3's DQN on MinAtar's games, or on Atari games.

    python -m benchmarks.images
    python -m benchmarks.images --suite atari

All systems do the same work per step: one update with a batch of 32 per game after every 4 steps of a game, with Adam.

- MinAtar: a convolution of 16 filters of 3×3 and a dense layer of 128 units. mtq learns five games in one network with
  gradient normalization and Double DQN, through `fit`. Stable-Baselines3 learns Breakout alone.
- Atari: the network of Mnih et al. (2015), four 84×84 frames an observation, and plain DQN targets. mtq learns Pong and
  Breakout in one network with gradient normalization. Stable-Baselines3 learns Pong alone.

Each system runs in its own process. The systems take turns for several rounds, and the figures are medians over the
rounds. Stable-Baselines3 is imported from this Python or from .venv-benchmarks (`make benchmark`).

The last line is one JSON object.
"""

import dataclasses
import json
from collections.abc import Mapping
from typing import Any

import simple_parsing

from benchmarks.in_turn import InTurnOptions, Worker, run_in_turn
from benchmarks.systems.work import Work


@dataclasses.dataclass(frozen=True)
class _Suite:
    """The systems of a suite of games.

    Attributes:
        titles: The title of each system, by its name.
        loop: The name of mtq's system whose loop is compared with its updates only.
        games: The number of games that mtq learns in one network.
        work: The fields of `Work` that the suite sets.
    """

    titles: Mapping[str, str]
    loop: str
    games: int
    work: Mapping[str, Any]


_SUITES = {
    "minatar": _Suite(
        {
            "minatar_in_graph": "mtq, games in the graph",
            "minatar_package": "mtq, games of the package",
            "minatar_stable_baselines3": "Stable-Baselines3 DQN, Breakout",
            "minatar_update": "mtq, updates only",
        },
        "minatar_in_graph",
        5,
        {"learning_rate": 2.5e-4, "replay_capacity": 100_000, "target_update_period": 1_000},
    ),
    "atari": _Suite(
        {
            "atari": "mtq, Pong and Breakout",
            "atari_stable_baselines3": "Stable-Baselines3 DQN, Pong",
            "atari_update": "mtq, updates only",
            "atari_environments": "mtq, environments only",
        },
        "atari",
        2,
        {"learning_rate": 1e-4, "replay_capacity": 10_000, "target_update_period": 1_000, "hidden": 512},
    ),
}


@dataclasses.dataclass
class Options(InTurnOptions):
    """Settings of the benchmark."""

    suite: str = "minatar"
    """The suite of games: minatar or atari."""
    games: int | None = None
    """The number of games that mtq learns in one network; by default 5 of MinAtar, and 2 of Atari."""
    seconds: float = 5.0
    """The approximate number of seconds for which a system runs in one round."""
    systems: str = ""
    """The names of the systems, separated by commas; by default all of the suite."""


def measure(options: Options) -> dict[str, Any]:
    """Runs the systems in turn, and prints the table.

    Args:
        options: The settings of the benchmark.

    Returns:
        The content of the last line of the program's output.
    """
    if options.suite not in _SUITES:
        raise ValueError(f"suite must be one of {[*_SUITES]}. Received: {options.suite!r}.")
    suite = _SUITES[options.suite]
    work = options.work(tasks=options.games or suite.games, **suite.work)
    names = options.systems.split(",") if options.systems else [*suite.titles]
    titles = {name: suite.titles[name] for name in names}
    return _results(run_in_turn(titles, work, options.rounds, options.seconds), work, suite)


def _results(workers: list[Worker], work: Work, suite: _Suite) -> dict[str, Any]:
    speeds = {worker.name: worker.median("env_steps") for worker in workers}
    seconds = {worker.name: 1 / worker.median("updates") for worker in workers}
    peer, update, environments = (
        next((name for name in speeds if name.endswith(ending)), "none")
        for ending in ("stable_baselines3", "_update", "_environments")
    )
    partial_systems = {update, environments}
    print(f"\n{'':34}{'frames/s':>9}{'ms/update':>11}{'× SB3':>8}{'× update':>10}{'first call':>12}{'GiB':>6}")
    for worker in workers:
        name = worker.name
        ratio = f"{speeds[name] / speeds[peer]:.2f}" if peer in speeds and name not in partial_systems else "–"
        beside = f"{seconds[name] / seconds[update]:.2f}" if update in seconds and name != peer else "–"
        print(
            f"{suite.titles[name]:34}{speeds[name]:>9,.0f}{1e3 * seconds[name]:>11.2f}{ratio:>8}{beside:>10}"
            f"{worker.first['first_call_seconds']:>10.1f} s{worker.rounds[-1]['peak_gib']:>6.2f}"
        )
    print(
        f"mtq: {work.tasks} game(s) in one network; the frames of all games are counted, those of updates only as well."
        " A frame is a step of the environment, which is four frames of an Atari emulator."
    )
    loop = seconds.get(suite.loop)
    return {
        "frames_per_second": speeds,
        "seconds_per_update": seconds,
        "ratio_to_stable_baselines3": {
            name: speed / speeds[peer]
            for name, speed in speeds.items()
            if peer in speeds and name not in partial_systems
        },
        "loop_over_update": loop / seconds[update] if loop and update in seconds else None,
        "share_of_environments": seconds[environments] / loop if loop and environments in seconds else None,
        "first_call_seconds": {worker.name: worker.first["first_call_seconds"] for worker in workers},
        "peak_gib": {worker.name: worker.rounds[-1]["peak_gib"] for worker in workers},
        "work": dataclasses.asdict(work),
    }


if __name__ == "__main__":
    print(json.dumps(measure(simple_parsing.parse(Options))))
