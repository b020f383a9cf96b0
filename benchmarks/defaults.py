"""Compares settings with a base, one at a time, on CartPole, Acrobot and MountainCar.

    python -m benchmarks.defaults --out runs/defaults

Writes a study's report, in which every arm is compared with `base`. Called again it makes only the runs
that are missing. docs/defaults.md has the figures and what follows from them.
"""

import dataclasses
from typing import Any

import simple_parsing

import mtq

BASE: dict[str, Any] = {
    "loss": "huber",
    "target_update_period": 100,
    "replay_capacity": 50_000,
    "learning_rate": 1e-3,
    "exploration_steps": 10_000,
}
VARIANTS: dict[str, dict[str, Any]] = {
    "squared": {"loss": "squared"},
    "period_500": {"target_update_period": 500},
    "tau_0.01": {"target_update_tau": 0.01},
    "replay_20000": {"replay_capacity": 20_000},
    "learning_rate_0.0003": {"learning_rate": 3e-4},
}


@dataclasses.dataclass
class Options:
    """Settings of the comparison."""

    out: str = "runs/defaults"
    """The folder of the study."""
    seeds: int = 6
    """The number of runs of each arm."""
    epochs: int = 20
    """The number of epochs of 1,000 updates, each of which ends with an evaluation of 20 episodes of each task."""
    workers: int | None = None
    """The number of runs at once; by default one per core."""


def main(options: Options) -> Any:
    """Makes the runs that are missing, and writes the report."""
    protocol = mtq.study.Protocol(epochs=options.epochs, updates_per_epoch=1_000, **BASE)
    arms = [mtq.study.Arm("base", aggregator="normalized_sum")]
    arms += [mtq.study.Arm(name, aggregator="normalized_sum", **settings) for name, settings in VARIANTS.items()]
    study = mtq.study.Study(
        mtq.suites.classic_control(num_envs=1, in_graph=True),
        arms,
        protocol=protocol,
        seeds=options.seeds,
        reference="base",
    )
    report = study.run(options.out, workers=options.workers)
    report.write()
    return report


if __name__ == "__main__":
    main(simple_parsing.parse(Options))
