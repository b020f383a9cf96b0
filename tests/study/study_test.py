"""Studies: what is run, what is kept, and what goes on after an interruption."""

import os
import shutil
import signal
import subprocess
import sys
import time

import keras
import numpy as np
import pytest

import mtq
from mtq.dynamics import Chain
from mtq.study.running.compiled_arm import CompiledArm, random_scores
from mtq.study.running.folder import StudyFolder
from tests.study.tiny import chains, rows, tiny_network, tiny_study
from tests.toy_environments import Corridor


@pytest.mark.thorough
def test_a_run_depends_on_its_seed_alone():
    study = tiny_study(restarts_episodes=True, final_learning_rate=1e-4)
    arm = mtq.study.Arm("shared", aggregator="normalized_sum", loss_weights="dynamic_weight_average")
    compiled = CompiledArm(study.tasks, arm, study.protocol, tiny_network)
    first, other, again = (compiled.run(seed) for seed in (0, 1, 0))
    fresh = CompiledArm(study.tasks, arm, study.protocol, tiny_network).run(0)
    for record in (again, fresh):
        np.testing.assert_array_equal(first.scores, record.scores)
        np.testing.assert_array_equal(first.cosines, record.cosines)
        for name in study.tasks:
            np.testing.assert_array_equal(first.probes[name], record.probes[name])
    assert not np.array_equal(first.cosines, other.cosines)
    assert first.scores.shape == (3, 2)
    assert first.cosines.shape == (2, 2, 2)


def test_scores_by_episodes_of_the_target_network():
    """Of a chain's episodes of 10 steps, ended or cut off: by hand, as the network that plays is known."""
    protocol = tiny_study(evaluation_steps=None, evaluation_episodes=4, evaluates_target=True).protocol
    compiled = CompiledArm(chains(), mtq.study.Arm("shared"), protocol, tiny_network)
    moves_on = [np.zeros([8, 2]), np.array([0.0, 1.0])]
    for task in compiled.tasks:
        compiled.model.target_network.get_layer(f"{task}_q_values").set_weights(moves_on)
        compiled.model.network.get_layer(f"{task}_q_values").set_weights([moves_on[0], moves_on[1][::-1]])
    assert compiled._evaluate(0) == {"a": 1.0, "b": 1.0}
    scores = random_scores(chains(), protocol, times=20)
    assert 0.9 < scores["a"] < 0.99  # in 5.5 % of episodes fewer than three of ten random steps move on: 0.945


@pytest.mark.thorough
def test_the_network_that_was_evaluated_is_kept(tmp_path):
    """A target network that was never moved is the one that the run began with."""
    arm = mtq.study.Arm("target", evaluates_target=True, target_update_period=1_000)
    study = tiny_study(arms=[arm], seeds=1)
    study.run(tmp_path, workers=1, verbose=0)
    kept = keras.models.load_model(StudyFolder(tmp_path).place("target", 0) / "network.keras", compile=False)
    compiled = CompiledArm(study.tasks, arm, study.protocol, tiny_network)
    compiled.run(0)
    for name, network in {"target": compiled.model.target_network, "online": compiled.model.network}.items():
        same = [np.array_equal(a, b) for a, b in zip(kept.get_weights(), network.get_weights(), strict=True)]
        assert all(same) == (name == "target")


@pytest.mark.slow
def test_a_killed_study_goes_on_and_gives_the_same_report(tmp_path):
    path, undisturbed = tmp_path / "study", tmp_path / "undisturbed"
    tiny_study().run(undisturbed, workers=2, verbose=0).write()
    code = f"from tests.study.tiny import tiny_study; tiny_study().run({str(path)!r}, workers=2)"
    process = subprocess.Popen([sys.executable, "-c", code], stderr=subprocess.DEVNULL, env={**os.environ})
    folder = StudyFolder(path)
    until = time.monotonic() + 120
    while not list(path.glob("runs/*/seed_*/scores.json")) and time.monotonic() < until:
        assert process.poll() is None, "the study ended before it could be killed"
        time.sleep(0.02)
    process.send_signal(signal.SIGKILL)
    process.wait()
    kept = {place: place.stat().st_mtime_ns for place in path.glob("runs/*/seed_*/scores.json")}
    assert 1 <= len(kept) < 4
    (folder.place("shared", 7).with_name(".seed_7.part")).mkdir(parents=True)  # what a cut write leaves behind

    tiny_study().run(path, workers=2, verbose=0).write()
    assert {place: place.stat().st_mtime_ns for place in kept} == kept  # not made again
    assert rows(path) == rows(undisturbed)
    assert len(rows(path)) > 50


