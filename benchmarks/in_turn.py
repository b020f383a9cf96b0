"""Runs several systems in turn, each in its own process."""

import dataclasses
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from benchmarks.systems.work import Work

_ROOT = Path(__file__).resolve().parents[1]


@dataclasses.dataclass
class InTurnOptions:
    """The settings that all benchmarks of systems in turn have."""

    num_envs: int = 4
    """The number of copies of each task's environment, and of environment steps of each task per update."""
    batch_size: int = 32
    """The batch size of each task."""
    rounds: int = 5
    """The number of rounds, in each of which every system runs once."""
    warmup_steps: int = 1_000
    """The number of random environment steps of each task before the first update."""
    steps_per_execution: int = 100
    """The number of updates per execution of `fit`, and of tf-agents in one graph."""

    def work(self, **others: Any) -> Work:
        """Returns the work of all systems.

        Args:
            **others: The fields of `Work` that the benchmark sets itself.
        """
        return Work(
            num_envs=self.num_envs,
            batch_size=self.batch_size,
            warmup_steps=self.warmup_steps,
            steps_per_execution=self.steps_per_execution,
            **others,
        )


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
    if "stable_baselines3" not in system:
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


def run_in_turn(titles: Mapping[str, str], work: Work, rounds: int, seconds: float) -> list[Worker]:
    """Runs each system once in every round. Systems that are not installed are left out.

    Args:
        titles: The title of each system, by its name.
        work: The work of all systems.
        rounds: The number of rounds, before which another one determines the numbers of updates.
        seconds: The approximate number of seconds for which a system runs in one round.

    Returns:
        The workers of the systems. Their processes have ended.
    """
    workers: list[Worker] = []
    try:
        for name, title in titles.items():
            python = python_for(name)
            if python is None:
                _say(f"{title}: not installed, left out (make benchmark installs it)")
                continue
            _say(f"setting up {title} …")
            workers.append(Worker(name, work, python))
        for number in range(rounds + 1):
            for worker in workers:
                worker.run(seconds if number else seconds / 3)
                speed = worker.rounds[-1]["env_steps"] / worker.rounds[-1]["seconds"]
                _say(f"round {number} of {rounds}: {titles[worker.name]} {speed:,.0f} steps/s")
    finally:
        for worker in workers:
            worker.close()
    return workers


def _say(text: str) -> None:
    print(f"[{time.strftime('%H:%M:%S')}] {text}", file=sys.stderr, flush=True)
