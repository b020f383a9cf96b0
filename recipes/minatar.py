"""Any of MinAtar's five games in one convolutional network.

    python recipes/minatar.py --games breakout freeway --seed 0

Writes runs/minatar (learning_curves.png, metrics.json, TensorBoard, checkpoints) and exports the best checkpoint to
saved_models/minatar/1. Scores, command and spread: recipes/README.md.
"""

if __name__ == "__main__":
    import quiet  # noqa: F401  (TensorFlow without its notices)

import dataclasses
import sys
from pathlib import Path
from typing import Any

# This file has the name of the package that the games come from, and would be found in its place.
sys.path[:] = [path for path in sys.path if Path(path).resolve() != Path(__file__).resolve().parent]

import keras
import simple_parsing

import mtq


@dataclasses.dataclass
class Options:
    """Settings of the run."""

    games: list[str] = dataclasses.field(default_factory=lambda: ["breakout", "freeway"])
    """Any of asterix, breakout, freeway, seaquest and space_invaders."""
    seed: int = 0
    """Of the network, the environments, the exploration and the replay."""
    epochs: int = 20
    """Each ends with an evaluation."""
    updates_per_epoch: int = 4_000
    """Of the network, from one batch of every game each."""
    batch_size: int = 32
    """Per game."""
    num_envs: int = 8
    """Copies of each game, stepped at once."""
    steps_per_update: float = 4.0
    """Frames of each game per update."""
    learning_rate: float = 2.5e-4
    """Of Adam."""
    aggregator: str = "normalized_sum"
    """How the games' gradients become one update."""
    target_update_period: int = 1_000
    """Updates between two copies to the target network."""
    n_step: int = 3
    """Steps that a return spans."""
    repeat_exponent: float = 2.0
    """Of the zeta distribution by which random actions are repeated; Freeway's first points are far away."""
    exploration_steps: int = 100_000
    """Frames of each game in which ε falls from 1 to 0.05."""
    replay_capacity: int = 100_000
    """Frames of each game that are remembered."""
    episodes: int = 10
    """Of each game at each evaluation."""
    out: str = "runs/minatar"
    """Folder of the run."""
    export_to: str = "saved_models/minatar/1"
    """Folder of the SavedModel."""
    overwrite: bool = False
    """Replace a run and an export that are already there."""
    resume: bool = False
    """Go on from the last checkpoint of a run that is there."""
    strategy: str = "auto"
    """Where: auto, cpu, mirrored, multi_worker (from TF_CONFIG) or tpu."""
    devices: int | None = None
    """Replicas of the strategy mirrored; without GPUs these are logical CPUs."""
    tpu: str | None = None
    """Name or address of the TPU, or local."""
    checkpoint_every: int = 1
    """Epochs from one checkpoint to the next; each holds all that is remembered. 0 for none."""


@mtq.distribution.exit_when_lost()
def main(options: Options) -> dict[str, Any]:
    """Trains, evaluates and exports. Returns what metrics.json holds."""
    strategy = mtq.distribution.strategy(options.strategy, devices=options.devices, tpu=options.tpu)
    tasks = mtq.suites.minatar(options.games, num_envs=options.num_envs)
    with strategy.scope():
        network = mtq.networks.shared_q_network(tasks, backbone=mtq.networks.minatar_cnn(), seed=options.seed)
        model = mtq.MultiTaskDQN(network, tasks, target_update_period=options.target_update_period, double=True)
        model.compile(
            keras.optimizers.Adam(options.learning_rate),
            loss="huber",
            aggregator=options.aggregator,
            steps_per_execution=mtq.runs.steps_per_execution(options.updates_per_epoch),
        )
    experience = mtq.Experience(
        tasks,
        model,
        exploration=mtq.exploration.EpsilonGreedy(
            mtq.exploration.linear(1.0, 0.05, options.exploration_steps), options.repeat_exponent
        ),
        replay_capacity=options.replay_capacity,
        warmup_steps=5_000,
        steps_per_update=options.steps_per_update,
        n_step=options.n_step,
        seed=options.seed,
    )
    dataset = experience.dataset(options.batch_size)  # before the folder is made, for it may raise
    run = mtq.runs.Run(
        options.out,
        dataclasses.asdict(options),
        options.overwrite,
        export_to=options.export_to,
        resume=options.resume,
        is_chief=mtq.distribution.is_chief(strategy),
    )
    metrics = run.train(
        model,
        experience,
        dataset,
        epochs=options.epochs,
        updates_per_epoch=options.updates_per_epoch,
        episodes=options.episodes,
        seed=options.seed,
        checkpoint_every=options.checkpoint_every,
    )
    if not run.is_chief:
        return metrics
    mtq.runs.load_best(options.out).export(options.export_to, overwrite=options.overwrite or options.resume)
    return metrics


if __name__ == "__main__":
    main(simple_parsing.parse(Options))
