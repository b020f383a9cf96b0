"""What `TF_CONFIG` may be, and what is said where it is not."""

import json
import re

import pytest

import mtq

WORKERS = ["10.0.0.1:2222", "10.0.0.2:2222"]


def text(cluster, task):
    return json.dumps({"cluster": cluster, "task": task})


def test_workers_and_chief():
    read, Cluster = mtq.distribution.read_tf_config, mtq.distribution.Cluster
    assert read("") is None
    assert read(text({"worker": WORKERS}, {"type": "worker", "index": 1})) == Cluster(tuple(WORKERS), 1, {"worker": 2})
    with_chief = {"chief": ["10.0.0.9:1"], "worker": WORKERS}
    assert read(text(with_chief, {"type": "chief", "index": 0})) == Cluster(
        ("10.0.0.9:1", *WORKERS), 0, {"chief": 1, "worker": 2}
    )
    assert read(text(with_chief, {"type": "worker", "index": 0})).index == 1


@pytest.mark.parametrize(
    ("config", "message"),
    [
        ("{'cluster': 1}", "TF_CONFIG must be JSON. Received"),
        ("[1]", "TF_CONFIG must have a 'cluster'"),
        ('{"task": {"type": "worker", "index": 0}}', "TF_CONFIG must have a 'cluster'"),
        (json.dumps({"cluster": {"worker": WORKERS}}), "TF_CONFIG must have a 'task'"),
        (text({}, {"type": "worker", "index": 0}), "cluster of TF_CONFIG must name workers"),
        (text({"worker": "a:1"}, {"type": "worker", "index": 0}), "must be a list of host:port"),
        (text({"worker": WORKERS}, {"type": "worker", "index": 2}), "task of TF_CONFIG must identify this process"),
        (text({"worker": WORKERS}, {"type": "ps", "index": 0}), "task of TF_CONFIG must identify this process"),
        (text({"worker": WORKERS}, {"type": "worker"}), "task of TF_CONFIG must identify this process"),
    ],
)
def test_what_is_wrong_is_said_with_an_example(config, message):
    with pytest.raises(ValueError, match=re.escape(message)) as error:
        mtq.distribution.read_tf_config(config)
    assert "Received: " in str(error.value)
    assert '{"cluster": {"worker"' in str(error.value)
