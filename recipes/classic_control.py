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
import subprocess
import sys
from typing import Any

import keras
import simple_parsing

import mtq


@dataclasses.dataclass
class Options:
    """Settings of the run."""

    seed: int = 0
    """The seed of the network, the environments, the exploration and the replay."""
    epochs: int = 30
    """The number of epochs, each of which ends with an evaluation."""
    updates_per_epoch: int = 2_000
    """The number of updates of the network in each epoch; each uses one batch of every task."""
    batch_size: int = 64
    """The batch size of each task."""
    in_graph: bool = True
    """Whether to train in the in-graph environments instead of Gymnasium's, which have the same dynamics but are
    slower. The evaluations before and after the training use Gymnasium's environments in either case."""
    num_envs: int = 8
    """The number of copies of each environment, which step together."""
    steps_per_update: float = 2.0
    """The number of environment steps of each task per update, the inverse of the replay ratio."""
    learning_rate: float = 5e-4
    """The learning rate of Adam at the start; it decays to a tenth along a cosine."""
    aggregator: str = "normalized_sum"
    """The aggregator that combines the tasks' gradients."""
    target_update_period: int = 100
    """The number of updates between two copies to the target network."""
    n_step: int = 3
    """The number of steps of an n-step return."""
    exploration_steps: int = 20_000
    """The number of environment steps of each task in which ε falls from 1 to 0.05."""
    replay_capacity: int = 20_000
    """The capacity of each task's replay buffer, in environment steps."""
    episodes: int = 20
    """The number of episodes of each task in each evaluation."""
    out: str = "runs/classic_control"
    """The folder of the run."""
    export_to: str = "saved_models/classic_control/1"
    """The folder of the SavedModel."""
    overwrite: bool = False
    """Whether to replace a run and an export that are already in these folders."""
    resume: bool = False
    """Whether to resume a run in the folder from its last checkpoint."""
    strategy: str = "auto"
    """The distribution strategy: auto, cpu, mirrored, multi_worker (configured by TF_CONFIG) or tpu."""
    devices: int | None = None
    """The number of replicas of the strategy mirrored; logical CPUs if there are no GPUs."""
    tpu: str | None = None
    """The name or address of the TPU, or local."""
    checkpoint_every: int = 1
    """The number of epochs from one checkpoint to the next, or 0 for none; each checkpoint holds the whole replay
    buffers."""


@mtq.distribution.exit_when_lost()
def main(options: Options) -> dict[str, Any]:
    """Trains, evaluates and exports the model, and plays an episode of each task with the export.

    Args:
        options: The settings of the run.

    Returns:
        The content of `metrics.json`.
    """
    strategy = mtq.distribution.strategy(options.strategy, devices=options.devices, tpu=options.tpu)
    gymnasium_tasks = mtq.suites.classic_control(num_envs=options.num_envs)
    tasks = mtq.suites.classic_control(num_envs=options.num_envs, in_graph=options.in_graph)
    updates = options.epochs * options.updates_per_epoch
    with strategy.scope():
        network = mtq.networks.shared_q_network(tasks, backbone=mtq.networks.mlp([128, 128]), seed=options.seed)
        model = mtq.MultiTaskDQN(network, tasks, target_update_period=options.target_update_period, double=True)
        model.compile(
            keras.optimizers.Adam(keras.optimizers.schedules.CosineDecay(options.learning_rate, updates, alpha=0.1)),
            loss="huber",
            aggregator=options.aggregator,
            steps_per_execution=mtq.runs.steps_per_execution(options.updates_per_epoch, most=250),
        )
    epsilon = mtq.exploration.linear(1.0, 0.05, options.exploration_steps)
    experience = mtq.Experience(
        model,
        exploration={
            "cart_pole": epsilon,
            "acrobot": epsilon,
            # Single random actions never bring the car up the hill (0 of 200 episodes); repeated ones do (94 of 200).
            "mountain_car": mtq.exploration.EpsilonGreedy(epsilon, repeat_exponent=2.0),
        },
        replay_capacity=options.replay_capacity,
        steps_per_update=options.steps_per_update,
        n_step=options.n_step,
        seed=options.seed,
    )
    batches = experience.batches(options.batch_size)  # before the folder is created, because it may raise
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
        batches,
        epochs=options.epochs,
        updates_per_epoch=options.updates_per_epoch,
        episodes=options.episodes,
        seed=options.seed,
        tasks=gymnasium_tasks,
        checkpoint_every=options.checkpoint_every,
    )
    if not run.is_chief:
        return metrics
    mtq.runs.load_best(options.out).export(options.export_to, overwrite=options.overwrite or options.resume)
    subprocess.run(
        [sys.executable, "-m", "mtq.play_export", options.export_to, f"{options.out}/tasks.json"], check=True
    )
    return metrics


if __name__ == "__main__":
    main(simple_parsing.parse(Options))
