"""Where a model is exported and a run lies: checked before anything is made, and never taken for another place."""

import json
import os

import keras
import numpy as np
import pytest
import tensorflow as tf

import mtq
from mtq.study.running.folder import StudyFolder
from tests.runs.replaced_folders_test import content, exported, model  # noqa: F401
from tests.toy_environments import Corridor


def of_another_program(folder, signatures):
    module = tf.Module()
    module.variable = tf.Variable(0.0)
    function = tf.function(lambda observation: {"action": observation}, input_signature=[tf.TensorSpec([None])])
    tf.saved_model.save(module, str(folder), signatures=dict.fromkeys(signatures, function))


@pytest.mark.parametrize("signatures", [[], ["serving_default"], ["corridor"], ["corridor", "serving_default"]])
def test_an_export_does_not_replace_that_of_another_program(signatures, model, tmp_path):  # noqa: F811
    of_another_program(tmp_path / "1", signatures)
    before = content(tmp_path)
    with pytest.raises(FileExistsError, match=r"export of mtq and nothing else.*of another program"):
        model.export(tmp_path / "1", overwrite=True)
    assert content(tmp_path) == before


@pytest.mark.parametrize("to", [".", "..", "", "1/..", "../here"])
def test_the_current_folder_is_not_replaced(to, model, tmp_path, monkeypatch):  # noqa: F811
    (tmp_path / "here").mkdir()
    monkeypatch.chdir(tmp_path / "here")
    with pytest.raises(FileExistsError, match="the current folder"):
        model.export(to, overwrite=True)
    assert os.listdir(".") == []


def test_what_is_no_folder_is_named(model, tmp_path, monkeypatch):  # noqa: F811
    monkeypatch.chdir(tmp_path)
    (tmp_path / "file").write_text("mine")
    for make in (
        lambda: model.export(tmp_path / "file" / "1"),
        lambda: mtq.runs.Run(tmp_path / "file", {}),
        lambda: mtq.runs.Run(tmp_path / "file" / "run", {}, overwrite=True),
        lambda: StudyFolder(tmp_path / "file" / "study").begin({}, []),
    ):
        with pytest.raises(FileExistsError, match=r"must be a folder, new or existing.*/file' is a file"):
            make()
    for make in (
        lambda: model.export("gs://bucket/1"),
        lambda: mtq.runs.Run("gs://bucket/run", {}),
        lambda: mtq.runs.Run("run", {}, export_to="s3://bucket/1"),
        lambda: StudyFolder("hdfs://host/study").begin({}, []),
    ):
        with pytest.raises(ValueError, match="must be a folder of this machine"):
            make()
    assert content(tmp_path) == {"file": b"mine"}


@pytest.mark.parametrize("value", ["false", "no", 1, None])
def test_flags_are_bools(value, model, exported, tmp_path):  # noqa: F811
    for make in (
        lambda: model.export(tmp_path / "1", overwrite=value),
        lambda: mtq.runs.Run(tmp_path, {}, overwrite=value),
        lambda: mtq.runs.Run(tmp_path, {}, resume=value),
        lambda: mtq.runs.Run(tmp_path, {}, is_chief=value),
        lambda: mtq.runs.load_tasks(tmp_path / "tasks.json", trust_imports=value),
    ):
        (tmp_path / "tasks.json").write_text("{}")
        with pytest.raises(ValueError, match="must be True or False"):
            make()
        assert set(content(tmp_path)) == {"tasks.json"}


@pytest.mark.parametrize("to", [".", "..", "checkpoint", "tensorboard/1", "best.keras", "../run"])
def test_a_run_is_not_exported_to_its_own_files(to, tmp_path):
    folder = tmp_path / "run"
    for other in ({}, {"resume": True}):
        with pytest.raises(FileExistsError, match="must not be one that the run itself writes to"):
            mtq.runs.Run(folder, {}, export_to=folder / to, **other)
        assert not folder.exists()
    mtq.runs.Run(folder, {}, export_to=folder / "export")


