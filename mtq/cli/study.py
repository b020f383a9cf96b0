"""The commands `mtq study` and `mtq report`."""

import argparse
from typing import Any

from mtq.cli.arguments import HelpFormatter, add_learning_options, add_tasks_option, count, parse_tasks

_ARMS = "separate,shared,separate+matched=shared,normalized_sum"
_EPILOG = """An arm consists of parts that are joined by +:
  shared, separate, depth=K     share all layers of the backbone, none, or the first K
  normalized_sum, pcgrad, ...   combine the tasks' gradients by this aggregator
  famo, gradnorm, ...           weigh the tasks' losses by this weighting
  width=W                       multiply the width of the network by W
  matched=ARM                   choose the width that gives as many parameters as the arm ARM
  double                        use the targets of Double DQN
  n_step=N, loss=L              use n-step returns; another loss
  learning_rate=R               use another learning rate of Adam
  tau=T                         move the target network by the fraction T after each update
  evaluates_target              evaluate the target network instead of the online network

examples:
  mtq study --tasks cart_pole,acrobot --out runs/study
  mtq study --tasks in_graph/CartPole,in_graph/Acrobot --arms separate,depth=1,shared,famo+upgrad --out runs/two
  mtq report runs/two
"""


def add_commands(commands: Any) -> None:
    """Adds the commands `study` and `report` to a parser.

    Args:
        commands: The subparsers of the parser of `mtq`.
    """
    study = commands.add_parser(
        "study",
        help="measure what sharing a network does to each task",
        description="Trains every arm from every seed and writes report.html, report.md and numbers.csv.\n"
        "Called again, it executes only the runs that are missing.",
        epilog=_EPILOG,
        formatter_class=HelpFormatter,
    )
    add = study.add_argument
    add_tasks_option(add)
    add("--arms", default=_ARMS, help="the arms to compare, separated by commas")
    add("--seeds", type=count, default=10, help="the number of runs of each arm")
    add("--out", required=True, help="the folder of the study")
    add(
        "--reference",
        default=None,
        help="the arm that the others are compared to; by default the first that shares no layer",
    )
    add("--compare", default="", help="further pairs of arms to compare, such as shared:double,shared:upgrad")
    add(
        "--workers",
        type=count,
        default=None,
        help="the number of runs that are executed at once; by default the number of cores",
    )
    add("--num-envs", type=count, default=1, help="the number of copies of each environment, which step together")
    add("--epochs", type=count, default=20, help="the number of epochs, each of which ends with an evaluation")
    add("--updates-per-epoch", type=count, default=1_000, help="the number of updates of the network in each epoch")
    add(
        "--steps-per-update",
        type=float,
        default=1.0,
        help="the number of environment steps of each task per update, the inverse of the replay ratio",
    )
    add_learning_options(add)
    add(
        "--exploration-steps",
        type=count,
        default=10_000,
        help="the number of environment steps of each task in which ε falls from 1 to 0.05",
    )
    add(
        "--evaluation-steps",
        type=count,
        default=None,
        help="the number of steps of each task in each evaluation, instead of --episodes; the scores are then mean "
        "discounted returns",
    )
    add(
        "--strategy",
        default="auto",
        help="the strategy of each run: auto, cpu or mirrored; with multi_worker, each process of TF_CONFIG executes "
        "one shard of the runs",
    )
    add(
        "--devices",
        type=count,
        default=None,
        help="the number of replicas of --strategy mirrored, which execute each run together",
    )
    add(
        "--shard",
        default=None,
        help="the shard of the runs that this machine executes, I/N with I from 0 to N-1; other machines execute the "
        "other shards in the same --out",
    )
    study.set_defaults(command=_study)

    report = commands.add_parser(
        "report",
        help="write the report of a study's finished runs",
        description="Writes the report of a study's finished runs: report.html, report.md and numbers.csv.",
    )
    report.add_argument("study", help="the folder of the study")
    report.set_defaults(command=_report)


def _study(options: argparse.Namespace) -> None:
    import mtq
    from mtq.study.design.parsing import parse_arm
    from mtq.study.running.placement import where

    strategy, shard = where(options.strategy, options.devices, options.shard)
    tasks = parse_tasks(options)
    protocol = mtq.study.Protocol(
        epochs=options.epochs,
        updates_per_epoch=options.updates_per_epoch,
        batch_size=options.batch_size,
        steps_per_update=options.steps_per_update,
        learning_rate=options.learning_rate,
        loss=options.loss,
        target_update_period=options.target_update_period,
        replay_capacity=options.replay_capacity,
        warmup_steps=options.warmup_steps,
        exploration_steps=options.exploration_steps,
        evaluation_episodes=options.episodes,
        evaluation_steps=options.evaluation_steps,
    )
    study = mtq.study.Study(
        tasks,
        [parse_arm(text.strip()) for text in options.arms.split(",")],
        protocol=protocol,
        seeds=options.seeds,
        reference=options.reference,
        comparisons=[tuple(pair.strip().split(":")) for pair in options.compare.split(",") if pair.strip()],
    )
    report = study.run_shard(options.out, shard, workers=options.workers, strategy=strategy)
    if report is not None:
        print(f"Wrote {report.write()}")


def _report(options: argparse.Namespace) -> None:
    import mtq

    print(f"Wrote {mtq.study.Report(mtq.study.load_results(options.study), options.study).write()}")
