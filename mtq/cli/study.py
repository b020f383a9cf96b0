"""The commands `mtq study` and `mtq report`."""

import argparse
from typing import Any

from mtq.cli.arguments import count

_ARMS = "separate,shared,separate+matched=shared,normalized_sum"
_EPILOG = """An arm is made of parts joined by +:
  shared, separate, depth=K     all layers of the backbone are shared, none, or the first K
  an aggregator or a weighting  normalized_sum, pcgrad, upgrad, ...; famo, gradnorm, ...
  width=W, matched=ARM          so many times as wide; as many parameters as another arm
  double, n_step=N, learning_rate=R, loss=squared
  tau=T, evaluates_target       the target network moves by T at each update; it is evaluated, not the online one

examples:
  mtq study --tasks cart_pole,acrobot --out runs/study
  mtq study --tasks in_graph/CartPole,in_graph/Acrobot --arms separate,depth=1,shared,famo+upgrad --out runs/two
  mtq report runs/two
"""


def add_commands(commands: Any) -> None:
    """Adds them to the parser's commands."""
    study = commands.add_parser(
        "study",
        help="find out what sharing a network does for some tasks",
        description="Trains every arm from every seed and writes report.html, report.md and numbers.csv. Called again, "
        "it makes only the runs that are missing.",
        epilog=_EPILOG,
        formatter_class=_Formatter,
    )
    add = study.add_argument
    add("--tasks", required=True, help="names from `mtq tasks` or Gymnasium ids, with commas between them")
    add("--arms", default=_ARMS, help="what to compare, with commas between them")
    add("--seeds", type=count, default=10, help="runs of each arm")
    add("--out", required=True, help="folder of the study")
    add("--reference", default=None, help="arm that others are compared to; by default the first separate one")
    add("--compare", default="", help="further pairs of arms to compare, as shared:double,shared:upgrad")
    add("--workers", type=count, default=None, help="runs at once; by default one per core")
    add("--num-envs", type=count, default=1, help="copies of each environment, stepped at once")
    add("--epochs", type=count, default=20, help="each ends with an evaluation")
    add("--updates-per-epoch", type=count, default=1_000, help="of the network")
    add("--steps-per-update", type=float, default=1.0, help="environment steps of each task per update")
    add("--batch-size", type=count, default=32, help="per task")
    add("--learning-rate", type=float, default=1e-3, help="of Adam")
    add("--loss", default="huber", help="squared, huber or a loss of Keras")
    add("--target-update-period", type=count, default=100, help="updates between copies to the target network")
    add("--replay-capacity", type=count, default=20_000, help="environment steps remembered of each task")
    add("--warmup-steps", type=count, default=1_000, help="random environment steps of each task at first")
    add("--exploration-steps", type=count, default=5_000, help="environment steps in which ε falls from 1 to 0.05")
    add("--episodes", type=count, default=20, help="of each task at each evaluation")
    add("--evaluation-steps", type=count, default=None, help="instead: steps, for mean discounted returns")
    add("--strategy", default="auto", help="where: auto, cpu, mirrored; or multi_worker, a --shard by TF_CONFIG")
    add("--devices", type=count, default=None, help="replicas of --strategy mirrored, which make each run together")
    add("--shard", default=None, help="make only part I of N, as I/N from 0; other machines make the others in --out")
    study.set_defaults(command=_study)

    report = commands.add_parser("report", help="write the report of a study's finished runs")
    report.add_argument("study", help="folder of the study")
    report.set_defaults(command=_report)


class _Formatter(argparse.ArgumentDefaultsHelpFormatter, argparse.RawDescriptionHelpFormatter):
    """Shows defaults, and the epilog as it is."""


def _study(options: argparse.Namespace) -> None:
    import mtq
    from mtq.study.design.parsing import parse_arm
    from mtq.study.running.placement import where

    strategy, shard = where(options.strategy, options.devices, options.shard)
    tasks = mtq.TaskSet([mtq.suites.task(name.strip(), options.num_envs) for name in options.tasks.split(",")])
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
