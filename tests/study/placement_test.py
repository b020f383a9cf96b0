"""A study's runs on several replicas, and shared out among processes."""

import contextlib
import json
import os
import time
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest

import mtq
from mtq.storage.files import write_json
from mtq.study.running.compiled_arm import CompiledArm
from mtq.study.running.folder import StudyFolder
from mtq.study.running.placement import where
from mtq.study.running.progress import Progress
from mtq.study.running.record import RunRecord
from mtq.study.running.run_maker import RunMaker
from mtq.study.running.worker_pool import Cancelled, Job
from tests.study.tiny import chains, rows, tiny_network, tiny_study

CLUSTER = {"cluster": {"chief": ["a:1"], "worker": ["b:1", "c:1"]}, "task": {"type": "worker", "index": 1}}


@pytest.fixture
def replicas():
    return mtq.distribution.strategy("mirrored", devices=2)


@pytest.mark.thorough
def test_shards_make_the_runs_of_one_process(tmp_path, undisturbed):
    shared = tmp_path / "shared"
    assert tiny_study().run_shard(shared, (1, 2), workers=2, verbose=0) is None
    assert StudyFolder(shared).seeds("shared") == [0, 1]
    assert StudyFolder(shared).seeds("separate") == []
    made = {place: place.stat().st_mtime_ns for place in shared.glob("runs/*/seed_*/scores.json")}
    StudyFolder(shared).place("separate", 0).with_name(".seed_0.part").mkdir(parents=True)  # of a process cut off
    tiny_study().run_shard(shared, (0, 2), workers=2, verbose=0).write()
    assert len(made) == 2
    assert {place: place.stat().st_mtime_ns for place in made} == made  # not made again
    assert rows(shared) == rows(undisturbed)


@pytest.mark.parametrize("number", [1, 2, 3, 7])
def test_each_run_is_of_one_shard(number):
    study = tiny_study(seeds=3)
    shards = [study._jobs((index, number)) for index in range(number)]
    assert [job for jobs in shards for job in jobs] == study._jobs((0, 1))
    assert len(study._jobs((0, 1))) == 6


def test_shards_hold_the_folder_against_the_whole_and_themselves(tmp_path):
    folder = StudyFolder(tmp_path)
    with folder.held((0, 2)), folder.held((1, 2)):
        for taken in ((0, 1), (1, 2)):
            with pytest.raises(ValueError, match="must not be in use"), folder.held(taken):
                pass
    with folder.held(), pytest.raises(ValueError, match="must not be in use"), folder.held((0, 2)):
        pass


@pytest.mark.thorough
def test_a_run_that_another_process_is_at_is_left_to_it_unless_that_is_killed(tmp_path, monkeypatch, capsys):
    folder, study = StudyFolder(tmp_path), tiny_study(seeds=1)
    left, made = [], []

    def leave_it_unmade():
        until = time.monotonic() + 60
        while not left and time.monotonic() < until:
            time.sleep(0.01)
        other.close()

    with contextlib.ExitStack() as other, ThreadPoolExecutor(1) as threads:
        assert other.enter_context(folder.claimed("shared", 0))
        cut_off = folder.place("shared", 0).with_name(".seed_0.1.part")  # by the other process, when it is killed
        cut_off.mkdir()
        ended = threads.submit(leave_it_unmade)
        monkeypatch.setattr("mtq.study.study.Progress.claimed_elsewhere", lambda self, job: left.append(job))
        monkeypatch.setattr("mtq.study.study.Progress.finished", lambda self, job, error: made.append((job, error)))
        assert study.run_shard(tmp_path, (1, 2), workers=1) is None
        ended.result()
    assert left == [("shared", 0)]
    assert made == [(("shared", 0), None)]
    said = capsys.readouterr().out
    assert "Waiting for runs of this shard that other processes are making: 1." in said
    assert "1 of 2 runs are missing" in said
    assert not cut_off.exists()
    with folder.claimed("shared", 0) as is_ours:
        assert not is_ours
    assert folder.has("shared", 0)


def test_waiting_for_another_process_can_be_given_up(tmp_path):
    folder, study = StudyFolder(tmp_path), tiny_study(seeds=1)
    work = RunMaker(study.tasks, study.arms, study.protocol, tiny_network, folder, waits=True)

    def give_up(epochs):
        raise Cancelled

    with folder.claimed("shared", 0), pytest.raises(Cancelled):
        work(Job("shared", 0), give_up)


def test_a_run_that_is_not_made_here_is_not_counted():
    progress = Progress(runs=3, epochs=10, shown=False)
    with progress:
        progress.at(Job("a", 0), 0)
        progress.claimed_elsewhere(Job("a", 0))
        progress.finished(Job("a", 1), None)
        bar = progress._bars.tasks[0]
        assert (bar.description, bar.completed, bar.total) == ("run 1 of 2", 10, 20)


def test_json_is_whole_though_several_write_it(tmp_path):
    values = [{"by": number, "what": "x" * 2_000} for number in range(8)]
    with ThreadPoolExecutor(8) as threads:
        list(threads.map(lambda value: write_json(tmp_path / "a.json", value), values * 20))
    assert json.loads((tmp_path / "a.json").read_text()) in values
    assert [path.name for path in tmp_path.iterdir()] == ["a.json"]


