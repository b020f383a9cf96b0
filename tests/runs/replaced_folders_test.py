"""Nothing is deleted that is not ours; what is replaced is replaced by one renaming."""

import ast
import json
import os
import shutil
import threading
from pathlib import Path

import matplotlib.figure
import pytest

import mtq
from mtq.runs.checkpoint import Checkpoint
from mtq.storage import folders as folders
from mtq.storage.pictures import save_figure
from mtq.storage.saving import save_whole
from mtq.study.analysis.published import Published
from mtq.study.running.folder import StudyFolder
from tests.toy_environments import Corridor

ROOT = Path(__file__).parent.parent.parent
# Each place that removes or renames, and the test of what it may remove; a new one must be put here.
REMOVING = {
    "evaluation/recording.py": {"replace"},  # tests/evaluation/recording_test.py
    "runs/checkpoint.py": {"replace", "unlink"},  # test_checkpoints_…; unlink: a file of a random name of its own
    "storage/files.py": {"replace", "unlink"},  # a file beside, of a random name of its own; its place is the caller's
    "storage/folders.py": {"rename", "rmtree", "unlink"},  # test_an_export_…
    "storage/pictures.py": {"replace"},  # test_a_file_of_another_kind_is_not_replaced
    "storage/saving.py": {"replace"},  # test_a_file_of_another_kind_is_not_replaced
    "study/report/report.py": {"unlink"},  # tests/study/report_place_test.py
    "study/running/folder.py": {"unlink"},  # test_a_study_…
    "study/running/record.py": {"replace"},  # a folder beside, of a random name of its own
}


def content(folder):
    """All files below a folder, with what is in them."""
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def test_every_removal_is_known():
    found = {}
    for path in (ROOT / "mtq").rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            name = node.func.attr if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) else None
            of_os = name in ("rename", "replace", "remove", "rmdir") and ast.unparse(node.func.value) in (
                "os",
                "shutil",
            )
            if of_os or name in ("rmtree", "unlink", "removedirs", "truncate"):
                found.setdefault(path.relative_to(ROOT / "mtq").as_posix(), set()).add(name)
    assert found == REMOVING


def _beside(folder):
    (folder / "thesis.tex").write_text("years of work")


def _within_variables(folder):
    (folder / "variables" / "notes.txt").write_text("mine")


def _in_assets(folder):
    (folder / "assets").mkdir(exist_ok=True)
    (folder / "assets" / "drawing.svg").write_text("mine")


def _in_a_folder(folder):
    (folder / "assets.extra").mkdir()
    (folder / "assets.extra" / "tf_serving_warmup_requests").write_text("mine")


def _without_graph(folder):
    (folder / "saved_model.pb").unlink()


def _linked(folder):
    shutil.move(folder / "variables", folder.parent / "elsewhere")
    (folder / "variables").symlink_to(folder.parent / "elsewhere")


@pytest.fixture(scope="module")
def model():
    tasks = mtq.TaskSet([mtq.Task("corridor", Corridor)])
    model = mtq.MultiTaskDQN(mtq.networks.shared_q_network(tasks, mtq.networks.mlp([4])), tasks)
    model.compile()
    return model


@pytest.fixture(scope="module")
def exported(model, tmp_path_factory):
    """An export to be copied, which takes less long than another."""
    place = tmp_path_factory.mktemp("export") / "1"
    model.export(place)
    return place


@pytest.mark.parametrize("spoil", [_beside, _within_variables, _in_assets, _in_a_folder, _without_graph, _linked])
def test_an_export_replaces_nothing_but_an_export(spoil, model, exported, tmp_path):
    place = tmp_path / "models" / "1"
    shutil.copytree(exported, place)
    spoil(place)
    before = content(tmp_path)
    with pytest.raises(FileExistsError, match=r"an export of mtq and nothing else.*which holds"):
        model.export(place, overwrite=True)
    assert content(tmp_path) == before


def test_an_export_goes_through_no_link(model, exported, tmp_path):
    shutil.copytree(exported, tmp_path / "7")
    (tmp_path / "current").symlink_to(tmp_path / "7")
    (tmp_path / "nowhere").symlink_to(tmp_path / "missing")
    before = content(tmp_path)
    for name in ("current", "nowhere"):
        with pytest.raises(FileExistsError, match="which is a link"):
            model.export(tmp_path / name, overwrite=True)
    assert content(tmp_path) == before


