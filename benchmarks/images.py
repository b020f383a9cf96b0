"""Measures frames per second on MinAtar's games: mtq (in-graph, package, updates only) and Stable-Baselines3's DQN.

    python -m benchmarks.images

All systems do the same work per frame: one update with a batch of 32 per game after every 4 frames of a game, with a
convolution of 16 filters of 3×3, a dense layer of 128 units and Adam. mtq learns five games in one network with
gradient normalization and Double DQN, through `fit`. Stable-Baselines3 learns Breakout alone. Each system runs in its
own process. The systems take turns for several rounds, and the figures are medians over the rounds. Stable-Baselines3
is imported from this Python or from .venv-benchmarks (`make benchmark`).

The last line is one JSON object.
"""

import dataclasses
import json
from typing import Any

import simple_parsing

from benchmarks.in_turn import InTurnOptions, Worker, run_in_turn
from benchmarks.systems.work import Work

_TITLES = {
    "minatar_in_graph": "mtq, games in the graph",
    "minatar_package": "mtq, games of the package",
    "minatar_stable_baselines3": "Stable-Baselines3 DQN, Breakout",
    "minatar_update": "mtq, updates only",
}


@dataclasses.dataclass
class Options(InTurnOptions):
    """Settings of the benchmark."""

    games: int = 5
    """The number of games that mtq learns in one network."""
    seconds: float = 5.0
    """The approximate number of seconds for which a system runs in one round."""
    systems: str = ",".join(_TITLES)
    """The names of the systems, separated by commas."""


def measure(options: Options) -> dict[str, Any]:
    """Runs the systems in turn, and prints the table.

    Args:
        options: The settings of the benchmark.

    Returns:
        The content of the last line of the program's output.
    """
    work = options.work(tasks=options.games, learning_rate=2.5e-4, replay_capacity=100_000, target_update_period=1_000)
    titles = {name: _TITLES[name] for name in options.systems.split(",")}
    return _results(run_in_turn(titles, work, options.rounds, options.seconds), work)


def _results(workers: list[Worker], work: Work) -> dict[str, Any]:
    speeds = {worker.name: worker.median("env_steps") for worker in workers}
    seconds = {worker.name: 1 / worker.median("updates") for worker in workers}
    peer, update = "minatar_stable_baselines3", "minatar_update"
    print(f"\n{'':34}{'frames/s':>9}{'ms/update':>11}{'× SB3':>8}{'× update':>10}{'first call':>12}{'GiB':>6}")
    for worker in workers:
        name = worker.name
        ratio = f"{speeds[name] / speeds[peer]:.2f}" if peer in speeds and name != update else "–"
        beside = f"{seconds[name] / seconds[update]:.2f}" if update in seconds and name != peer else "–"
        print(
            f"{_TITLES[name]:34}{speeds[name]:>9,.0f}{1e3 * seconds[name]:>11.2f}{ratio:>8}{beside:>10}"
            f"{worker.first['first_call_seconds']:>10.1f} s{worker.rounds[-1]['peak_gib']:>6.2f}"
        )
    print(
        f"mtq: {work.tasks} game(s) in one network; the frames of all games are counted, those of updates only as well."
    )
    return {
        "frames_per_second": speeds,
        "seconds_per_update": seconds,
        "ratio_to_stable_baselines3": {
            name: speed / speeds[peer] for name, speed in speeds.items() if peer in speeds and name != update
        },
        "loop_over_update": seconds["minatar_in_graph"] / seconds[update]
        if {"minatar_in_graph", update} <= set(seconds)
        else None,
        "first_call_seconds": {worker.name: worker.first["first_call_seconds"] for worker in workers},
        "peak_gib": {worker.name: worker.rounds[-1]["peak_gib"] for worker in workers},
        "work": dataclasses.asdict(work),
    }


if __name__ == "__main__":
    print(json.dumps(measure(simple_parsing.parse(Options))))
