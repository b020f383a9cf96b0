"""CartPole, Acrobot and MountainCar (with a horizon of 1,000 steps) in one network.

    python recipes/classic_control.py --seed 0

Writes runs/classic_control (learning_curves.png, metrics.json, TensorBoard, checkpoints) and exports the best
checkpoint to saved_models/classic_control/1. Scores, command and spread: recipes/README.md.
"""

if __name__ == "__main__":
    import quiet  # noqa: F401  (TensorFlow without its notices)

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
    """Of the network, the environments, the exploration and the replay."""
    epochs: int = 30
    """Each ends with an evaluation."""
    updates_per_epoch: int = 2_000
    """Of the network, from one batch of every task each."""
    batch_size: int = 64
    """Per task."""
    in_graph: bool = True
    """Train in the in-graph environments and not in Gymnasium's, which have the same dynamics but are slower. The
    returns from before training and at the end are Gymnasium's in either case."""
    num_envs: int = 8
    """Copies of each environment, stepped at once."""
    steps_per_update: float = 2.0
    """Environment steps of each task per update."""
    learning_rate: float = 5e-4
    """Of Adam at the start; it falls to a tenth on a cosine."""
    aggregator: str = "normalized_sum"
    """How the tasks' gradients become one update."""
    target_update_period: int = 100
    """Updates between two copies to the target network."""
    n_step: int = 3
    """Steps that a return spans."""
    exploration_steps: int = 20_000
    """Environment steps of each task in which ε falls from 1 to 0.05."""
    replay_capacity: int = 20_000
    """Environment steps of each task that are remembered."""
    episodes: int = 20
    """Of each task at each evaluation."""
    out: str = "runs/classic_control"
    """Folder of the run."""
    export_to: str = "saved_models/classic_control/1"
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
    """Trains, evaluates, exports and plays from the export. Returns what metrics.json holds."""
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
        tasks,
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
