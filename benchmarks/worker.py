"""The process of one system, which takes orders on standard input: `python -m benchmarks.worker NAME WORK`.

An order is a number of updates. Each answer is a line of JSON: the first has the durations of the set-up, the others
the figures of each run.
"""

import importlib
import json
import re
import resource
import sys
import time
from pathlib import Path

_SYSTEMS = {
    "mtq_in_graph": ("mtq_fit", "MtqInGraph"),
    "mtq_update": ("mtq_fit", "MtqUpdate"),
    "mtq_gymnasium": ("mtq_fit", "MtqGymnasium"),
    "mtq_gymnasium_overlap": ("mtq_fit", "MtqGymnasiumOverlap"),
    "tf_agents": ("tf_agents_dqn", "TfAgentsTutorial"),
    "tf_agents_one_graph": ("tf_agents_dqn", "TfAgentsOneGraph"),
    "stable_baselines3": ("stable_baselines3_dqn", "StableBaselines3"),
    "minatar_in_graph": ("mtq_minatar", "MinAtarInGraph"),
    "minatar_update": ("mtq_minatar", "MinAtarUpdate"),
    "minatar_package": ("mtq_minatar", "MinAtarPackage"),
    "atari": ("mtq_atari", "Atari"),
    "atari_update": ("mtq_atari", "AtariUpdate"),
    "atari_environments": ("mtq_atari", "AtariEnvironments"),
    "atari_stable_baselines3": ("stable_baselines3_atari", "StableBaselines3Atari"),
    "minatar_stable_baselines3": ("stable_baselines3_minatar", "StableBaselines3MinAtar"),
}


def main(name: str, work: str) -> None:
    """Sets up a system, runs it once, and then once for each order.

    Args:
        name: The name of the system.
        work: The fields of `Work`, as JSON.
    """
    from benchmarks.systems.work import Work

    module, class_name = _SYSTEMS[name]
    system_class = getattr(importlib.import_module(f"benchmarks.systems.{module}"), class_name)
    started = time.perf_counter()
    system = system_class(Work(**json.loads(work)))
    set_up = time.perf_counter()
    system.run(system.round_to)
    _answer(set_up_seconds=set_up - started, first_call_seconds=time.perf_counter() - set_up, round_to=system.round_to)
    for order in sys.stdin:
        updates, before, started = int(order), system.env_steps(), time.perf_counter()
        system.run(updates)
        seconds = time.perf_counter() - started
        _answer(updates=updates, env_steps=system.env_steps() - before, seconds=seconds, peak_gib=_peak_gib())


def _peak_gib() -> float:
    """Returns the peak memory of this process alone, in GiB; on Linux, `getrusage` starts from the parent's peak."""
    try:
        status = Path("/proc/self/status").read_text()
        return int(re.search(r"VmHWM:\s+(\d+)", status)[1]) / 2**20
    except FileNotFoundError:
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / (2**30 if sys.platform == "darwin" else 2**20)


def _answer(**values: float) -> None:
    print("ANSWER " + json.dumps(values), flush=True)


if __name__ == "__main__":
    main(*sys.argv[1:])