def test_a_finished_study_makes_no_run_again(undisturbed):
    before = {place: place.stat().st_mtime_ns for place in undisturbed.glob("runs/*/*/*")}
    tiny_study().run(undisturbed, verbose=0)
    assert {place: place.stat().st_mtime_ns for place in undisturbed.glob("runs/*/*/*")} == before


def test_another_plan_is_refused(undisturbed):
    with pytest.raises(ValueError, match=r"the same protocol.*batch_size"):
        tiny_study(batch_size=9).run(undisturbed, verbose=0)
    arms = [mtq.study.Arm("separate", shared_layers=0), mtq.study.Arm("shared", aggregator="mean")]
    with pytest.raises(ValueError, match="the same arm 'shared'"):
        tiny_study(arms=arms).run(undisturbed, verbose=0)


def test_a_folder_in_use_is_refused(tmp_path):
    with StudyFolder(tmp_path).held(), pytest.raises(ValueError, match="must not be in use"):
        tiny_study().run(tmp_path, verbose=0)


@pytest.mark.thorough
def test_one_seed_has_no_interval_and_says_so(tmp_path, undisturbed):
    StudyFolder(tmp_path / "one").begin(tiny_study(seeds=1)._plan(), [])
    for run in undisturbed.glob("runs/*/seed_0"):
        shutil.copytree(run, tmp_path / "one" / run.relative_to(undisturbed))
    report = tiny_study(seeds=1).run(tmp_path / "one", workers=1, verbose=0)
    page = report.write().read_text()
    assert "There is only one run of separate, shared" in page
    assert "(one run)" in page
    assert "1 run, no interval" in page
    assert "one run: not tested" in page
    of_intervals = [row for row in rows(tmp_path / "one") if row["low"] or row["high"]]
    assert not of_intervals


@pytest.mark.thorough
def test_a_report_made_again_keeps_its_title(undisturbed, tmp_path):
    report = mtq.study.Report(mtq.study.load_results(undisturbed), undisturbed)
    assert "<h1>What sharing the network does</h1>" in report.write(to=tmp_path).read_text()
    report.write("Chains & links", to=tmp_path)
    assert "<h1>Chains &amp; links</h1>" in report.write(to=tmp_path).read_text()


@pytest.mark.thorough
def test_processes_for_environments_in_python_and_failures_are_told(tmp_path):
    """A run that fails is named; the others are kept, and it is made when the study is run again."""
    tasks = mtq.TaskSet([mtq.Task("a", Corridor), mtq.Task("b", Corridor)])
    arms = [mtq.study.Arm("shared"), mtq.study.Arm("diverges", learning_rate=1e30, loss="squared")]
    study = tiny_study(tasks, arms, seeds=1)
    with pytest.raises(mtq.study.StudyError, match=r"(?s)1 of 2 runs could not be finished.*diverges, seed 0.*task"):
        study.run(tmp_path, workers=2, verbose=0)
    folder = StudyFolder(tmp_path)
    assert folder.has("shared", 0)
    assert not folder.has("diverges", 0)
    mtq.study.Report(mtq.study.load_results(tmp_path), tmp_path).write()
    assert {row["arm"] for row in rows(tmp_path) if row["section"] == "runs"} == {"shared"}
    assert list(folder.failures("diverges")) == [0]


def test_a_plan_that_no_run_was_made_by_is_replaced(tmp_path):
    StudyFolder(tmp_path).begin(tiny_study(batch_size=9)._plan(), [])
    (tmp_path / "random.json").write_text("{}")
    StudyFolder(tmp_path).begin(tiny_study()._plan(), [])
    assert StudyFolder(tmp_path).plan["protocol"]["batch_size"] == 8
    assert not (tmp_path / "random.json").exists()


def test_runs_without_a_plan_are_not_gone_on_with(tmp_path):
    (tmp_path / "runs/shared/seed_0").mkdir(parents=True)
    (tmp_path / "runs/shared/seed_0/scores.json").write_text("{}")
    with pytest.raises(FileNotFoundError, match=r"must have its plan.*which has runs but no study\.json"):
        tiny_study().run(tmp_path, verbose=0)


def test_another_environment_is_another_plan():
    other = mtq.TaskSet([mtq.Task("a", Chain(3, 10)), mtq.Task("b", Chain(3, 13))])
    assert tiny_study()._plan() == tiny_study()._plan()
    assert tiny_study()._plan()["environments"] != tiny_study(other)._plan()["environments"]


