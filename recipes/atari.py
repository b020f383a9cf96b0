"""Trains one convolutional network on Atari games: Pong and Breakout, or others.

    python recipes/atari.py --seed 0
    python recipes/atari.py --games pong space_invaders --epochs 40

Needs the extra atari: pip install 'mtq-rl[atari]'. Writes runs/atari (learning_curves.png, metrics.json, TensorBoard,
checkpoints), exports the best model to saved_models/atari/1 and records a game of each to runs/atari/<game>.gif.
recipes/README.md has the scores and the command.
"""

if __name__ == "__main__":  # import TensorFlow without its notices
    from pathlib import Path
    from runpy import run_path

    run_path(str(Path(__file__).with_name("quiet.py")))

import dataclasses
from pathlib import Path
from typing import Any

import keras
import simple_parsing

import mtq

_BACKBONES = {
    "data_efficient_cnn": mtq.networks.data_efficient_cnn,
    "nature_cnn": mtq.networks.nature_cnn,
}


@dataclasses.dataclass
class Options:
    """Settings of the run."""

    games: list[str] = dataclasses.field(default_factory=lambda: ["pong", "breakout"])
    """The games, by their names, such as space_invaders, or their ids."""
    seed: int = 0
    """The seed of the network, the environments, the exploration and the replay."""
    epochs: int = 34
    """The number of epochs, each of which ends with an evaluation."""
    updates_per_epoch: int = 3_500
    """The number of updates of the network in each epoch; each uses one batch of every game."""
    backbone: str = "data_efficient_cnn"
    """The backbone: data_efficient_cnn or nature_cnn. On a CPU an update of nature_cnn takes 2.5 times as long."""
    batch_size: int = 32
    """The batch size of each game."""
    num_envs: int = 4
    """The number of copies of each game, which step together."""
    steps_per_update: float = 4.0
    """The number of steps of each game per update, the inverse of the replay ratio. A step has four frames."""
    learning_rate: float = 2.5e-4
    """The learning rate of Adam."""
    double: bool = True
    """Whether to use the targets of Double DQN."""
    aggregator: str = "normalized_sum"
    """The aggregator that combines the games' gradients."""
    target_update_period: int = 500
    """The number of updates between two copies to the target network."""
    n_step: int = 3
    """The number of steps of an n-step return."""
    epsilon: float = 0.02
    """The probability of random actions, ε, at the end of the exploration."""
    exploration_steps: int = 40_000
    """The number of steps of each game in which ε falls from 1."""
    replay_capacity: int = 100_000
    """The capacity of each game's replay buffer, in steps of 7.2 kB."""
    warmup_steps: int = 5_000
    """The number of random steps of each game before the first update."""
    terminal_on_life_loss: bool = False
    """Whether values are not bootstrapped past the loss of a life."""
    episodes: int = 5
    """The number of episodes of each game in each evaluation."""
    out: str = "runs/atari"
    """The folder of the run."""
    export_to: str = "saved_models/atari/1"
    """The folder of the SavedModel."""
    overwrite: bool = False
    """Whether to replace a run, an export and recordings that are already in these folders."""
    resume: bool = False
    """Whether to resume a run in the folder from its last checkpoint."""
    checkpoint_every: int = 5
    """The number of epochs from one checkpoint to the next, or 0 for none; each checkpoint holds the whole replay
    buffers."""


def main(options: Options) -> dict[str, Any]:
    """Trains, evaluates, exports and records the model.

    Args:
        options: The settings of the run.

    Returns:
        The content of `metrics.json`.
    """
    settings = {"terminal_on_life_loss": True} if options.terminal_on_life_loss else {}
    tasks = mtq.suites.atari(options.games, num_envs=options.num_envs, env_kwargs=settings)
    if options.backbone not in _BACKBONES:
        raise ValueError(f"backbone must be one of {[*_BACKBONES]}. Received: {options.backbone!r}.")
    network = mtq.networks.shared_q_network(tasks, backbone=_BACKBONES[options.backbone](), seed=options.seed)
    model = mtq.MultiTaskDQN(network, tasks, target_update_period=options.target_update_period, double=options.double)
    model.compile(
        keras.optimizers.Adam(options.learning_rate),
        loss="huber",
        aggregator=options.aggregator,
        steps_per_execution=mtq.runs.steps_per_execution(options.updates_per_epoch),
    )
    experience = mtq.Experience(
        model,
        exploration=mtq.exploration.linear(1.0, options.epsilon, options.exploration_steps),
        replay_capacity=options.replay_capacity,
        warmup_steps=options.warmup_steps,
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
    replaces = options.overwrite or options.resume
    best = mtq.runs.load_best(options.out)
    best.export(options.export_to, overwrite=replaces)
    for name in tasks:
        picture = Path(options.out) / f"{name}.gif"
        mtq.evaluation.record(best, name, picture, seed=1, max_steps=600, overwrite=replaces)
    return metrics


if __name__ == "__main__":
    main(simple_parsing.parse(Options))
