"""Reports of made-up runs, whose every number is known."""

import csv
import re

import keras
import numpy as np
import pytest

import mtq
from mtq.study.analysis.published import Published, PublishedFigure
from mtq.study.analysis.results import ArmResult, Results
from mtq.study.design.serialization import loss_config
from mtq.study.report.document import Picture
from mtq.study.report.sections import _curves
from mtq.study.report.style import arm_styles

PLAN = {
    "protocol": {"score": "mean return", "epochs": 4, "loss": loss_config(keras.losses.LogCosh())},
}
ORIGINS = [
    {"command": ["study.py", "--out", "a folder"], "versions": {"mtq": "0"}},
    {"command": ["study.py", "--more"], "versions": {"mtq": "1"}},
]
LOSSES = {
    "shared": loss_config(keras.losses.Huber(delta=10.0)),
    "a<b>&|c": loss_config(keras.losses.mean_squared_error),
}


@pytest.fixture(scope="module")
def report(tmp_path_factory):
    random = np.random.default_rng(0)
    arms = []
    for name, level in (("separate", 1.0), ("shared", 2.0), ("a<b>&|c", 1.0)):
        scores = level * np.linspace(0, 1, 5)[None, :, None] * np.array([100.0, 1.0]) + random.normal(
            0, 0.01, (6, 5, 2)
        )
        cosines = np.tile(np.array([[1.0, -0.25], [-0.25, 1.0]]), (4, 1, 1)) if name == "shared" else None
        settings = {"shared_layers": 0 if name == "separate" else None, "width": 1.0, "aggregator": "sum"}
        settings |= {"loss": LOSSES[name]} if name in LOSSES else {"loss_weights": {"one": 1.0, "two": 2.0}}
        failures = {3: "NonFiniteLossError: of task 'one'"} if name == "shared" else {}
        seeds, seconds = [0, 1, 2, 5, 6, 9], [60.0] * 6
        arms.append(ArmResult(name, scores, seeds, seconds, cosines, 1234, settings, failures, ORIGINS))
    results = Results(("one", "two"), arms, "separate", np.array([0.0, 0.0]), PLAN)
    publication = Published(
        "A paper", {"shared": {"one": np.arange(5.0)}}, {"shared": {"one": PublishedFigure(125.0, 1.0, 100)}}
    )
    path = tmp_path_factory.mktemp("report")
    mtq.study.Report(results, publication=publication).write("A title", to=path)
    return path


def numbers(path):
    with (path / "numbers.csv").open(newline="") as file:
        return {(row["section"], row["arm"], row["task"], row["of"]): row for row in csv.DictReader(file)}


def test_page_needs_nothing_else_and_is_well_formed(report):
    page = (report / "report.html").read_text()
    assert not re.findall(r'(?:src|href)="(?!#|data:)', page)
    assert "http" not in re.sub(r"<svg.*?</svg>", "", page, flags=re.S)
    assert "prefers-color-scheme: dark" in page
    assert "#111213" not in page  # the ink is the page's
    assert '<td class="long">aggregator=sum, loss=Huber(' in page  # and does not push others off the page
    assert "a&lt;b&gt;&amp;|c" in page
    assert "a<b>" not in page
    ids = re.findall(r'\bid="([^"]+)"', page)
    assert len(ids) == len(set(ids))


def test_markdown_has_its_pictures(report):
    text = (report / "report.md").read_text()
    pictures = re.findall(r"\]\((figures/[^)]+)\)", text)
    assert len(pictures) >= 4
    assert all((report / picture).stat().st_size > 5_000 for picture in pictures)
    assert "python study.py --out 'a folder'" in text
    assert "python study.py --more" in text
    assert "| mtq | 0, 1 |" in text
    assert "separate 0–2, 5–6, 9" in text
    assert "| 6 of 7 |" in text
    assert "shared, seed 3, could not be finished and is missing below: NonFiniteLossError" in text


def test_losses_are_shown_with_their_arguments(report):
    page = (report / "report.md").read_text()
    assert "loss=Huber(reduction=sum_over_batch_size, delta=10.0)" in page
    assert "loss=mean_squared_error" in page
    assert "loss_weights={one: 1.0, two: 2.0}" in page
    assert "| loss | LogCosh(reduction=sum_over_batch_size) |" in page