@pytest.mark.parametrize("arm", [{"loss": "hubber"}, {"target_update_tau": 5.0}, {"shared_layers": 3}])
def test_what_is_wrong_with_an_arm_is_said_before_anything_is_written(tmp_path, arm):
    with pytest.raises(ValueError, match="Received"):
        tiny_study(arms=[mtq.study.Arm("a", **arm)]).run(tmp_path / "study", verbose=0)
    assert not (tmp_path / "study" / "study.json").exists()


@pytest.mark.thorough
def test_what_is_drawn_in_updates_is_drawn_from_the_runs_seed():
    study = tiny_study(epochs=1)
    arm = mtq.study.Arm("a", aggregator="random_gradient_weighting", loss_weights="random_loss_weighting")
    compiled = CompiledArm(study.tasks, arm, study.protocol, tiny_network)
    seen = []
    for seed in (0, 1):
        compiled.run(seed)
        seen.append([int(one.stream(0)) for one in (compiled.model.aggregator, compiled.model.weighting)])
    assert seen[0][0] != seen[1][0]
    assert seen[0][1] != seen[1][1]


def test_weights_that_no_seed_draws_are_refused():
    class Own(keras.layers.Layer):
        """Does not say how its weights are drawn."""

        def build(self, shape):
            self.scale = self.add_weight(shape=(shape[-1],), initializer="random_normal", name="scale")

        def call(self, x):
            return self.scale * x

    def with_own(tasks, arm):
        inputs = {name: keras.Input(task.spec.observation_shape, name=name) for name, task in tasks.items()}
        body = Own()
        return keras.Model(inputs, {n: keras.layers.Dense(2, name=f"{n}_q")(body(i)) for n, i in inputs.items()})

    study = mtq.study.Study(chains(), [mtq.study.Arm("a")], make_network=with_own)
    with pytest.raises(ValueError, match="weights can be drawn again from a seed"):
        study._plan()


def test_parameters_are_matched():
    arms = [
        mtq.study.Arm("shared"),
        mtq.study.Arm("matched", shared_layers=0, parameters_of="shared"),
    ]
    study = tiny_study(arms=arms, seeds=1)
    counts = {name: tiny_network(study.tasks, arm).count_params() for name, arm in study.arms.items()}
    assert abs(counts["matched"] - counts["shared"]) < 0.15 * counts["shared"]  # of 8 units one more or less is much
    assert study.arms["matched"].width < 1


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"arms": [mtq.study.Arm("a"), mtq.study.Arm("a")]}, "with different names"),
        ({"arms": [mtq.study.Arm("a", parameters_of="b")]}, "must name an arm of the study. Received: 'b'"),
        ({"seeds": 0}, "seeds must be their number"),
        ({"seeds": [1, 1]}, "seeds must be their number"),
        ({"arms": [mtq.study.Arm("a", updates_per_epoch=5)]}, "as many environment steps as the others"),
        ({"epochs": 0}, "epochs of a study must be an integer of at least 1"),
    ],
)
def test_errors_of_a_study(options, message):
    with pytest.raises(ValueError, match=message):
        tiny_study(**options)


@pytest.mark.thorough
def test_pairs_of_arms_in_the_plan_and_the_report(tmp_path, undisturbed):
    """Pairs are not what runs depend on: they may be added later, and those of before stay."""
    path = shutil.copytree(undisturbed, tmp_path / "study")
    study = tiny_study()
    assert mtq.study.Report(mtq.study.load_results(path), path).summary.comparisons == {"last": [], "area": []}
    for pair in (("separate", "shared"), ("shared", "separate")):
        arms = list(study.arms.values())
        study = mtq.study.Study(
            study.tasks, arms, protocol=study.protocol, seeds=2, comparisons=[pair], make_network=tiny_network
        )
        report = study.run(path, verbose=0)
    rows = report.summary.comparisons["last"]
    assert [(row.arm, row.against, row.task) for row in rows] == [
        ("separate", "shared", "a"),
        ("separate", "shared", "b"),
        ("shared", "separate", "a"),
        ("shared", "separate", "b"),
    ]
    report.write()
    text = (path / "report.md").read_text()
    assert "| separate against shared |" in text
    assert "Welch's t-test" in text


@pytest.mark.parametrize("pair", [("one",), ("one", "one"), ("one", "four"), ("one", "two", "one")])
def test_pairs_must_be_two_arms_of_the_study(pair):
    with pytest.raises(ValueError, match=r"comparisons must be pairs of two arms of the study\. Received"):
        mtq.study.Study(chains(), [mtq.study.Arm("one"), mtq.study.Arm("two")], comparisons=[pair])