def test_a_run_that_cannot_begin_replaces_nothing(tmp_path):
    mtq.runs.Run(tmp_path, {"a": 1})
    before = content(tmp_path)
    for options in ({"a": object()}, {"a": np.float32(1)}, {("a", "b"): 1}):
        with pytest.raises(ValueError, match="options of a run must be JSON values"):
            mtq.runs.Run(tmp_path, options, overwrite=True)
    with pytest.raises(ValueError, match="must not both be True"):
        mtq.runs.Run(tmp_path, {"a": 1}, overwrite=True, resume=True)
    assert content(tmp_path) == before


def test_a_run_record_that_cannot_be_read_says_why(tmp_path):
    from mtq.runs.replaceable import run_record

    for data, why in (
        (None, "does not exist"),
        (b"[", "JSONDecodeError"),
        (b"\xff", "Unicode"),
        (b"{}", "another program"),
    ):
        if data is not None:
            (tmp_path / "run.json").write_bytes(data)
        with pytest.raises(ValueError, match=rf"run\.json that mtq wrote.*{why}") as raised:
            run_record(tmp_path)
        assert (raised.value.__cause__ is None) == (data == b"{}")


def test_the_model_of_a_run_is_one_of_ours(model, tmp_path):  # noqa: F811
    keras.Sequential([keras.Input((2,)), keras.layers.Dense(1)]).save(tmp_path / "best.keras")
    with pytest.raises(ValueError, match=r"must be a MultiTaskDQN.*holds a Sequential"):
        mtq.runs.load_best(tmp_path)
    for part in ("config.json", "model.weights.h5"):
        import zipfile

        model.save(tmp_path / "whole.keras")
        with zipfile.ZipFile(tmp_path / "whole.keras") as whole, zipfile.ZipFile(tmp_path / "best.keras", "w") as cut:
            for name in whole.namelist():
                cut.writestr(name, whole.read(name)[:-50] if name == part else whole.read(name))
        with pytest.raises(ValueError, match=r"must be a (complete )?\.keras file"):
            mtq.runs.load_best(tmp_path)


def test_a_network_that_is_not_known_is_named_briefly(tmp_path):
    class Own(keras.layers.Layer):
        def call(self, inputs):
            return inputs

    tasks = mtq.TaskSet([mtq.Task("corridor", Corridor)])
    backbone = keras.Sequential([keras.layers.Dense(4), Own()])
    mtq.MultiTaskDQN(mtq.networks.shared_q_network(tasks, backbone), tasks).save(tmp_path / "best.keras")
    with pytest.raises(ValueError, match=r"must be one that can be created from its config.*Own") as raised:
        keras.models.load_model(tmp_path / "best.keras")
    assert len(str(raised.value)) < 1_000
    loaded = keras.models.load_model(tmp_path / "best.keras", custom_objects={"Own": Own})
    assert json.loads(loaded.to_json())["class_name"] == "MultiTaskDQN"


def test_the_home_folder_is_that_of_the_shell(model, tmp_path, monkeypatch):  # noqa: F811
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    monkeypatch.chdir(tmp_path)
    model.export("~/saved/1")
    assert (tmp_path / "home/saved/1/saved_model.pb").exists()
    callbacks = mtq.callbacks
    assert callbacks.BestCheckpoint("~/best.keras").filepath == tmp_path / "home/best.keras"
    assert callbacks.LearningCurves("~/curves.png").filepath == tmp_path / "home/curves.png"
    assert callbacks.GradientTelemetry("~/telemetry").directory == tmp_path / "home/telemetry"
    assert mtq.runs.Run("~/run", {}).folder == tmp_path / "home/run"
    assert mtq.study.Report(None, "~/study").path == tmp_path / "home/study"
    assert not (tmp_path / "~").exists()
    for path in (None, 3, "~nobody_of_this_name/1"):
        with pytest.raises(ValueError, match=r"folder to export to must be a path. Received: "):
            model.export(path)