def test_a_run_that_cannot_be_put_in_its_place_is_not_passed_over(tmp_path, monkeypatch):
    record = RunRecord("shared", 0, np.zeros([2, 2]), None, {}, 1.0)
    network = tiny_network(chains(), mtq.study.Arm("shared"))

    def fail(*_):
        raise OSError("no such device")

    with monkeypatch.context() as broken:
        broken.setattr("mtq.study.running.record.os.replace", fail)
        with pytest.raises(OSError, match="no such device"):
            record.save(tmp_path / "seed_0", network)
    record.save(tmp_path / "seed_0", network)
    record.save(tmp_path / "seed_0", network)  # another was first
    assert [path.name for path in tmp_path.iterdir()] == ["seed_0"]


def test_shards_have_one_plan(tmp_path):
    StudyFolder(tmp_path).begin({**tiny_study()._plan(), "replicas": 1}, [])
    with StudyFolder(tmp_path).held((0, 2)):
        for other, what in ((tiny_study(seeds=3), "seeds"), (tiny_study(epochs=3), "protocol")):
            with pytest.raises(ValueError, match=f"the same {what}"):
                other.run_shard(tmp_path, (1, 2), verbose=0)


def test_shards_add_arms_to_a_study_that_has_others(tmp_path):
    before, more = [mtq.study.Arm(name, shared_layers=0) for name in ("separate", "again")]
    folder = StudyFolder(tmp_path)
    folder.begin({**tiny_study(arms=[before])._plan(), "replicas": 1}, [])
    (folder.place("separate", 0)).mkdir(parents=True)
    (folder.place("separate", 0) / "scores.json").touch()
    plan = {**tiny_study(arms=[more])._plan(), "reference": "separate", "replicas": 1}
    folder.begin(plan, [])
    folder.begin(plan, [], is_alone=False)  # the second shard of the same
    assert list(folder.plan["arms"]) == ["separate", "again"]
    with pytest.raises(ValueError, match="the same arms"):
        folder.begin({**plan, "arms": {}}, [], is_alone=False)


def test_batches_that_the_replicas_do_not_divide(tmp_path, replicas):
    with pytest.raises(ValueError, match="batch_size must be a multiple of the number of replicas"):
        tiny_study(batch_size=7).run(tmp_path / "study", strategy=replicas)
    assert not (tmp_path / "study").exists()


def test_random_scores_outlive_another_beginning_of_the_same_plan(tmp_path):
    folder = StudyFolder(tmp_path)
    folder.begin({"tasks": 1, "seeds": [0], "arms": {}}, [])
    (tmp_path / "random.json").write_text("{}")
    folder.begin({"tasks": 1, "seeds": [0], "arms": {}}, [])
    assert (tmp_path / "random.json").exists()
    folder.begin({"tasks": 2, "seeds": [0], "arms": {}}, [])
    assert not (tmp_path / "random.json").exists()


@pytest.mark.thorough
def test_runs_on_several_replicas(tmp_path, replicas):
    study = tiny_study(arms=[mtq.study.Arm("shared")], seeds=1)
    study.run(tmp_path / "study", strategy=replicas, verbose=0).write()
    with pytest.raises(ValueError, match="the same replicas"):
        study.run(tmp_path / "study", verbose=0)


@pytest.mark.thorough
def test_a_run_on_several_replicas_depends_on_its_seed_alone(replicas):
    protocol = tiny_study().protocol
    compiled = CompiledArm(chains(), mtq.study.Arm("shared"), protocol, tiny_network, replicas)
    first, _, again = (compiled.run(seed) for seed in (0, 1, 0))
    np.testing.assert_array_equal(first.cosines, again.cosines)
    np.testing.assert_array_equal(first.scores, again.scores)
    assert len(compiled.experience.replicas) == 2
    alone = CompiledArm(chains(), mtq.study.Arm("shared"), protocol, tiny_network).run(0)
    assert not np.array_equal(first.cosines, alone.cosines)


def test_where_a_command_line_says(monkeypatch):
    monkeypatch.delenv("TF_CONFIG", raising=False)
    assert where() == (None, (0, 1))
    assert where(shard="2/4") == (None, (2, 4))
    assert where("mirrored", 2)[0].num_replicas_in_sync == 2
    monkeypatch.setenv("TF_CONFIG", json.dumps(CLUSTER))
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "")
    both = where(devices=2)
    assert (both[0].num_replicas_in_sync, both[1]) == (2, (2, 3))
    assert where() == where("multi_worker") == (None, (2, 3))
    assert where(shard="0/9") == (None, (0, 9))
    assert where("mirrored", 2)[1] == where("cpu")[1] == (2, 3)


@pytest.mark.parametrize("text", ["4/4", "-1/4", "1", "1/2/3", "a/b", "1/0", ""])
def test_no_shard(text):
    with pytest.raises(ValueError, match="shard must be"):
        where(shard=text)


def test_what_cannot_be(tmp_path, replicas, monkeypatch):
    monkeypatch.delenv("TF_CONFIG", raising=False)
    with pytest.raises(ValueError, match="TF_CONFIG, or --shard"):
        where("multi_worker")
    with pytest.raises(ValueError, match="workers must be 1"):
        tiny_study().run(tmp_path, workers=2, strategy=replicas)
    with pytest.raises(ValueError, match="shard must be"):
        tiny_study().run_shard(tmp_path, (2, 2))
    with pytest.raises(ValueError, match="runs must be made on CPUs or GPUs"):
        where("tpu")


def test_the_cpu_alone(monkeypatch):
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "0")
    monkeypatch.setattr("mtq.study.running.placement.strategy_by_name", lambda name, devices: None)
    assert where("cpu") == (None, (0, 1))
    assert os.environ["CUDA_VISIBLE_DEVICES"] == "-1"