def test_a_failing_export_leaves_all_as_it_was(model, exported, tmp_path, monkeypatch):
    shutil.copytree(exported, tmp_path / "1")
    (tmp_path / ".1.part").mkdir()
    (tmp_path / ".1.part" / "mine").write_text("mine")
    before = content(tmp_path)

    def fail(*_):
        raise OSError("the disk is full")

    monkeypatch.setattr(folders, "exchange", fail)
    with pytest.raises(OSError, match="the disk is full"):
        model.export(tmp_path / "1", overwrite=True)
    assert content(tmp_path) == before
    assert sorted(path.name for path in tmp_path.iterdir()) == [".1.part", "1"]


def _folder(path, name, text):
    path.mkdir()
    (path / name).write_text(text)
    return path


def test_a_folder_is_replaced_without_a_gap(tmp_path):
    place, stop, gaps = _folder(tmp_path / "place", "0", "0"), threading.Event(), []

    def watch():
        while not stop.is_set():
            if not place.exists():
                gaps.append(1)

    watching = threading.Thread(target=watch)
    watching.start()
    for number in range(1, 300):
        folders.put_in_place(_folder(tmp_path / "new", str(number), "x"), place, lambda _: None)
    stop.set()
    watching.join()
    assert not gaps
    assert content(tmp_path) == {"place/299": b"x"}


@pytest.mark.parametrize("has_exchange", [True, False])
def test_what_came_meanwhile_is_kept(has_exchange, tmp_path, monkeypatch):
    if not has_exchange:
        monkeypatch.setattr(folders, "exchange", lambda one, other: False)
    place = _folder(tmp_path / "place", "old", "old")
    folders.put_in_place(_folder(tmp_path / "new", "new", "1"), place, lambda _: None)
    assert content(tmp_path) == {"place/new": b"1"}

    def check(path):
        if path != place:
            raise FileExistsError("someone wrote to it")

    with pytest.raises(FileExistsError, match="someone wrote"):
        folders.put_in_place(_folder(tmp_path / "newer", "newer", "2"), place, check)
    assert content(tmp_path) == {"place/new": b"1", "newer/newer": b"2"}


def test_without_exchange_the_old_one_comes_back(tmp_path, monkeypatch):
    monkeypatch.setattr(folders, "exchange", lambda one, other: False)
    place, rename = _folder(tmp_path / "place", "old", "old"), os.rename

    def fail(source, target):
        if Path(source).name == "new":
            raise OSError("no")
        rename(source, target)

    monkeypatch.setattr(os, "rename", fail)
    with pytest.raises(OSError, match="no"):
        folders.put_in_place(_folder(tmp_path / "new", "new", "1"), place, lambda _: None)
    assert content(tmp_path) == {"place/old": b"old", "new/new": b"1"}


RUNS = {
    "no run at all": {"log.csv": "mine"},
    "a run.json of another program": {"run.json": '{"id": 3}', "log.csv": "mine"},
    "a run.json that is no JSON": {"run.json": "mine", "tensorboard/x": "mine"},
    "files among the checkpoints": {"checkpoint/thesis.tex": "mine"},
    "files within a checkpoint": {"checkpoint/epoch_00001/thesis.tex": "mine"},
    "files among the events": {"tensorboard/train/thesis.tex": "mine"},
    "a folder of a file's name": {"best.keras/thesis.tex": "mine"},
    "a file of a folder's name": {"checkpoint": "mine"},
}


def test_an_export_replaces_an_export(model, exported, tmp_path):
    shutil.copytree(exported, tmp_path / "1")
    before = (tmp_path / "1").stat().st_ino
    (tmp_path / "1" / "variables" / "variables.index").write_bytes(b"of before")
    model.export(tmp_path / "1", overwrite=True)
    assert (tmp_path / "1").stat().st_ino != before
    assert b"of before" not in content(tmp_path).values()
    assert [path.name for path in tmp_path.iterdir()] == ["1"]


@pytest.mark.parametrize("case", RUNS)
def test_a_run_replaces_nothing_but_a_run(case, tmp_path):
    if not any(word in case for word in ("run.json", "at all")):
        mtq.runs.Run(tmp_path, {"a": 1})
    for name, text in RUNS[case].items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(text)
    before = content(tmp_path)
    with pytest.raises(FileExistsError, match="must contain only the files of a run to be replaced"):
        mtq.runs.Run(tmp_path, {"a": 2}, overwrite=True)
    assert content(tmp_path) == before


