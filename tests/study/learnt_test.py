"""A task that the reference has not learnt has no scale, and what differs there between arms is no evidence."""

import csv

import numpy as np
import pytest
from matplotlib.backends.backend_agg import FigureCanvasAgg

import mtq
from mtq.study.analysis.progress_reached import is_learnt
from mtq.study.analysis.results import ArmResult, Results
from mtq.study.analysis.transfer import HELPED, HURT, NO_EVIDENCE
from mtq.study.report.map_figures import transfer_map

RUNS, EPOCHS, RANDOM = 10, 12, np.array([20.0, -100.0, 0.0])
TASKS = ("learnt", "by_nobody", "by_one")


def made(levels, noise, runs=RUNS, seed=0):
    """Runs whose scores rise from random to a level, `[R, E + 1, T]`."""
    draws = np.random.default_rng(seed)
    rise = np.minimum(np.arange(EPOCHS + 1) / 2, 1)[None, :, None] * (np.array(levels) - RANDOM)
    return (
        RANDOM + rise + draws.normal(0, noise, (runs, 1, len(levels))) + draws.normal(0, noise, (runs, EPOCHS + 1, 3))
    )


@pytest.fixture(scope="module")
def results():
    settings = {"shared_layers": 0, "width": 1.0}
    plan = {"protocol": {"score": "mean return", "epochs": EPOCHS}}
    origin = [{"command": ["x.py"], "versions": {"mtq": "0"}}]
    arms = {
        "separate": made([100.0, -99.7, 0.0], 1.0),  # its second task is above random by noise
        "shared": made([120.0, -100.3, 50.0], 1.0, seed=1),
        "worse": made([60.0, -130.0, -30.0], 1.0, seed=2),
    }
    return Results(
        TASKS,
        [
            ArmResult(name, s, list(range(RUNS)), [1.0] * RUNS, None, 9, settings, {}, origin)
            for name, s in arms.items()
        ],
        "separate",
        RANDOM,
        plan,
    )


@pytest.fixture(scope="module")
def report(results):
    return mtq.study.Report(results)


def test_by_hand():
    def learnt(*runs):
        return is_learnt(np.array(runs)[:, None, None], np.zeros(1)).item()

    assert learnt(1.0)
    assert not learnt(0.0)
    assert not learnt(-1.0)
    assert learnt(1.0, 3.0)
    assert not learnt(-1.0, 3.0)
    assert learnt(4.0, 5.0, 6.0)
    assert not learnt(-1.0, 1.0, 2.0)
    assert not learnt(-4.0, -5.0, -6.0)
    assert learnt(1.0, 1.0, 1.0)
    assert not learnt(0.0, 0.0, 0.0)
    assert not is_learnt(np.array([-1.0, 1.0, 0.5]).reshape(1, 3, 1), np.zeros(1)).item()  # one run, noisy epochs
    assert is_learnt(np.array([0.9, 1.0, 0.8]).reshape(1, 3, 1), np.zeros(1)).item()


@pytest.mark.parametrize("runs", [3, 5, 10, 30])
def test_what_nobody_learnt_is_rarely_taken_for_learnt(runs):
    epochs = np.random.default_rng(0).normal(-100, 5, (runs, 10, 1_000))
    assert is_learnt(epochs, np.full(1_000, -100.0)).mean() < 0.07
    assert is_learnt(epochs + 30, np.full(1_000, -100.0)).all()


def test_there_is_no_scale_without_a_reference_that_learnt(results):
    assert results.is_learnt("separate").tolist() == [True, False, False]
    assert results.is_learnt("shared").tolist() == [True, False, True]
    for arm in results.arms:
        assert np.isnan(results.normalized(arm.last)).all(axis=0).tolist() == [False, True, True]


def test_the_aggregate_is_of_learnt_tasks_only(report):
    summary = report.summary
    assert summary.iqm["separate"].value == pytest.approx(1.0, abs=0.02)
    assert summary.iqm["shared"].value == pytest.approx(1.25, abs=0.03)  # and 1.25 of one task, not a mean with others
    assert summary.iqm["worse"].value == pytest.approx(0.5, abs=0.03)


def test_differences_on_a_task_that_neither_arm_has_learnt_are_no_evidence(report):
    verdicts = {(row.arm, row.task): row.verdict for row in report.summary.transfer["last"]}
    assert verdicts["shared", "learnt"] == HELPED
    assert verdicts["worse", "learnt"] == HURT
    assert verdicts["shared", "by_one"] == HELPED  # what one arm has learnt is evidence
    assert (
        verdicts["worse", "by_nobody"] == verdicts["worse", "by_one"] == verdicts["shared", "by_nobody"] == NO_EVIDENCE
    )


def test_the_map_is_grey_there(report):
    figure = transfer_map(report.summary)
    axes = figure.axes[0]
    words = [[text.get_text() for text in axes.texts[row * 3 : row * 3 + 3]] for row in range(2)]
    assert words[0][1:] == ["no evidence", "helped"]
    assert words[1][1:] == ["no evidence"] * 2
    assert not any("-1.00" in word for row in words for word in row)
    canvas = FigureCanvasAgg(figure)
    canvas.draw()
    pixels = np.asarray(canvas.buffer_rgba())[..., :3]
    for place, grey in ((0, False), (1, True), (2, True)):
        x, y = axes.transData.transform((place - 0.45, 0.45))
        red, green, blue = pixels[len(pixels) - int(y), int(x)].astype(int)
        assert bool(red == green == blue == 0xD0) is grey


def test_the_report_says_so(report, tmp_path):
    report.write("A title", to=tmp_path)
    text = (tmp_path / "report.md").read_text()
    assert "by_nobody, by_one: “separate” does not exceed a random policy by more than the noise" in text
    assert "No arm has learned by_nobody: differences between arms are no evidence there." in text
    assert "Grey cells have no scale, because the reference is no better than a random policy" in text
    with (tmp_path / "numbers.csv").open() as file:
        rows = [row for row in csv.DictReader(file) if row["section"] == "normalized"]
    assert {row["task"] for row in rows if row["value"]} == {"learnt"}
