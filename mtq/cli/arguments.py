"""Types of command-line arguments, and the format of help texts."""

import argparse
import importlib
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


def add_tasks_option(add: Callable[..., Any]) -> None:
    """Adds `--tasks` and `--import`, which name the tasks.

    Args:
        add: The `add_argument` of the command's parser.
    """
    add(
        "--tasks",
        required=True,
        help="the tasks, separated by commas: names from `mtq tasks`, ids of Atari games such as ALE/Pong-v5, or "
        "Gymnasium ids, where module:Id imports the module first",
    )
    add_import_option(add)


def add_import_option(add: Callable[..., Any]) -> None:
    """Adds `--import`.

    Args:
        add: The `add_argument` of the command's parser.
    """
    add(
        "--import",
        dest="imports",
        metavar="MODULES",
        default="",
        help="the modules to import first, separated by commas, such as one that registers environments",
    )


def import_modules(names: str) -> None:
    """Imports the modules of `--import`.

    Args:
        names: Their names, separated by commas.

    Raises:
        ValueError: A module cannot be imported.
    """
    for name in filter(None, map(str.strip, names.split(","))):
        try:
            importlib.import_module(name)
        except Exception as error:
            raise ValueError(
                f"--import must name modules that can be imported. Received: {name!r}, which failed with "
                f"{type(error).__name__}: {error}."
            ) from error


def parse_tasks(names: str, num_envs: int) -> Any:
    """Creates the tasks of `--tasks`.

    Args:
        names: Their names, separated by commas.
        num_envs: The number of copies of each environment.

    Returns:
        A `mtq.TaskSet`.
    """
    import mtq

    return mtq.TaskSet([mtq.suites.task(name.strip(), num_envs) for name in names.split(",")])


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
