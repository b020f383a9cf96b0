"""Measures environment steps per second: mtq (in-graph, Gymnasium), tf-agents' DqnAgent and Stable-Baselines3's DQN.

    python -m benchmarks.throughput

All systems do the same work per step: one update with a batch of 32 per task after every 4 environment steps of a task,
with 2×128 units and Adam. mtq learns five tasks in one network with gradient normalization, through `fit`. The other
systems learn single tasks, so they learn CartPole alone. Each system runs in its own process. The systems take turns
for several rounds, and the figures are medians over the rounds. Stable-Baselines3 is imported from this Python or from
.venv-benchmarks (`make benchmark`).

The last line is one JSON object.
"""

import dataclasses
import json
from typing import Any

import simple_parsing

from benchmarks.in_turn import InTurnOptions, Worker, run_in_turn
from benchmarks.systems.work import Work

_NAMES = {
    "mtq_in_graph": "mtq, in-graph tasks",
    "mtq_gymnasium": "mtq, Gymnasium tasks",
    "mtq_gymnasium_overlap": "mtq, Gymnasium, overlap=True",
    "tf_agents": "tf-agents DqnAgent, as in its tutorials",
    "tf_agents_one_graph": "tf-agents DqnAgent, one tf.function",
    "stable_baselines3": "Stable-Baselines3 DQN",
    "mtq_update": "mtq, updates only",
}


@dataclasses.dataclass
class Options(InTurnOptions):
    """Settings of the benchmark."""

    tasks: int = 5
    """The number of tasks that mtq learns in one network."""
    seconds: float = 3.0
    """The approximate number of seconds for which a system runs in one round."""
    systems: str = ",".join(_NAMES)
    """The names of the systems, separated by commas."""


def measure(options: Options) -> dict[str, Any]:
    """Runs the systems in turn.

    Args:
        options: The settings of the benchmark.

    Returns:
        The content of the last line of the program's output.
    """
    work = options.work(tasks=options.tasks)
    titles = {name: _NAMES[name] for name in options.systems.split(",")}
    workers = run_in_turn(titles, work, options.rounds, options.seconds)
    return results(workers, work)


def results(workers: list[Worker], work: Work) -> dict[str, Any]:
    """Prints the table, and returns the figures."""
    speeds = {worker.name: worker.median("env_steps") for worker in workers}
    peers = {"tf_agents": "× tf-agents", "tf_agents_one_graph": "× one graph", "stable_baselines3": "× SB3"}
    print(f"\n{'':42}{'steps/s':>9}{'µs/update':>11}" + "".join(f"{title:>13}" for title in peers.values()), end="")
    print(f"{'first call':>12}{'GiB':>6}")
    for worker in workers:
        line = f"{_NAMES[worker.name]:42}{speeds[worker.name]:>9,.0f}{1e6 / worker.median('updates'):>11,.0f}"
        for peer in peers:
            line += f"{speeds[worker.name] / speeds[peer]:>12.1f}×" if peer in speeds else f"{'–':>13}"
        print(f"{line}{worker.first['first_call_seconds']:>10.1f} s{worker.rounds[-1]['peak_gib']:>6.2f}")
    print(
        f"mtq: {work.tasks} task(s) in one network; the steps of all tasks are counted. In-graph tasks: CartPole, "
        "Acrobot, MountainCar,\nCarOnHill and InvertedPendulum; Gymnasium tasks: CartPole, Acrobot and MountainCar. "
        "The other systems: CartPole alone."
    )
    seconds = {worker.name: 1 / worker.median("updates") for worker in workers}
    return {
        "env_steps_per_second": {
            name: speeds.get(name) for name in ("mtq_in_graph", "mtq_gymnasium", "tf_agents", "stable_baselines3")
        },
        "ratio_to_tf_agents": _ratios(speeds, "tf_agents"),
        "ratio_to_stable_baselines3": _ratios(speeds, "stable_baselines3"),
        "ratio_to_tf_agents_one_graph": _ratios(speeds, "tf_agents_one_graph"),
        "update_only_seconds_per_step": seconds.get("mtq_update"),
        "loop_seconds_per_step": seconds.get("mtq_in_graph"),
        "also": {name: speeds.get(name) for name in ("tf_agents_one_graph", "mtq_gymnasium_overlap")},
        "first_call_seconds": {worker.name: worker.first["first_call_seconds"] for worker in workers},
        "set_up_seconds": {worker.name: worker.first["set_up_seconds"] for worker in workers},
        "peak_gib": {worker.name: worker.rounds[-1]["peak_gib"] for worker in workers},
        "work": dataclasses.asdict(work),
    }


def _ratios(speeds: dict[str, float], peer: str) -> dict[str, float]:
    if peer not in speeds:
        return {}
    return {name: speed / speeds[peer] for name, speed in speeds.items() if name != "mtq_update"}


if __name__ == "__main__":
    print(json.dumps(measure(simple_parsing.parse(Options))))
