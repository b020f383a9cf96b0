"""The sections of a report."""

import math
import shlex
from collections.abc import Iterator

from mtq.study.analysis.results import FIGURES, LAST, ArmResult
from mtq.study.analysis.similarity import BETWEEN_SEEDS
from mtq.study.analysis.statistics import TEST, Interval
from mtq.study.analysis.summary import Summary
from mtq.study.analysis.transfer import HELPED, HURT, NO_EVIDENCE, NOT_TESTED, TOO_FEW, Transfer
from mtq.study.design.serialization import as_text
from mtq.study.report import map_figures, score_figures
from mtq.study.report.document import Block, Code, Heading, Paragraph, Picture, Table
from mtq.study.report.verdict_table import verdict_table

_CAPTIONS = {
    "learning_curves": "The mean score of each task over the epochs; bands are 95 % intervals of the mean.",
    "last_scores": f"The mean of the last {LAST} epochs, or of all epochs if there are fewer. Bars are 95 % intervals, "
    "small dots are runs, diamonds are published means.",
    "aggregates": "Left: the interquartile mean of all runs and tasks. Right: the performance profile. Intervals and "
    "bands are 95 % by bootstrap.",
    "transfer": "The difference to the reference in normalized scores. A word marks differences that the corrected "
    "test finds. Grey cells have no scale, because the reference is no better than a random policy there.",
    "cosines": "Above: the mean cosine between the tasks' gradients over the shared layers. Below: the mean of all "
    "pairs in each epoch.",
    "similarity": "The CKA between the features before the heads of each arm and those of the reference, on the same "
    "observations.",
}
_CURVES_TOGETHER = 3  # the number of arms in a figure beside the reference
_NOT_SETTINGS = {"name", "parameters", "network", "resolved", "width", "parameters_of", "shared_layers"}


def blocks_of(summary: Summary) -> list[Block]:
    """Returns the blocks of a whole report.

    Args:
        summary: The statistics of the study.
    """
    parts = (
        _arms,
        _in_short,
        _curves,
        _published,
        _scores,
        _aggregates,
        _transfer,
        _comparisons,
        _cosines,
        _similarity,
        _made,
    )
    return [block for part in parts for block in part(summary)]


def _arms(summary: Summary) -> Iterator[Block]:
    results = summary.results
    yield Paragraph(
        f"Arms: {len(results.arms)}. Tasks: {', '.join(results.tasks)}. Score: {results.plan['protocol']['score']}. "
        "All arms take the same number of environment steps. The reference, to which the other arms are compared, is "
        f"“{results.reference}”."
    )
    rows = [
        (
            arm.name,
            _sharing(arm),
            f"{arm.parameters:,}",
            _settings(arm),
            _runs(arm),
            f"{sum(arm.seconds) / arm.runs:.0f} s",
        )
        for arm in results.arms
    ]
    yield Table(("arm", "shared", "parameters", "settings", "runs", "time per run"), rows)
    for arm in results.arms:
        for seed, reason in arm.failures.items():
            yield Paragraph(f"{arm.name}, seed {seed}, could not be finished and is missing below: {reason}")
    single = [arm.name for arm in results.arms if arm.runs == 1]
    if single:
        yield Paragraph(
            f"There is only one run of {', '.join(single)}. The variation between runs is unknown, so the figures have "
            "no intervals and are not tested. Give the study more seeds."
        )


def _runs(arm: ArmResult) -> str:
    return f"{arm.runs} of {arm.runs + len(arm.failures)}" if arm.failures else str(arm.runs)


def _sharing(arm: ArmResult) -> str:
    shared, width = arm.settings.get("shared_layers"), arm.settings.get("width", 1.0)
    text = {None: "all of the backbone", 0: "nothing", 1: "1 layer"}.get(shared, f"{shared} layers")
    return text if width == 1 else f"{text}, width × {width:.3g}"


def _settings(arm: ArmResult) -> str:
    settings = {key: value for key, value in arm.settings.items() if key not in _NOT_SETTINGS and value is not None}
    return ", ".join(f"{key}={as_text(value)}" for key, value in settings.items())


