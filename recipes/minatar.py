"""Trains one convolutional network on MinAtar's five games, or on some of them.

    python recipes/minatar.py --seed 0
    python recipes/minatar.py --published --games breakout  # the DQN of the paper, of one game

Writes runs/minatar (learning_curves.png, metrics.json, TensorBoard, checkpoints) and exports the best model to
saved_models/minatar/1. recipes/README.md has the scores, their spread and the command.
"""

if __name__ == "__main__":  # import TensorFlow without its notices
    import os
    from importlib.metadata import version
    from pathlib import Path
    from runpy import run_path

    if version("tensorflow").startswith("2.21."):  # 2.20 does not know the flag, and would abort
        # XLA's newer code generator is as fast, but takes half a GiB more to compile the training loop.
        os.environ["XLA_FLAGS"] = f"--xla_cpu_use_fusion_emitters=false {os.environ.get('XLA_FLAGS', '')}"
    run_path(str(Path(__file__).with_name("quiet.py")))

import dataclasses
import sys
from pathlib import Path
from typing import Any

# This file has the same name as the package of the games, and would be imported instead of it.
sys.path[:] = [path for path in sys.path if Path(path).resolve() != Path(__file__).resolve().parent]

import keras

import mtq

GAMES = ("asterix", "breakout", "freeway", "seaquest", "space_invaders")


@dataclasses.dataclass(frozen=True)
class Options(mtq.settings.TrainingOptions):
    """Settings of the run."""

    games: list[str] = dataclasses.field(default_factory=lambda: [*GAMES])
    """The games: any of asterix, breakout, freeway, seaquest and space_invaders."""
    published: bool = False
    """Whether to use the settings of the DQN of Young and Tian (2019) in place of the options that concern learning."""
    in_graph: bool = True
    """Whether to play the games in the graph; False for the package minatar."""
    optimizer: str = "adam"
    """The optimizer: adam, or rmsprop for the centered one of the paper."""
    updates_per_epoch: int = 4_000
    num_envs: int = 8
    steps_per_update: float = 4.0
    """The number of frames of each game per update, the inverse of the replay ratio."""
    learning_rate: float = 2.5e-4
    """The learning rate."""
    loss: str = "huber"
    double: bool = True
    target_update_period: int = 1_000
    n_step: int = 3
    repeat_exponent: float | None = 2.0
    """The exponent of the zeta distribution by which random actions are repeated; None to repeat none. Freeway's first
    points are far from the start, so that single random actions rarely reach them."""
    exploration_steps: int = 100_000
    replay_capacity: int = 100_000
    warmup_steps: int = 5_000
    episodes: int = 10
    out: str = "runs/minatar"
    export_to: str | None = "saved_models/minatar/1"


PUBLISHED: dict[str, Any] = {
    "batch_size": 32,
    "num_envs": 1,
    "steps_per_update": 1.0,
    "optimizer": "rmsprop",
    "learning_rate": 2.5e-4,
    "double": False,
    "aggregator": "sum",
    "target_update_period": 1_000,
    "n_step": 1,
    "repeat_exponent": None,
    "final_epsilon": 0.1,
    "exploration_steps": 100_000,
    "replay_capacity": 100_000,
}


def make_network(tasks: mtq.TaskSet, options: Options) -> keras.Model:
    """Returns the network."""
    return mtq.runs.make_network(tasks, options, mtq.networks.minatar_cnn)


def make_optimizer(options: Options) -> keras.optimizers.Optimizer:
    """Returns the optimizer.

    The paper's RMSprop adds 0.01 to the root of the mean square. Keras adds ε within the root, where 1e-4 is the same
    for gradients near zero.
    """
    if options.optimizer == "rmsprop":
        return keras.optimizers.RMSprop(mtq.runs.make_learning_rate(options), rho=0.95, epsilon=1e-4, centered=True)
    if options.optimizer == "adam":
        return mtq.runs.make_optimizer(options)
    raise ValueError(f"optimizer must be adam or rmsprop. Received: {options.optimizer!r}.")


def main(options: Options) -> dict[str, Any]:
    """Trains, evaluates and exports the model.

    Args:
        options: The settings of the run.

    Returns:
        The content of `metrics.json`.
    """
    if options.published:
        options = options.replace(**PUBLISHED)
    return mtq.runs.train(
        options,
        lambda: mtq.suites.minatar(options.games, num_envs=options.num_envs, in_graph=options.in_graph),
        network=make_network,
        optimizer=make_optimizer,
    )


if __name__ == "__main__":
    main(mtq.settings.parse(Options))