def test_a_run_replaces_a_run(tmp_path):
    mtq.runs.Run(tmp_path, {"a": 1})
    names = ["tasks.json", "best.keras", "checkpoint/epoch_00003/model.npz", "checkpoint/.epoch_00004.part/notes.json"]
    names += ["tensorboard/train/events.out.tfevents.1.host", "log.csv", "checkpoint/epoch_00003/replica_0.npz"]
    for name in names:
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text("of before")
    (tmp_path / "mine.txt").write_text("mine")
    mtq.runs.Run(tmp_path, {"a": 2}, overwrite=True)
    assert set(content(tmp_path)) == {"run.json", "mine.txt"}
    shutil.rmtree(tmp_path)
    _folder(tmp_path, "run.json", "{}")
    with pytest.raises(ValueError, match=r"must have the run\.json that mtq wrote"):
        mtq.runs.Run(tmp_path, {}, resume=True)


def test_checkpoints_of_others_are_kept(model, tmp_path):
    experience = mtq.Experience(model.tasks, model, warmup_steps=2, replay_capacity=10)
    others = ["epoch_00001/weights.pt", "epoch_1/thesis.tex", "epoch_00002/model.npz", "epoch_00002/mine"]
    for name in [*others, "epoch_00002/notes.json"]:
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text("mine")
    checkpoint = Checkpoint(tmp_path, model, experience)
    checkpoint.save(3, {})
    checkpoint.save(4, {})
    assert {"epoch_00004/model.npz", *others} <= set(content(tmp_path))
    assert "epoch_00003/model.npz" not in content(tmp_path)
    assert checkpoint.load()["epoch"] == 4
    (tmp_path / ".epoch_00005.part").mkdir()
    (tmp_path / ".epoch_00005.part" / "thesis.tex").write_text("mine")
    with pytest.raises(FileExistsError, match="unfinished checkpoint"):
        checkpoint.save(5, {})
    assert (tmp_path / ".epoch_00005.part" / "thesis.tex").exists()


def test_a_study_deletes_nothing_but_of_runs(tmp_path):
    folder = StudyFolder(tmp_path)
    plan = {"tasks": {}, "arms": {"a": {}}, "seeds": [0], "protocol": {}}
    for names in (["study.json"], ["random.json"]):
        for name in names:
            (tmp_path / name).write_text("[1]")
        with pytest.raises(FileExistsError, match="The folder of a study must be new"):
            folder.begin(plan, [])
        assert {name: (tmp_path / name).read_text() for name in names} == dict.fromkeys(names, "[1]")
        (tmp_path / names[0]).unlink()
    parts = tmp_path / "runs" / "a"
    parts.mkdir(parents=True)
    _folder(parts / ".seed_0.12.part", "scores.json", "half")
    _folder(parts / ".seed_0.13.part", "thesis.tex", "mine")
    with folder.claimed("a", 0) as is_ours:
        assert is_ours
    assert [path.name for path in parts.glob("*.part")] == [".seed_0.13.part"]


def test_a_study_does_not_lead_out_of_its_folder(tmp_path):
    plan = {"tasks": {"config": {"tasks": []}}, "arms": {"../../x": {}}, "seeds": [0], "protocol": {}, "reference": "x"}
    (tmp_path / "study.json").write_text(json.dumps(plan))
    with pytest.raises(ValueError, match=r"have names that are valid for folders.*\.\./\.\./x"):
        mtq.study.load_results(tmp_path)


def test_a_file_of_another_kind_is_not_replaced(model, tmp_path):
    mine = tmp_path / "mine.keras"
    mine.write_text("years of work")
    (tmp_path / "folder.keras").mkdir()
    figure = matplotlib.figure.Figure()
    for write in (
        lambda: mtq.callbacks.BestCheckpoint(mine),
        lambda: mtq.callbacks.BestCheckpoint(tmp_path / "folder.keras"),
        lambda: save_whole(model, mine),
        lambda: save_figure(figure, mine),
        lambda: mtq.callbacks.LearningCurves(mine),
        lambda: Published("", {}, {}).save(mine),
        lambda: mtq.runs.save_tasks(model.tasks, mine),
    ):
        with pytest.raises(FileExistsError, match="Choose another path"):
            write()
    assert content(tmp_path) == {"mine.keras": b"years of work"}
    for _ in range(2):
        save_whole(model, tmp_path / "ours.keras")
        save_figure(figure, tmp_path / "ours.png")
        mtq.runs.save_tasks(model.tasks, tmp_path / "ours.json")
    assert sorted(content(tmp_path)) == ["mine.keras", "ours.json", "ours.keras", "ours.png"]
