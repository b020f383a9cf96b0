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
import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import simple_parsing

from benchmarks.systems.work import Work

_ROOT = Path(__file__).resolve().parents[1]
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
class Options:
    """Settings of the benchmark."""

    tasks: int = 5
    """The number of tasks that mtq learns in one network."""
    num_envs: int = 4
    """The number of copies of each environment, and of environment steps of each task per update."""
    batch_size: int = 32
    """The batch size of each task."""
    rounds: int = 5
    """The number of rounds, in each of which every system runs once."""
    seconds: float = 3.0
    """The approximate number of seconds for which a system runs in one round."""
    systems: str = ",".join(_NAMES)
    """The names of the systems, separated by commas."""
    warmup_steps: int = 1_000
    """The number of random environment steps of each task before the first update."""
    steps_per_execution: int = 100
    """The number of updates per execution of `fit`, and of tf-agents in one graph."""


class Worker:
    """A system that runs in its own process.

    Args:
        name: The name of the system.
        work: The work that it does.
        python: The path of the Python that runs it.
    """

    def __init__(self, name: str, work: Work, python: str) -> None:
        command = [python, "-m", "benchmarks.worker", name, json.dumps(dataclasses.asdict(work))]
        environment = {**os.environ, "TF_CPP_MIN_LOG_LEVEL": "3", "PYTHONWARNINGS": "ignore"}
        self._stderr = tempfile.TemporaryFile("w+")  # noqa: SIM115  (stays open as long as the process runs)
        self._process = subprocess.Popen(
            command, cwd=_ROOT, env=environment, text=True, stdin=-1, stdout=-1, stderr=self._stderr
        )
        self.name = name
        self.first = self._answer()
        self.rounds: list[dict[str, float]] = []

    def run(self, seconds: float) -> None:
        """Runs for about a number of seconds; the number of updates follows from the speed of the last round."""
        unit = self.first["round_to"]
        last = self.rounds[-1] if self.rounds else {"updates": unit, "seconds": 0.5}
        updates = max(round(seconds * last["updates"] / last["seconds"] / unit), 1) * unit
        self.rounds.append(self._order(int(updates)))

    def close(self) -> None:
        """Ends the process."""
        self._process.communicate()
        self._stderr.close()

    def median(self, quantity: str) -> float:
        """Returns the median over the rounds of a quantity per second."""
        return statistics.median(r[quantity] / r["seconds"] for r in self.rounds[1:] or self.rounds)

    def _order(self, updates: int) -> dict[str, float]:
        self._process.stdin.write(f"{updates}\n")
        self._process.stdin.flush()
        return self._answer()

    def _answer(self) -> dict[str, float]:
        for line in self._process.stdout:
            if line.startswith("ANSWER "):
                return json.loads(line.removeprefix("ANSWER "))
        self._process.communicate()
        self._stderr.seek(0)
        with self._stderr as stderr:
            raise RuntimeError(f"{self.name} did not answer. Its standard error is:\n{stderr.read()[-4000:]}")


def python_for(system: str) -> str | None:
    """Returns the path of a Python that can import a system; None if there is none."""
    if system != "stable_baselines3":
        return sys.executable
    for python in (sys.executable, str(_ROOT / ".venv-benchmarks" / "bin" / "python")):
        if (
            Path(python).exists()
            and not subprocess.run(
                [python, "-c", "import stable_baselines3"], capture_output=True, check=False
            ).returncode
        ):
            return python
    return None


def measure(options: Options) -> dict[str, Any]:
    """Runs the systems in turn.

    Args:
        options: The settings of the benchmark.

    Returns:
        The content of the last line of the program's output.
    """
    work = Work(
        tasks=options.tasks,
        num_envs=options.num_envs,
        batch_size=options.batch_size,
        warmup_steps=options.warmup_steps,
        steps_per_execution=options.steps_per_execution,
    )
    workers: list[Worker] = []
    try:
        _measure(options, work, workers)
    finally:
        for worker in workers:
            worker.close()
    return results(workers, work)


def _measure(options: Options, work: Work, workers: list[Worker]) -> None:
    for name in options.systems.split(","):
        python = python_for(name)
        if python is None:
            _say(f"{_NAMES[name]}: not installed, left out (make benchmark installs it)")
            continue
        _say(f"setting up {_NAMES[name]} …")
        workers.append(Worker(name, work, python))
    for number in range(options.rounds + 1):  # the first only determines the numbers of updates
        for worker in workers:
            worker.run(options.seconds if number else options.seconds / 3)
            speed = worker.rounds[-1]["env_steps"] / worker.rounds[-1]["seconds"]
            _say(f"round {number} of {options.rounds}: {_NAMES[worker.name]} {speed:,.0f} steps/s")


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


def _say(text: str) -> None:
    print(f"[{time.strftime('%H:%M:%S')}] {text}", file=sys.stderr, flush=True)


if __name__ == "__main__":
    print(json.dumps(measure(simple_parsing.parse(Options))))