def test_every_number_of_the_tables_is_in_the_csv_file(report):
    """Every figure in a table's cell is, rounded, in numbers.csv."""
    known = set()
    for row in numbers(report).values():
        for column in ("value", "low", "high"):
            if row[column]:
                known |= {f"{float(row[column]):.4g}", f"{float(row[column]):+.3g}", f"{float(row[column]):.3f}"}
    text = (report / "report.md").read_text()
    scores = text[text.index("## Scores") : text.index("## How it was made")]
    cells = [cell for line in scores.splitlines() if line.startswith("|") for cell in line.split("|")[2:-1]]
    found = [
        figure for cell in cells for figure in re.findall(r"[+-]?\d+\.?\d*(?:e[+-]\d+)?", cell.replace("p < 0.001", ""))
    ]
    assert len(found) > 40
    assert [figure for figure in found if figure not in known] == []


def test_publications_of_other_epochs_are_not_compared():
    figure = {"shared": {"one": PublishedFigure(125.0, 1.0, 100)}}
    paper = Published("A paper", {"shared": {"one": np.arange(51.0)}}, figure)
    assert paper.compare(ArmResult("shared", np.zeros([3, 5, 1])), ("one",)) == {}
    assert set(paper.compare(ArmResult("shared", np.zeros([3, 51, 1])), ("one",))) == {"one"}


def test_a_report_made_again_has_the_publication(report, tmp_path):
    paper = Published(
        "A paper", {"shared": {"one": np.arange(5.0)}}, {"shared": {"one": PublishedFigure(125.0, 1.0, 100)}}
    )
    paper.save(tmp_path / "published.json")
    again = Published.saved(tmp_path / "published.json")
    assert again.figures == paper.figures
    np.testing.assert_array_equal(again.curves["shared"]["one"], paper.curves["shared"]["one"])
    assert Published.saved(tmp_path / "none.json") is None


def test_numbers(report):
    known = numbers(report)
    last = known["figures", "shared", "one", "last"]
    assert float(last["value"]) == pytest.approx(200 * (0.25 + 0.5 + 0.75 + 1) / 4, abs=0.1)
    assert float(last["low"]) < float(last["value"]) < float(last["high"])
    assert float(known["normalized", "shared", "two", "last"]["value"]) == pytest.approx(2, abs=0.1)
    assert known["transfer", "shared", "one", "last, difference"]["note"] == "helped"
    assert known["transfer", "a<b>&|c", "one", "last, difference"]["note"] == "no evidence"
    assert known["published", "shared", "one", "last"]["note"] == "within two standard errors"
    assert float(known["cosines", "shared", "one", "two, epoch 3"]["value"]) == -0.25
    assert float(known["published curves", "shared", "one", "epoch 4"]["value"]) == 4


def test_deramo_data():
    from recipes.deramo2020 import published

    paper = published()
    in_order = ["cart_pole", "acrobot", "mountain_car", "car_on_hill", "inverted_pendulum"]
    assert list(paper.curves["shared"]) == list(paper.figures["shared"]) == in_order  # not a set's
    assert paper.figures["shared"]["cart_pole"].mean == pytest.approx(82.56, abs=0.01)
    assert paper.figures["separate"]["mountain_car"].half_interval == pytest.approx(3.34, abs=0.05)
    assert paper.curves["separate"]["acrobot"].shape == (51,)


@pytest.mark.thorough
def test_curves_of_many_arms_are_drawn_a_few_at_a_time_beside_the_reference():
    scores = np.linspace(0, 1, 10).reshape(2, 5, 1)
    names = ["separate", *(f"arm {number}" for number in range(8))]
    arms = [ArmResult(name, scores, [0, 1], [1.0] * 2, None, 1, {"shared_layers": 0}, {}, ORIGINS) for name in names]
    summary = mtq.study.Report(Results(("one",), arms, "separate", np.zeros(1), PLAN)).summary
    pictures = [block for block in _curves(summary) if isinstance(block, Picture)]
    assert [picture.name for picture in pictures] == ["learning_curves", "learning_curves_2", "learning_curves_3"]
    drawn = [
        [label.removesuffix(" (2 runs)") for label in picture.figure.axes[0].get_legend_handles_labels()[1]]
        for picture in pictures
    ]
    assert all(labels[:2] == ["random policy", "separate"] for labels in drawn)
    assert [label for labels in drawn for label in labels[2:]] == names[1:]
    assert len({colour for _, colour, _ in arm_styles(summary)}) == 9