def _in_short(summary: Summary) -> Iterator[Block]:
    results = summary.results
    if not results.others:
        return
    yield Heading("Summary")
    by_arm: dict[str, list[Transfer]] = {}
    for row in summary.transfer["last"]:
        by_arm.setdefault(row.arm, []).append(row)
    for name, rows in by_arm.items():
        findings = []
        for verdict, words in (
            (HELPED, HELPED),
            (HURT, HURT),
            (NO_EVIDENCE, "no evidence on"),
            (TOO_FEW, f"{TOO_FEW} of"),
        ):
            tasks = [row.task for row in rows if row.verdict == verdict]
            if tasks:
                findings.append(f"{words} {', '.join(tasks)}")
        text = "; ".join(findings) if findings else NOT_TESTED
        iqm = f" Interquartile mean {_interval(summary.iqm[name])}." if name in summary.iqm else ""
        yield Paragraph(f"{name}, against {results.reference}: {text}.{iqm}")


def _curves(summary: Summary) -> Iterator[Block]:
    yield Heading("Learning curves")
    results = summary.results
    for first in range(0, max(len(results.others), 1), _CURVES_TOGETHER):
        others = results.others[first : first + _CURVES_TOGETHER]
        names = [results.reference, *(arm.name for arm in others)]
        name = "learning_curves" if first == 0 else f"learning_curves_{first // _CURVES_TOGETHER + 1}"
        caption = _CAPTIONS["learning_curves"]
        if len(results.others) > _CURVES_TOGETHER:
            caption = f"{', '.join(names)}. {caption}"
        yield Picture(name, score_figures.learning_curves(summary, names), caption)


def _published(summary: Summary) -> Iterator[Block]:
    rows, marks = [], {}
    for name, by_task in summary.published.items():
        for task, comparison in by_task.items():
            published = comparison.published
            rows.append(
                (
                    f"{name}, {task}",
                    f"{published.mean:.4g} ± {published.half_interval:.2g}",
                    f"{comparison.ours:.4g}",
                    f"{comparison.ours - published.mean:+.2g}",
                    f"{comparison.tolerance:.2g}",
                    "yes" if comparison.agrees else "no",
                )
            )
            marks[len(rows) - 1, 5] = "good" if comparison.agrees else "bad"
    if not rows:
        return
    assert summary.publication is not None
    yield Heading("Comparison with published results")
    yield Paragraph(
        f"Source: {summary.publication.source}. The figures are means of the last epochs. The tolerance is two "
        "standard errors of the mean of as many published runs as this study has."
    )
    header = ("arm and task", "published, 95 %", "this study", "difference", "tolerance", "within")
    yield Table(header, rows, marks)


def _scores(summary: Summary) -> Iterator[Block]:
    results = summary.results
    yield Heading("Scores")
    yield Picture("last_scores", score_figures.last_scores(summary), _CAPTIONS["last_scores"])
    for figure, meaning in FIGURES.items():
        yield Paragraph(f"{_capitalized(meaning)}, mean over runs and 95 % interval:")
        rows = [
            (name, *(_interval(interval) for interval in intervals))
            for name, intervals in summary.figures[figure].items()
        ]
        random = ("random policy", *(f"{value:.4g}" for value in results.random))
        yield Table(("arm", *results.tasks), [*rows, random])


def _aggregates(summary: Summary) -> Iterator[Block]:
    results = summary.results
    yield Heading("All tasks together")
    yield Paragraph(
        "Normalized scores of the last epochs: 0 is the score of a random policy, 1 the mean of "
        f"“{results.reference}”. The interquartile mean leaves out the lowest and the highest quarter of all scores. "
        "The intervals do not include the uncertainty of the scale."
    )
    missing = [
        task
        for task, interval in zip(results.tasks, summary.normalized[results.reference], strict=True)
        if math.isnan(interval.value)
    ]
    if missing:
        yield Paragraph(
            f"{', '.join(missing)}: “{results.reference}” does not exceed a random policy by more than the noise of "
            f"its runs, so there is no scale, and the task is left out (“–” in the table).{_by_nobody(summary)}"
        )
    if not summary.iqm:
        return
    yield Picture("aggregates", score_figures.aggregates(summary), _CAPTIONS["aggregates"])
    rows = [
        (name, _interval(summary.iqm[name]), *(_interval(interval) for interval in summary.normalized[name]))
        for name in summary.iqm
    ]
    yield Table(("arm", "interquartile mean", *results.tasks), rows)


