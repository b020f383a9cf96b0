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

import mtq


@dataclasses.dataclass(frozen=True)
class Options(mtq.settings.TrainingOptions):
    """Settings of the run."""

    games: list[str] = dataclasses.field(default_factory=lambda: ["pong", "breakout"])
    """The games, by their names, such as space_invaders, or their ids."""
    backbone: str = mtq.settings.option("data_efficient_cnn", choices=("data_efficient_cnn", "nature_cnn"))
    """The backbone: data_efficient_cnn or nature_cnn. On a CPU an update of nature_cnn takes 2.5 times as long."""
    terminal_on_life_loss: bool = False
    """Whether values are not bootstrapped past the loss of a life."""
    epochs: int = 34
    updates_per_epoch: int = 3_500
    num_envs: int = 4
    steps_per_update: float = 4.0
    """The number of steps of each game per update, the inverse of the replay ratio. A step has four frames."""
    learning_rate: float = 2.5e-4
    """The learning rate of Adam."""
    loss: str = "huber"
    double: bool = True
    target_update_period: int = 500
    n_step: int = 3
    final_epsilon: float = 0.02
    exploration_steps: int = 40_000
    replay_capacity: int = 100_000
    """The capacity of each game's replay buffer, in steps of 7.2 kB."""
    warmup_steps: int = 5_000
    episodes: int = 5
    out: str = "runs/atari"
    export_to: str | None = "saved_models/atari/1"
    checkpoint_every: int = 5


def main(options: Options) -> dict[str, Any]:
    """Trains, evaluates, exports and records the model.

    Args:
        options: The settings of the run.

    Returns:
        The content of `metrics.json`.
    """
    settings = {"terminal_on_life_loss": True} if options.terminal_on_life_loss else {}
    metrics = mtq.runs.train(
        options, lambda: mtq.suites.atari(options.games, num_envs=options.num_envs, env_kwargs=settings)
    )
    if metrics:  # in the chief
        best = mtq.runs.load_best(options.out)
        for name in best.tasks:
            picture = Path(options.out) / f"{name}.gif"
            overwrite = options.overwrite or options.resume
            mtq.evaluation.record(best, name, picture, seed=1, max_steps=600, overwrite=overwrite)
    return metrics


if __name__ == "__main__":
    main(mtq.settings.parse(Options))
