"""A study's runs on several replicas, and shared out among processes."""

import mtq

# isort: split
import json

import numpy as np
import pytest

from mtq.study.folder import StudyFolder
from mtq.study.program import Program
from mtq.study.where import where
from tests.study.study_test import chains, rows, tiny_network, tiny_study

CLUSTER = {"cluster": {"chief": ["a:1"], "worker": ["b:1", "c:1"]}, "task": {"type": "worker", "index": 1}}


@pytest.fixture
def replicas():
    return mtq.distribution.strategy("mirrored", devices=2)


def test_shards_make_the_runs_of_one_process(tmp_path):
    tiny_study().run(tmp_path / "whole", workers=2, verbose=0).write()
    shared = tmp_path / "shared"
    assert tiny_study().run_shard(shared, (1, 2), workers=2, verbose=0) is None
    assert StudyFolder(shared).seeds("shared") == [0, 1]
    assert StudyFolder(shared).seeds("separate") == []
    tiny_study().run_shard(shared, (0, 2), workers=2, verbose=0).write()
    assert rows(shared) == rows(tmp_path / "whole")


@pytest.mark.parametrize("number", [1, 2, 3, 7])
def test_each_run_is_of_one_shard(number):
    study = tiny_study(seeds=3)
    shards = [study._jobs((index, number)) for index in range(number)]
    assert [job for jobs in shards for job in jobs] == study._jobs((0, 1))
    assert len(study._jobs((0, 1))) == 6


def test_shards_hold_the_folder_against_the_whole_and_themselves(tmp_path):
    folder = StudyFolder(tmp_path)
    with folder.locked((0, 2)), folder.locked((1, 2)):
        for taken in ((0, 1), (1, 2)):
            with pytest.raises(ValueError, match="must not be in use"), folder.locked(taken):
                pass
    with folder.locked(), pytest.raises(ValueError, match="must not be in use"), folder.locked((0, 2)):
        pass


def test_random_scores_outlive_another_beginning_of_the_same_plan(tmp_path):
    folder = StudyFolder(tmp_path)
    folder.begin({"tasks": 1, "seeds": [0], "arms": {}}, [])
    (tmp_path / "random.json").write_text("{}")
    folder.begin({"tasks": 1, "seeds": [0], "arms": {}}, [])
    assert (tmp_path / "random.json").exists()
    folder.begin({"tasks": 2, "seeds": [0], "arms": {}}, [])
    assert not (tmp_path / "random.json").exists()


def test_runs_on_several_replicas(tmp_path, replicas):
    tiny_study(seeds=1).run(tmp_path / "study", strategy=replicas, verbose=0).write()
    with pytest.raises(ValueError, match="another replicas"):
        tiny_study(seeds=1).run(tmp_path / "study", verbose=0)


def test_a_run_on_several_replicas_depends_on_its_seed_alone(replicas):
    protocol = tiny_study().protocol
    program = Program(chains(), mtq.study.Arm("shared"), protocol, tiny_network, replicas)
    first, _, again = (program.run(seed) for seed in (0, 1, 0))
    np.testing.assert_array_equal(first.cosines, again.cosines)
    np.testing.assert_array_equal(first.scores, again.scores)
    assert len(program.experience.shards) == 2
    alone = Program(chains(), mtq.study.Arm("shared"), protocol, tiny_network).run(0)
    assert not np.array_equal(first.cosines, alone.cosines)


def test_where_a_command_line_says(monkeypatch):
    monkeypatch.delenv("TF_CONFIG", raising=False)
    assert where() == (None, (0, 1))
    assert where(shard="2/4") == (None, (2, 4))
    assert where("mirrored", 2)[0].num_replicas_in_sync == 2
    monkeypatch.setenv("TF_CONFIG", json.dumps(CLUSTER))
    assert where() == where("multi_worker") == (None, (2, 3))
    assert where(shard="0/9") == (None, (0, 9))
    assert where("mirrored", 2)[1] == (0, 1)


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
