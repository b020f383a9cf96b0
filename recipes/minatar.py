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
import simple_parsing

import mtq

GAMES = ("asterix", "breakout", "freeway", "seaquest", "space_invaders")


@dataclasses.dataclass
class Options:
    """Settings of the run."""

    games: list[str] = dataclasses.field(default_factory=lambda: [*GAMES])
    """The games: any of asterix, breakout, freeway, seaquest and space_invaders."""
    published: bool = False
    """Whether to use the settings of the DQN of Young and Tian (2019) in place of the options that concern learning."""
    in_graph: bool = True
    """Whether to play the games in the graph; False for the package minatar."""
    seed: int = 0
    """The seed of the network, the environments, the exploration and the replay."""
    epochs: int = 20
    """The number of epochs, each of which ends with an evaluation."""
    updates_per_epoch: int = 4_000
    """The number of updates of the network in each epoch; each uses one batch of every game."""
    batch_size: int = 32
    """The batch size of each game."""
    num_envs: int = 8
    """The number of copies of each game, which step together."""
    steps_per_update: float = 4.0
    """The number of frames of each game per update, the inverse of the replay ratio."""
    optimizer: str = "adam"
    """The optimizer: adam, or rmsprop for the centered one of the paper."""
    learning_rate: float = 2.5e-4
    """The learning rate."""
    double: bool = True
    """Whether to use the targets of Double DQN."""
    aggregator: str = "normalized_sum"
    """The aggregator that combines the games' gradients."""
    target_update_period: int = 1_000
    """The number of updates between two copies to the target network."""
    n_step: int = 3
    """The number of steps of an n-step return."""
    repeat_exponent: float | None = 2.0
    """The exponent of the zeta distribution by which random actions are repeated; None to repeat none. Freeway's first
    points are far from the start, so that single random actions rarely reach them."""
    epsilon: float = 0.05
    """The probability of random actions, ε, at the end of the exploration."""
    exploration_steps: int = 100_000
    """The number of frames of each game in which ε falls from 1."""
    replay_capacity: int = 100_000
    """The capacity of each game's replay buffer, in frames."""
    episodes: int = 10
    """The number of episodes of each game in each evaluation."""
    out: str = "runs/minatar"
    """The folder of the run."""
    export_to: str = "saved_models/minatar/1"
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
    "epsilon": 0.1,
    "exploration_steps": 100_000,
    "replay_capacity": 100_000,
}


def make_optimizer(options: Options) -> keras.optimizers.Optimizer:
    """Returns the optimizer.

    The paper's RMSprop adds 0.01 to the root of the mean square. Keras adds ε within the root, where 1e-4 is the same
    for gradients near zero.
    """
    if options.optimizer == "rmsprop":
        return keras.optimizers.RMSprop(options.learning_rate, rho=0.95, epsilon=1e-4, centered=True)
    if options.optimizer == "adam":
        return keras.optimizers.Adam(options.learning_rate)
    raise ValueError(f"optimizer must be adam or rmsprop. Received: {options.optimizer!r}.")


@mtq.distribution.exit_when_lost()
def main(options: Options) -> dict[str, Any]:
    """Trains, evaluates and exports the model.

    Args:
        options: The settings of the run.

    Returns:
        The content of `metrics.json`.
    """
    if options.published:
        options = dataclasses.replace(options, **PUBLISHED)
    strategy = mtq.distribution.strategy(options.strategy, devices=options.devices, tpu=options.tpu)
    tasks = mtq.suites.minatar(options.games, num_envs=options.num_envs, in_graph=options.in_graph)
    with strategy.scope():
        network = mtq.networks.shared_q_network(tasks, backbone=mtq.networks.minatar_cnn(), seed=options.seed)
        model = mtq.MultiTaskDQN(
            network, tasks, target_update_period=options.target_update_period, double=options.double
        )
        model.compile(
            make_optimizer(options),
            loss="huber",
            aggregator=options.aggregator,
            steps_per_execution=mtq.runs.steps_per_execution(options.updates_per_epoch),
        )
    experience = mtq.Experience(
        model,
        exploration=mtq.exploration.EpsilonGreedy(
            mtq.exploration.linear(1.0, options.epsilon, options.exploration_steps), options.repeat_exponent
        ),
        replay_capacity=options.replay_capacity,
        warmup_steps=5_000,
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
        checkpoint_every=options.checkpoint_every,
    )
    if not run.is_chief:
        return metrics
    mtq.runs.load_best(options.out).export(options.export_to, overwrite=options.overwrite or options.resume)
    return metrics


if __name__ == "__main__":
    main(simple_parsing.parse(Options))
