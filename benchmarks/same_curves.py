"""Tests whether training in in-graph environments and in Gymnasium's gives the same learning curves.

    python -m benchmarks.same_curves

The same network, with the same settings and seeds, learns CartPole, Acrobot and MountainCar in the in-graph
environments and in Gymnasium's; each arm is evaluated in its own environments. A CSV file of every evaluation and a
picture of both arms' means with their 95 % intervals over the seeds are written to `--out`. For each task, Welch's
t-test compares the areas under the curves of the two arms.

The last line is one JSON object.
"""

import csv
import dataclasses
import json
import sys
import time
from pathlib import Path
from typing import Any

import keras
import numpy as np
import simple_parsing
from matplotlib.figure import Figure

import mtq

_ARMS = {"in_graph": "#0072b2", "gymnasium": "#d55e00"}


@dataclasses.dataclass
class Options:
    """Settings of the benchmark."""

    seeds: int = 5
    """The number of runs of each arm."""
    epochs: int = 12
    """The number of epochs, each of which ends with an evaluation."""
    updates_per_epoch: int = 1_000
    """The number of updates of the network in each epoch."""
    episodes: int = 20
    """The number of episodes of each task in each evaluation."""
    out: str = "runs/same_curves"
    """The folder for the CSV file and the picture."""
    overwrite: bool = False
    """Whether to replace the CSV file and the picture of an earlier run in that folder."""


def run(arm: str, seed: int, options: Options) -> list[dict[str, float]]:
    """Trains one run, and returns a row for each evaluation and task."""
    tasks = mtq.suites.classic_control(num_envs=8, in_graph=arm == "in_graph")
    network = mtq.networks.shared_q_network(tasks, backbone=mtq.networks.mlp([64, 64]), seed=seed)
    model = mtq.MultiTaskDQN(network, tasks, target_update_period=100, double=True)
    model.compile(keras.optimizers.Adam(1e-3), loss="huber", steps_per_execution=100)
    epsilon = mtq.exploration.linear(1.0, 0.05, 20_000)
    repeated = mtq.exploration.EpsilonGreedy(epsilon, repeat_exponent=2.0)
    experience = mtq.Experience(
        tasks,
        model,
        exploration={"cart_pole": epsilon, "acrobot": epsilon, "mountain_car": repeated},
        replay_capacity=20_000,
        steps_per_update=4,
        n_step=3,
        seed=seed,
    )
    history = model.fit(
        experience.dataset(64),
        epochs=options.epochs,
        steps_per_epoch=options.updates_per_epoch,
        verbose=0,
        callbacks=[mtq.callbacks.EvaluateTasks(options.episodes, seed=seed, verbose=0)],
    ).history
    return [
        {"arm": arm, "seed": seed, "epoch": epoch + 1, "task": name, "return": history[f"val_{name}/return"][epoch]}
        for name in tasks
        for epoch in range(options.epochs)
    ]


def compare(rows: list[dict[str, Any]], options: Options) -> dict[str, dict[str, float]]:
    """Returns, for each task, both arms' mean areas under the curve, their standard deviations, and Welch's p-value."""
    from scipy import stats

    figures = {}
    for name in dict.fromkeys(row["task"] for row in rows):
        areas = {arm: _curves(rows, arm, name, options).mean(axis=1) for arm in _ARMS}
        figures[name] = {f"{arm}_mean": float(area.mean()) for arm, area in areas.items()}
        figures[name] |= {f"{arm}_sd": float(area.std(ddof=1)) for arm, area in areas.items()}
        figures[name]["p"] = float(stats.ttest_ind(*areas.values(), equal_var=False).pvalue)
    return figures


def draw(rows: list[dict[str, Any]], options: Options, path: Path) -> None:
    """Draws both arms' means and 95 % intervals over the seeds."""
    from scipy import stats

    names = list(dict.fromkeys(row["task"] for row in rows))
    figure = Figure(figsize=(4.4 * len(names), 3.4), layout="constrained")
    half = stats.t.ppf(0.975, options.seeds - 1) / options.seeds**0.5
    epochs = np.arange(1, options.epochs + 1)
    for axis, name in zip(figure.subplots(1, len(names), squeeze=False)[0], names, strict=True):
        for arm, color in _ARMS.items():
            curves = _curves(rows, arm, name, options)
            mean, margin = curves.mean(axis=0), half * curves.std(axis=0, ddof=1)
            axis.fill_between(epochs, mean - margin, mean + margin, color=color, alpha=0.15, lw=0)
            axis.plot(epochs, mean, color=color, lw=2, label=arm.replace("_", "-"))
        axis.set_title(name)
        axis.set_xlabel(f"epochs of {options.updates_per_epoch:,} updates")
        axis.set_ylabel("greedy return")
        axis.spines[["top", "right"]].set_visible(False)
    figure.axes[0].legend(frameon=False)
    figure.savefig(path, dpi=110)


def _curves(rows: list[dict[str, Any]], arm: str, name: str, options: Options) -> np.ndarray:
    returns = [row["return"] for row in rows if row["arm"] == arm and row["task"] == name]
    return np.array(returns).reshape(-1, options.epochs)


def main(options: Options) -> dict[str, Any]:
    """Runs both arms, alternating between them from seed to seed, and writes the results."""
    folder, rows = Path(options.out), []
    for place in (folder / "curves.csv", folder / "curves.png"):
        if place.exists() and not options.overwrite:
            raise FileExistsError(
                f"The folder must not hold the curves of another run. Received: {str(folder)!r}, which has "
                f"{place.name}. Choose another folder (--out), or pass --overwrite."
            )
    folder.mkdir(parents=True, exist_ok=True)
    for seed in range(options.seeds):
        for arm in _ARMS:
            started = time.monotonic()
            rows += run(arm, seed, options)
            print(f"seed {seed}, {arm}: {time.monotonic() - started:.0f} s", file=sys.stderr, flush=True)
            keras.backend.clear_session()
    with open(folder / "curves.csv", "w", newline="") as file:
        writer = csv.DictWriter(file, fieldnames=list(rows[0]))
        writer.writeheader()
        writer.writerows(rows)
    figures = compare(rows, options)
    draw(rows, options, folder / "curves.png")
    print(f"{'mean return over the run':26}{'in-graph':>18}{'Gymnasium':>18}{'p':>8}")
    for name, f in figures.items():
        arms = [f"{f[f'{arm}_mean']:.1f} ± {f[f'{arm}_sd']:.1f}" for arm in _ARMS]
        print(f"{name:26}{arms[0]:>18}{arms[1]:>18}{f['p']:>8.2f}")
    return figures


if __name__ == "__main__":
    print(json.dumps(main(simple_parsing.parse(Options))))
