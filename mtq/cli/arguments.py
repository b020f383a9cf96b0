"""Types and options that several commands share, and the format of help texts."""

import argparse
import json
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
    """Adds `--tasks`, which selects the tasks, `--env-kwargs`, and `--import`, whose modules register environments.

    Args:
        add: The `add_argument` of the command's parser.
    """
    add(
        "--tasks",
        required=True,
        help="the tasks, separated by commas: names from `mtq tasks`, ids of Atari games such as ALE/Pong-v5, or "
        "Gymnasium ids, where module:Id imports the module first",
    )
    add(
        "--env-kwargs",
        metavar="JSON",
        default="{}",
        help="the arguments with which environments are made, by the text of --tasks, such as "
        '\'{"FrozenLake-v1": {"map_name": "8x8"}}\'',
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
    modules = [*filter(None, map(str.strip, names.split(",")))]
    if modules:
        import mtq

        mtq.tasks.import_environments(*modules)


def parse_tasks(options: argparse.Namespace) -> Any:
    """Creates the tasks of `--tasks`.

    Args:
        options: The options `tasks`, `env_kwargs` and `num_envs`.

    Returns:
        A `mtq.TaskSet`.

    Raises:
        ValueError: A task is unknown, or `--env-kwargs` is not a JSON object with an object for each of some tasks.
    """
    import mtq

    names = [name.strip() for name in options.tasks.split(",")]
    try:
        arguments = json.loads(options.env_kwargs)
    except ValueError:
        arguments = None
    if not isinstance(arguments, dict) or not all(isinstance(of_task, dict) for of_task in arguments.values()):
        raise ValueError(
            "--env-kwargs must be a JSON object with an object of arguments for each task. Received: "
            f'{options.env_kwargs!r}. Write it as in \'{{"FrozenLake-v1": {{"map_name": "8x8"}}}}\'.'
        )
    unknown = [name for name in arguments if name not in names]
    if unknown:
        raise ValueError(f"--env-kwargs must name tasks as --tasks does, {names}. Received: {unknown[0]!r}.")
    return mtq.TaskSet([mtq.suites.task(name, options.num_envs, arguments.get(name)) for name in names])


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
