"""`python -m mtq.play_export EXPORT TASKS.json` plays one episode of each task with an exported SavedModel.

The model is loaded by TensorFlow alone, as a server would load it; only the environments are mtq's.
"""

import argparse
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from mtq.cli.arguments import HelpFormatter
from mtq.cli.quiet import import_tensorflow


def play_export(path: str, tasks_file: str, seed: int = 0, *, trust_imports: bool = False) -> dict[str, float]:
    """Plays one greedy episode of each task.

    Args:
        path: The folder of the SavedModel.
        tasks_file: The path of a run's `tasks.json`.
        seed: The seed of the environments.
        trust_imports: Whether modules named in the tasks file may be imported, which runs their code.

    Returns:
        The return of each task's episode.
    """
    from mtq.evaluation.evaluator import play, task_seed

    tasks, policy = policies(path, tasks_file, trust_imports)
    return {
        name: play(task, policy(name), episodes=1, seed=task_seed(tasks, name, seed)).mean
        for name, task in tasks.items()
    }


def policies(path: str, tasks_file: str | None, trust_imports: bool) -> tuple[Any, Callable[[str], Any]]:
    """Loads a SavedModel and the tasks that it plays.

    Args:
        path: The folder of the SavedModel.
        tasks_file: The path of a run's `tasks.json`.
        trust_imports: Whether modules named in the tasks file may be imported.

    Returns:
        The tasks, and a function that returns the policy of a task.

    Raises:
        ValueError: There is no tasks file.
    """
    import tensorflow as tf

    from mtq.export import masked_signature
    from mtq.runs import load_tasks
    from mtq.tasks.action_masks import split_observation

    if tasks_file is None:
        raise ValueError("--tasks must be the tasks.json of the run that was exported. Received: none.")
    signatures = tf.saved_model.load(path).signatures
    tasks = load_tasks(tasks_file, trust_imports=trust_imports)

    def policy(name: str) -> Any:
        first_action = tasks[name].spec.first_action  # the export adds it, whereas `play` counts actions from 0

        def actions(acted_on: Any) -> np.ndarray:
            observation, mask = split_observation(acted_on)
            arguments, signature = {"observation": tf.convert_to_tensor(observation)}, signatures[name]
            if mask is not None:
                arguments["action_mask"] = tf.convert_to_tensor(mask.astype(np.int8))
                signature = signatures[masked_signature(name)]
            return signature(**arguments)["action"].numpy() - first_action

        return actions

    return tasks, policy


def main(arguments: Sequence[str] | None = None) -> None:
    """Runs the command.

    Args:
        arguments: The arguments of the command; by default those of the process.
    """
    parser = argparse.ArgumentParser(
        prog="python -m mtq.play_export",
        description="Plays one episode of each task with an exported SavedModel.",
        formatter_class=HelpFormatter,
    )
    parser.add_argument("export", help="the folder of the SavedModel")
    parser.add_argument("tasks", help="the tasks.json of the run that was exported")
    parser.add_argument("--seed", type=int, default=0, help="the seed of the environments")
    parser.add_argument(
        "--trust-imports",
        action="store_true",
        help="import the modules that tasks.json names, which runs their code",
    )
    options = parser.parse_args(arguments)
    import_tensorflow()
    print(f"One episode per task, played by the SavedModel in {options.export}:")
    for name, value in play_export(
        options.export, options.tasks, options.seed, trust_imports=options.trust_imports
    ).items():
        print(f"  {name}: return {value:.1f}")


if __name__ == "__main__":
    main()
