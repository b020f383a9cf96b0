"""One system in a process of its own, which waits for orders on standard input: `python -m benchmarks.worker NAME`.

An order is a number of updates. Every answer is a line of JSON: first what the setting up took, then what each run did.
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
}


def main(name: str, work: str) -> None:
    """Sets up the system, runs it once, and then as often as it is told to."""
    from benchmarks.systems.work import Work

    module, class_name = _SYSTEMS[name]
    found = getattr(importlib.import_module(f"benchmarks.systems.{module}"), class_name)
    started = time.perf_counter()
    system = found(Work(**json.loads(work)))
    set_up = time.perf_counter()
    system.run(system.round_to)
    _answer(set_up_seconds=set_up - started, first_call_seconds=time.perf_counter() - set_up, round_to=system.round_to)
    for order in sys.stdin:
        updates, before, started = int(order), system.env_steps(), time.perf_counter()
        system.run(updates)
        seconds = time.perf_counter() - started
        _answer(updates=updates, env_steps=system.env_steps() - before, seconds=seconds, peak_gib=_peak_gib())


def _peak_gib() -> float:
    """Of this process alone; what `getrusage` says begins on Linux from the parent's."""
    try:
        status = Path("/proc/self/status").read_text()
        return int(re.search(r"VmHWM:\s+(\d+)", status)[1]) / 2**20
    except FileNotFoundError:
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / (2**30 if sys.platform == "darwin" else 2**20)


def _answer(**values: float) -> None:
    print("ANSWER " + json.dumps(values), flush=True)


if __name__ == "__main__":
    main(*sys.argv[1:])
