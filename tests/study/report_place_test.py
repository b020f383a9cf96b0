"""What a report replaces: one that mtq wrote, and nothing else."""

import pytest
from matplotlib.figure import Figure

import mtq
from mtq.study.analysis.results import Results
from mtq.study.report import report as module
from mtq.study.report.document import Picture
from mtq.study.report.numbers import COLUMNS

NAMES = ["report.html", "report.md", "numbers.csv", "figures/aggregates.png"]


def content(folder):
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


@pytest.fixture
def write(monkeypatch, tmp_path):
    """Writes a report with these pictures."""

    def write(*pictures):
        blocks = [Picture(name, Figure(), "A caption.") for name in pictures]
        monkeypatch.setattr(module.Report, "summary", None)
        monkeypatch.setattr(module, "blocks_of", lambda _: blocks)
        monkeypatch.setattr(module, "write_numbers", lambda _, path: path.write_text(",".join(COLUMNS) + "\n"))
        return mtq.study.Report(Results((), [], "", None)).write(to=tmp_path)

    return write


@pytest.mark.parametrize("name", NAMES)
def test_a_report_replaces_no_files_of_others(name, write, tmp_path):
    (tmp_path / name).parent.mkdir(exist_ok=True)
    (tmp_path / name).write_text("mine")
    with pytest.raises(FileExistsError, match=f"must hold no report, or one that mtq wrote.*{name}"):
        write("aggregates")
    assert content(tmp_path) == {name: b"mine"}


def test_a_report_replaces_a_report_and_its_pictures_alone(write, tmp_path):
    mine = {"figures/learning_curves_of_my_paper.png": b"mine", "figures/learning_curves_9.png": b"mine"}
    (tmp_path / "figures").mkdir()
    for name, data in mine.items():
        (tmp_path / name).write_bytes(data)
    write("aggregates", "learning_curves", "learning_curves_2")
    assert {*NAMES, *mine, "figures/learning_curves_2.png", "figures/learning_curves.png"} == set(content(tmp_path))
    write("aggregates", "learning_curves")
    found = content(tmp_path)
    assert {*NAMES, *mine, "figures/learning_curves.png"} == set(found)
    assert {name: found[name] for name in mine} == mine
