"""The commands `mtq study` and `mtq report`."""

import argparse
import dataclasses
import textwrap
from typing import Any

from mtq.cli.arguments import HelpFormatter, TaskOptions, add_options, options_of, parse_tasks
from mtq.settings import CombinationOptions, EnvironmentOptions, ProtocolOptions, StudyRunOptions, option
from mtq.settings.declaration import fields, given
from mtq.settings.texts import described_parts

_PARTS = """An arm consists of parts that are joined by +:
  shared, separate, depth=K     share all layers of the backbone, none, or the first K
  normalized_sum, pcgrad, ...   combine the tasks' gradients by this aggregator
  famo, gradnorm, ...           weigh the tasks' losses by this weighting
  width=W                       multiply the width of the network by W
  matched=ARM                   choose the width that gives as many parameters as the arm ARM
"""
_SETTINGS = "and of settings that differ from the options above: "

_EXAMPLES = """

examples:
  mtq study --tasks cart_pole,acrobot --out runs/study
  mtq study --tasks in_graph/CartPole,in_graph/Acrobot --arms separate,depth=1,shared,famo+upgrad --out runs/two
  mtq report runs/two
"""


@dataclasses.dataclass(frozen=True, kw_only=True)
class StudyOptions(StudyRunOptions, CombinationOptions, ProtocolOptions, EnvironmentOptions, TaskOptions):
    """Options of `mtq study`."""

    arms: str = option("separate,shared,separate+matched=shared,normalized_sum")
    """The arms to compare, separated by commas."""
    seeds: int = option(10, least=1)
    """The number of runs of each arm."""
    reference: str | None = option(None)
    """The arm that the others are compared to; by default the first that shares no layer."""
    compare: str = option("")
    """Further pairs of arms to compare, such as shared:double,shared:upgrad."""
    aggregator: str = "sum"
    """The aggregator of the arms that name none."""
    loss_weights: str | None = None
    """The weights of the tasks' losses in arms that name no weighting, task=weight,... or a JSON object; by default the
    weights of the tasks."""
    weighting: str | None = None
    """The weighting of the arms that name none, such as famo; by default the weights are constant."""


def add_commands(commands: Any) -> None:
    """Adds the commands `study` and `report` to a parser.

    Args:
        commands: The subparsers of the parser of `mtq`.
    """
    parts = textwrap.fill(_SETTINGS + described_parts(ProtocolOptions), 100, subsequent_indent="  ")
    study = commands.add_parser(
        "study",
        help="measure what sharing a network does to each task",
        description="Trains every arm from every seed and writes report.html, report.md and numbers.csv.\n"
        "Called again, it executes only the runs that are missing.",
        epilog=f"{_PARTS}{parts}{_EXAMPLES}",
        formatter_class=HelpFormatter,
    )
    add_options(study, StudyOptions)
    study.set_defaults(command=_study)

    report = commands.add_parser(
        "report",
        help="write the report of a study's finished runs",
        description="Writes the report of a study's finished runs: report.html, report.md and numbers.csv.",
    )
    report.add_argument("study", help="the folder of the study")
    report.set_defaults(command=_report)


def _study(parsed: argparse.Namespace) -> None:
    import mtq
    from mtq.runs.parts import combination
    from mtq.settings.checking import check_contradictions
    from mtq.study.design.parsing import parse_arm
    from mtq.study.running.placement import where

    options = options_of(StudyOptions, parsed)
    check_contradictions(options)
    pairs: list[Any] = [tuple(pair.strip().split(":")) for pair in options.compare.split(",") if pair.strip()]
    strategy, shard = where(options.strategy, options.devices, options.shard)
    settings = {name: value for name, value in given(options).items() if name in fields(ProtocolOptions)}
    study = mtq.study.Study(
        parse_tasks(options),
        [parse_arm(text.strip(), **combination(options)) for text in options.arms.split(",")],
        protocol=mtq.study.Protocol(**settings),
        seeds=options.seeds,
        reference=options.reference,
        comparisons=pairs,
    )
    report = study.run_shard(options.out, shard, workers=options.workers, strategy=strategy)
    if report is not None:
        print(f"Wrote {report.write()}")


def _report(options: argparse.Namespace) -> None:
    import mtq

    print(f"Wrote {mtq.study.Report(mtq.study.load_results(options.study), options.study).write()}")
