"""The command line: `mtq tasks`, `mtq train`, `mtq evaluate`, `mtq export`, `mtq study`, `mtq report`.

TensorFlow is imported only by the commands that need it, so that `mtq --help` answers immediately.
"""

import argparse
import json
import sys
from collections.abc import Sequence
from pathlib import Path

from mtq.cli.arguments import HelpFormatter, TaskOptions, add_option, count, import_modules
from mtq.cli.quiet import import_tensorflow
from mtq.cli.study import add_commands as add_study_commands
from mtq.cli.train import add_command as add_train_command
from mtq.errors import StudyError

_EXAMPLE = """examples:
  mtq train --tasks cart_pole,acrobot --steps 100000 --out runs/two
  mtq evaluate runs/two --episodes 20
  mtq export runs/two --to saved_models/two/1
"""


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs a command.

    Args:
        arguments: The arguments of the command; by default those of the process.

    Returns:
        The exit status: 0 after success, 2 after an error whose message is on standard error, 3 if a process of the
        run was lost, 130 after Ctrl-C.
    """
    options = _parser().parse_args(arguments)
    import_tensorflow()
    if "" not in sys.path:
        sys.path.append("")  # the current folder, for modules that the options name
    try:
        import_modules(getattr(options, "imports", ""))
        options.command(options)
    except (ValueError, FileExistsError, FileNotFoundError, ImportError, ArithmeticError, StudyError) as error:
        print(f"mtq: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print("mtq: stopped.", file=sys.stderr)
        return 130
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="mtq",
        description="Multi-task deep Q-learning: one network with a shared backbone and a head for each task.",
        epilog=_EXAMPLE,
        formatter_class=HelpFormatter,
    )
    commands = parser.add_subparsers(required=True, metavar="command")

    tasks = commands.add_parser("tasks", help="list the built-in tasks", description="Lists the built-in tasks.")
    tasks.set_defaults(command=_tasks)

    add_train_command(commands)

    evaluate = commands.add_parser(
        "evaluate",
        help="evaluate the best model of a run",
        description="Plays episodes with the greedy policy of a run's best model, and with a random policy.",
        formatter_class=HelpFormatter,
    )
    evaluate.add_argument("run", help="the folder of the run")
    evaluate.add_argument("--episodes", type=count, default=20, help="the number of episodes of each task")
    evaluate.add_argument("--seed", type=int, default=1, help="the seed of the environments")
    evaluate.add_argument("--json", action="store_true", help="print the results as JSON")
    evaluate.add_argument(
        "--trust-imports",
        action="store_true",
        help="import the modules that the run's files name, which runs their code",
    )
    add_option(evaluate.add_argument, TaskOptions, "imports")
    evaluate.set_defaults(command=_evaluate)

    export = commands.add_parser(
        "export",
        help="export the best model of a run as a SavedModel for TF Serving",
        description="Exports the best model of a run as a SavedModel for TF Serving.",
        formatter_class=HelpFormatter,
    )
    export.add_argument("run", help="the folder of the run")
    export.add_argument("--to", required=True, help="the folder of the SavedModel, by convention NAME/VERSION")
    export.add_argument("--overwrite", action="store_true", help="replace an export that is already in the folder")
    export.set_defaults(command=_export)

    record = commands.add_parser(
        "record",
        help="record episodes as a GIF or a video",
        description="Plays episodes with the best model of a run, or with an export, and records them.",
        formatter_class=HelpFormatter,
    )
    record.add_argument("run", help="the folder of the run or of the SavedModel")
    record.add_argument("--task", help="the name of the task; may be left out if there is only one")
    record.add_argument("--to", required=True, help="the file to write, .gif or .mp4")
    record.add_argument("--episodes", type=count, default=1, help="the number of episodes")
    record.add_argument("--seed", type=int, default=1, help="the seed of the environment")
    record.add_argument("--max-steps", type=count, default=1_000, help="the number of steps of an episode at most")
    record.add_argument("--frames-per-second", type=float, default=20.0, help="the number of pictures per second")
    record.add_argument("--tasks", help="the tasks.json of the run that was exported; required for a SavedModel")
    record.add_argument("--overwrite", action="store_true", help="replace a file that is already there")
    record.add_argument(
        "--trust-imports",
        action="store_true",
        help="import the modules that tasks.json names, which runs their code",
    )
    add_option(record.add_argument, TaskOptions, "imports")
    record.set_defaults(command=_record)

    add_study_commands(commands)
    return parser


def _tasks(options: argparse.Namespace) -> None:
    import mtq

    rows = [("name", "environment", "observation", "actions", "reference return")]
    for name in mtq.suites.names():
        task = mtq.suites.task(name)
        shape = "×".join(map(str, task.spec.observation_shape))
        limit = f" ({task.max_episode_steps:,} steps)" if task.max_episode_steps else ""
        rows.append(
            (
                name,
                f"{task.environment}{limit}",
                f"{shape} {task.spec.observation_dtype}",
                str(task.num_actions),
                f"{task.reference_return:g}",
            )
        )
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    for row in rows:
        print("  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip())
    in_graph = ", ".join(f"{mtq.tasks.IN_GRAPH}{name}" for name in mtq.dynamics.BY_NAME)
    print(f"\nIn-graph environments, which need no host call at each step: {in_graph}.")
    print("Any Gymnasium id with a discrete action space is a task too, such as LunarLander-v3 or module:Id.")
    print("So is the id of an Atari game, such as ALE/Pong-v5, with the extra atari: pip install 'mtq-rl[atari]'.")


def _evaluate(options: argparse.Namespace) -> None:
    import mtq

    model = mtq.runs.load_best(options.run, trust_imports=options.trust_imports)
    played = mtq.evaluation.evaluate(model, episodes=options.episodes, seed=options.seed)
    random = mtq.evaluation.evaluate_random(model.tasks, episodes=options.episodes, seed=options.seed)
    rows = {
        name: {"mean": result.mean, "std": result.std, "random": random[name].mean, "episodes": options.episodes}
        for name, result in played.items()
    }
    if options.json:
        print(json.dumps(rows))
        return
    width = max(len("task"), *map(len, rows))
    print(f"{'task':<{width}}  {'mean return':>11}  {'± SD':>7}  {'random':>9}   ({options.episodes} episodes)")
    for name, row in rows.items():
        print(f"{name:<{width}}  {row['mean']:>11.1f}  {row['std']:>7.1f}  {row['random']:>9.1f}")


def _record(options: argparse.Namespace) -> None:
    import mtq
    from mtq.cli.play_export import policies

    settings = {
        name: getattr(options, name) for name in ("episodes", "seed", "max_steps", "frames_per_second", "overwrite")
    }
    if (Path(options.run) / "saved_model.pb").exists():
        tasks, policy = policies(options.run, options.tasks, options.trust_imports)
        name = _task_to_record(options.task, list(tasks))
        played = mtq.evaluation.record_policy(tasks[name], policy(name), options.to, **settings)
    else:
        model = mtq.runs.load_best(options.run, trust_imports=options.trust_imports)
        name = _task_to_record(options.task, list(model.tasks))
        played = mtq.evaluation.record(model, name, options.to, **settings)
    returns = ", ".join(f"{value:.1f}" for value in played.returns)
    print(f"Wrote {options.to}: {played.lengths.sum():,} steps of {name}, with a return of {returns}.")


def _task_to_record(task: str | None, names: list[str]) -> str:
    if task is None and len(names) == 1:
        return names[0]
    if task not in names:
        received = "none" if task is None else repr(task)
        raise ValueError(f"--task must be one of {', '.join(names)}. Received: {received}.")
    return task


def _export(options: argparse.Namespace) -> None:
    import mtq

    mtq.runs.load_best(options.run).export(options.to, overwrite=options.overwrite)
    print(f"Wrote {options.to}: a SavedModel with a signature for each task, and serving_default for all tasks.")


if __name__ == "__main__":
    sys.exit(main())
