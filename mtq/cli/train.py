"""The command `mtq train`."""

import argparse
import dataclasses
import math
from typing import Any

from mtq.cli.arguments import HelpFormatter, TaskOptions, add_options, options_of, parse_tasks
from mtq.settings import CombinationOptions, EnvironmentOptions, LearningOptions, RunOptions, option
from mtq.settings.learning import BACKBONES


@dataclasses.dataclass(frozen=True, kw_only=True)
class TrainOptions(RunOptions, CombinationOptions, LearningOptions, EnvironmentOptions, TaskOptions):
    """Options of `mtq train`."""

    steps: int = option(least=1)
    """The number of environment steps of each task after the warm-up, rounded up to whole epochs."""
    evaluations: int = option(20, least=1)
    """The number of evaluations during the training."""
    backbone: str | None = option(None, choices=BACKBONES)
    """The backbone of the network; by default the one that suits the tasks' observations."""
    num_envs: int = 8
    steps_per_update: float = 4.0
    exploration_steps: int | None = None  # type: ignore[assignment]
    """The number of environment steps of each task in which ε decreases linearly; by default a fifth of --steps."""

    @property
    def epochs(self) -> int:
        """The number of epochs, each of which ends with an evaluation."""
        return min(self.evaluations, self._updates)

    @property
    def updates_per_epoch(self) -> int:
        """The number of updates of the network in each epoch."""
        return math.ceil(self._updates / self.epochs)

    @property
    def _updates(self) -> int:
        return math.ceil(self.steps / self.steps_per_update)


def add_command(commands: Any) -> None:
    """Adds the command `train` to a parser.

    Args:
        commands: The subparsers of the parser of `mtq`.
    """
    train = commands.add_parser(
        "train",
        help="train one network on several tasks",
        description="Trains one network on several tasks, evaluates it during the training, and saves the best model.",
        formatter_class=HelpFormatter,
    )
    add_options(train, TrainOptions)
    train.set_defaults(command=_train)


def _train(parsed: argparse.Namespace) -> None:
    import mtq

    options = options_of(TrainOptions, parsed)
    mtq.runs.train(options, lambda: parse_tasks(options), exploration=_exploration)


def _exploration(options: TrainOptions) -> Any:
    import mtq

    steps = options.exploration_steps or max(1, options.steps // 5)
    return mtq.runs.make_exploration(options.replace(exploration_steps=steps))
