"""Types of command-line arguments, and the format of help texts."""

import argparse
from collections.abc import Callable
from typing import Any


class HelpFormatter(argparse.ArgumentDefaultsHelpFormatter, argparse.RawDescriptionHelpFormatter):
    """Shows the default of every option that has one, and keeps the line breaks of descriptions and epilogs."""

    def _get_help_string(self, action: argparse.Action) -> str | None:
        has_default = action.default is not None and action.default is not False and action.default != ""
        return super()._get_help_string(action) if has_default else action.help


def count(text: str) -> int:
    """Converts the text of an argument to an integer of at least 1.

    Args:
        text: The digits, which may be grouped by `_`.

    Raises:
        ArgumentTypeError: The text is not an integer of at least 1.
    """
    try:
        number = int(text.replace("_", ""))
    except ValueError:
        number = 0
    if number < 1:
        raise argparse.ArgumentTypeError(f"must be an integer of at least 1. Received: {text!r}.")
    return number


def add_learning_options(add: Callable[..., Any]) -> None:
    """Adds the options that `mtq train` and `mtq study` share, with the library's defaults.

    Args:
        add: The `add_argument` of the command's parser.
    """
    add(
        "--loss",
        default="squared",
        help="the loss of the temporal-difference errors: squared, huber or a loss of Keras",
    )
    add("--learning-rate", type=float, default=1e-3, help="the learning rate of Adam")
    add("--batch-size", type=count, default=32, help="the batch size of each task")
    add(
        "--target-update-period",
        type=count,
        default=100,
        help="the number of updates between two copies to the target network",
    )
    add(
        "--replay-capacity",
        type=count,
        default=50_000,
        help="the capacity of each task's replay buffer, in environment steps",
    )
    add(
        "--warmup-steps",
        type=count,
        default=1_000,
        help="the number of random environment steps of each task before the first update",
    )
    add("--episodes", type=count, default=20, help="the number of episodes of each task in each evaluation")
