"""Files that the commit before the rooms were moved has written: tests/data/README.md says how."""

import csv
import json
import shutil
import zipfile
from pathlib import Path

import keras
import numpy as np
import pytest

import mtq
from tests.study.tiny import tiny_study

DATA = Path(__file__).parent / "data"
MODELS = sorted(path.stem for path in (DATA / "models").glob("*.keras"))
FIRST = {"keras_3_12", "dense"}


def skip_unless_readable(file):
    """Skips a test of a file that a later version of Keras has written, for Keras reads those of earlier ones alone."""
    with zipfile.ZipFile(file) as archive:
        writer = json.loads(archive.read("metadata.json"))["keras_version"]
    if [int(part) for part in keras.__version__.split(".")[:2]] < [int(part) for part in writer.split(".")[:2]]:
        pytest.skip(f"{file.name} was written by Keras {writer}, which is later than {keras.__version__}.")


@pytest.mark.parametrize(
    "name", [pytest.param(name, marks=() if name in FIRST else pytest.mark.thorough) for name in MODELS]
)
def test_a_model_is_what_it_was_and_learns_on(name):
    skip_unless_readable(DATA / "models" / f"{name}.keras")
    model = keras.models.load_model(DATA / "models" / f"{name}.keras")
    generator = np.random.default_rng(0)
    observations = {
        task.name: generator.uniform(0, 1, (3, *task.spec.observation_shape)).astype(task.spec.observation_dtype)
        for task in model.tasks.values()
    }
    q_values = model.predict(observations, verbose=0)
    for task, expected in json.loads((DATA / "models" / f"{name}.json").read_text()).items():
        np.testing.assert_allclose(q_values[task], expected, rtol=1e-4, atol=1e-6)
    updates = int(model.updates)
    assert updates > 0
    experience = mtq.Experience(model.tasks, model, replay_capacity=64, warmup_steps=16)
    model.fit(experience.dataset(8), steps_per_epoch=1, verbose=0)
    assert int(model.updates) == updates + 1


def test_an_interrupted_run_is_resumed_as_it_was_then(tmp_path):
    skip_unless_readable(DATA / "run" / "best.keras")
    shutil.copytree(DATA / "run", tmp_path / "run")
    tasks = mtq.TaskSet([mtq.Task("a", "in_graph/Chain", num_envs=2), mtq.Task("cart_pole", "in_graph/CartPole")])
    network = mtq.networks.shared_q_network(tasks, mtq.networks.mlp([4]), seed=0)
    model = mtq.MultiTaskDQN(network, tasks, target_update_period=5)
    model.compile(keras.optimizers.Adam(1e-2), aggregator="pcgrad", loss_weights="dynamic_weight_average")
    experience = mtq.Experience(tasks, model, replay_capacity=40, warmup_steps=8, seed=0)
    run = mtq.runs.Run(tmp_path / "run", {"seed": 0, "epochs": 4}, resume=True)
    run.train(model, experience, experience.dataset(4), epochs=4, updates_per_epoch=3, episodes=2)
    with (tmp_path / "run" / "log.csv").open() as file, (DATA / "run_after_resume.csv").open() as expected:
        for row, then in zip(csv.DictReader(file), csv.DictReader(expected), strict=True):
            assert row.keys() == then.keys()
            names = [name for name in row if not name.endswith("/q_mean")]  # then the mean over all actions
            np.testing.assert_allclose(
                [float(row[name]) for name in names], [float(then[name]) for name in names], rtol=1e-4
            )


def test_a_run_gives_back_its_model_and_tasks():
    skip_unless_readable(DATA / "run" / "best.keras")
    assert list(mtq.runs.load_tasks(DATA / "run" / "tasks.json")) == ["a", "cart_pole"]
    assert int(mtq.runs.load_best(DATA / "run").updates) > 0


@pytest.mark.thorough
def test_a_study_goes_on_and_makes_only_the_runs_that_are_missing(tmp_path):
    skip_unless_readable(DATA / "study" / "runs" / "shared" / "seed_0" / "network.keras")
    shutil.copytree(DATA / "study", tmp_path / "study")
    path = tmp_path / "study" / "runs" / "shared" / "seed_0" / "scores.json"
    before = path.stat().st_mtime_ns, path.read_text()
    assert mtq.study.load_results(tmp_path / "study").tasks == ("a", "b")
    # 5000 was the default then. A study whose settings differ from those in its folder is refused.
    tiny_study(seeds=2, exploration_steps=5000).run(tmp_path / "study", workers=1, verbose=0)
    assert (path.stat().st_mtime_ns, path.read_text()) == before
    assert (tmp_path / "study" / "runs" / "shared" / "seed_1" / "scores.json").exists()