def _by_nobody(summary: Summary) -> str:
    results = summary.results
    learned = [results.is_learnt(name) for name in results.names]
    tasks = [task for task, by_arm in zip(results.tasks, zip(*learned, strict=True), strict=True) if not any(by_arm)]
    return f" No arm has learned {', '.join(tasks)}: differences between arms are no evidence there." if tasks else ""


def _transfer(summary: Summary) -> Iterator[Block]:
    results = summary.results
    if not results.others:
        return
    yield Heading("Transfer: what helped, what hurt")
    yield Picture("transfer", map_figures.transfer_map(summary), _CAPTIONS["transfer"])
    for figure, rows in summary.transfer.items():
        yield Paragraph(
            f"{_capitalized(FIGURES[figure])}, difference to “{results.reference}”. Test: {TEST}; "
            "p-values corrected by Holm's method over the whole table."
        )
        yield verdict_table(rows, results.tasks, lambda row: row.arm, "arm")


def _comparisons(summary: Summary) -> Iterator[Block]:
    results = summary.results
    if not results.comparisons:
        return
    yield Heading("Further pairs of arms")
    for figure, rows in summary.comparisons.items():
        yield Paragraph(
            f"{_capitalized(FIGURES[figure])}, difference of the first arm to the second. Test: {TEST}; "
            "p-values corrected by Holm's method over the whole table."
        )
        yield verdict_table(rows, results.tasks, lambda row: f"{row.arm} against {row.against}", "pair")


def _cosines(summary: Summary) -> Iterator[Block]:
    figure = map_figures.cosine_maps(summary)
    if figure is not None:
        yield Heading("Do the tasks' gradients agree?")
        yield Picture("cosines", figure, _CAPTIONS["cosines"])


def _similarity(summary: Summary) -> Iterator[Block]:
    figure = map_figures.similarity_map(summary)
    if figure is None and not summary.why_no_similarity:
        return
    yield Heading("Are the networks' features similar?")
    if figure is None:
        yield Paragraph(summary.why_no_similarity)
        return
    if any(row.arm == BETWEEN_SEEDS for row in summary.similarity):
        yield Paragraph(
            f"The row “{BETWEEN_SEEDS}” is the baseline: networks that were trained in the same way and differ only in "
            "their seed. Lower values than these mean features of a different kind."
        )
    yield Picture("similarity", figure, _CAPTIONS["similarity"])


def _made(summary: Summary) -> Iterator[Block]:
    results, plan = summary.results, summary.results.plan
    seconds = sum(sum(arm.seconds) for arm in results.arms)
    yield Heading("How it was made")
    origins = [origin for arm in results.arms for origin in arm.origins]
    for command in dict.fromkeys(shlex.join(["python", *origin["command"]]) for origin in origins):
        yield Code(command)
    yield Paragraph(
        f"{sum(arm.runs for arm in results.arms)} runs, which took {seconds / 60:.0f} minutes in total. Seeds: "
        + "; ".join(f"{arm.name} {_ranges(arm.seeds)}" for arm in results.arms)
        + "."
    )
    protocol = {key: value for key, value in plan["protocol"].items() if key != "score"}
    yield Table(("setting", "value"), [(key, as_text(value)) for key, value in protocol.items()])
    packages = dict.fromkeys(package for origin in origins for package in origin["versions"])
    rows = [(p, ", ".join(dict.fromkeys(origin["versions"].get(p, "?") for origin in origins))) for p in packages]
    yield Table(("package", "version"), rows)
    yield Paragraph("Every number on this page is in numbers.csv.")


def _capitalized(text: str) -> str:
    return f"{text[0].upper()}{text[1:]}"


def _ranges(seeds: list[int]) -> str:
    """Returns a text of the seeds, such as `0–3, 7`."""
    parts: list[list[int]] = []
    for seed in seeds:
        if parts and seed == parts[-1][-1] + 1:
            parts[-1].append(seed)
        else:
            parts.append([seed])
    return ", ".join(str(part[0]) if len(part) == 1 else f"{part[0]}–{part[-1]}" for part in parts)


def _interval(interval: Interval) -> str:
    if math.isnan(interval.value):
        return "–"
    if interval.low is None or interval.high is None:
        return f"{interval.value:.4g} (one run)"
    return f"{interval.value:.4g} [{interval.low:.4g}, {interval.high:.4g}]"
