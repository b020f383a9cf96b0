"""Trains one network on CartPole, Acrobot and MountainCar (with a time limit of 1,000 steps).

    python recipes/classic_control.py --seed 0

Writes runs/classic_control (learning_curves.png, metrics.json, TensorBoard, checkpoints) and exports the best
model to saved_models/classic_control/1. recipes/README.md has the scores, their spread and the command.
"""

if __name__ == "__main__":  # import TensorFlow without its notices
    from pathlib import Path
    from runpy import run_path

    run_path(str(Path(__file__).with_name("quiet.py")))

import dataclasses
import functools
import subprocess
import sys
from typing import Any

import keras

import mtq


@dataclasses.dataclass(frozen=True)
class Options(mtq.settings.TrainingOptions):
    """Settings of the run."""

    in_graph: bool = True
    """Whether to train in the in-graph environments instead of Gymnasium's, which have the same dynamics but are
    slower. The evaluations before and after the training use Gymnasium's environments in either case."""
    epochs: int = 30
    updates_per_epoch: int = 2_000
    batch_size: int = 64
    num_envs: int = 8
    steps_per_update: float = 2.0
    learning_rate: float = 5e-4
    """The learning rate of Adam at the start."""
    final_learning_rate: float | None = None
    """The learning rate at the last update, to which it decays along a cosine; by default a tenth of that at the
    start."""
    loss: str = "huber"
    double: bool = True
    n_step: int = 3
    exploration_steps: int = 20_000
    replay_capacity: int = 20_000
    out: str = "runs/classic_control"
    export_to: str | None = "saved_models/classic_control/1"


def make_network(tasks: mtq.TaskSet, options: Options) -> keras.Model:
    """Returns the network."""
    return mtq.runs.make_network(tasks, options, functools.partial(mtq.networks.mlp, [128, 128]))


def make_optimizer(options: Options) -> keras.optimizers.Optimizer:
    """Returns the optimizer."""
    final = options.learning_rate / 10 if options.final_learning_rate is None else options.final_learning_rate
    return mtq.runs.make_optimizer(options.replace(final_learning_rate=final))


def make_exploration(options: Options) -> dict[str, mtq.exploration.EpsilonGreedy]:
    """Returns the exploration of each task.

    Single random actions never bring the car up the hill (0 of 200 episodes); repeated ones do (94 of 200).
    """
    of_car = options if options.repeat_exponent is not None else options.replace(repeat_exponent=2.0)
    others = mtq.runs.make_exploration(options)
    return {"cart_pole": others, "acrobot": others, "mountain_car": mtq.runs.make_exploration(of_car)}


def main(options: Options) -> dict[str, Any]:
    """Trains, evaluates and exports the model, and plays an episode of each task with the export.

    Args:
        options: The settings of the run.

    Returns:
        The content of `metrics.json`.
    """
    metrics = mtq.runs.train(
        options,
        lambda: mtq.suites.classic_control(num_envs=options.num_envs, in_graph=options.in_graph),
        network=make_network,
        optimizer=make_optimizer,
        exploration=make_exploration,
        evaluation_tasks=lambda: mtq.suites.classic_control(num_envs=options.num_envs),
        most_steps_per_execution=250,
    )
    if metrics and options.export_to is not None:  # in the chief
        play = [sys.executable, "-m", "mtq.play_export", options.export_to, f"{options.out}/tasks.json"]
        subprocess.run(play, check=True)
    return metrics


if __name__ == "__main__":
    main(mtq.settings.parse(Options))
