"""Requests of another shape or type than an export's signature: refused, in every way of asking, by a live process."""

import json
import subprocess
import sys

import gymnasium
import numpy as np
import pytest

import mtq

# In TensorFlow alone; each request is tried as Python asks, and as TensorFlow's C API does, which checks no shapes.
ASK = """
import itertools, json, sys
import numpy as np
import tensorflow as tf
from tensorflow.python.client import pywrap_tf_session


def check(path, specs):
    loaded, answered = tf.saved_model.load(path), []

    def requests(shape, dtype):
        rows = [2, *shape]
        shapes = [rows[1:], rows[2:], [], [2], [1, *rows], [*rows, 1]]
        for axis, more in itertools.product(range(1, len(rows)), (1, -1, 3)):
            shapes.append([*rows[:axis], rows[axis] + more, *rows[axis + 1 :]])
        shapes += [list(permuted) for permuted in itertools.permutations(rows) if list(permuted)[1:] != rows[1:]]
        for wrong in shapes:
            if len(wrong) != len(rows) or wrong[1:] != rows[1:]:
                yield np.zeros(wrong, dtype)
        for other in ("float64", "float32", "uint8", "int32", "int64", "bool", "complex64", "float16", "S3"):
            if other != dtype:
                yield np.zeros(rows, other)

    def good(name, rows=2):
        return np.ones([rows, *specs[name][0]], specs[name][1])

    def told(signature, feeds):
        return [signature, {key: [list(value.shape), str(value.dtype)] for key, value in feeds.items()}]

    def try_python(signature, feeds):
        try:
            loaded.signatures[signature](**{key: tf.constant(value) for key, value in feeds.items()})
        except Exception:
            return
        answered.append(["python", *told(signature, feeds)])

    bad = [(name, {"observation": value}) for name, spec in specs.items() for value in requests(*spec)]
    bad += [(name, feeds) for name in specs for feeds in ({}, {"x": good(name)}, {name: good(name)})]
    every, all_tasks = {name: good(name) for name in specs}, "serving_default"
    bad += [(all_tasks, {**every, name: value}) for name, spec in specs.items() for value in requests(*spec)]
    bad += [(all_tasks, {key: value for key, value in every.items() if key != name}) for name in specs]
    for signature, feeds in bad:
        try_python(signature, feeds)

    fine = [(name, {"observation": good(name, rows)}) for name in specs for rows in (0, 1, 2, 300)]
    fine += [("serving_default", {name: good(name, rows) for name in specs}) for rows in (0, 1, 5)]
    fine += [(all_tasks, {**every, name: good(name, rows)}) for name in specs for rows in (0, 1, 3)]
    fine += [(name, {"observation": good(name) * np.nan}) for name, spec in specs.items() if spec[1] == "float32"]
    of_python = [
        {key: value.numpy().tolist() for key, value in
         loaded.signatures[signature](**{key: tf.constant(value) for key, value in feeds.items()}).items()}
        for signature, feeds in fine
    ]

    with tf.Graph().as_default() as graph, tf.compat.v1.Session(graph=graph) as session:
        signatures = tf.compat.v1.saved_model.load(session, ["serve"], path).signature_def
        session._extend_graph()

        def run(signature, feeds):
            inputs, outputs = signatures[signature].inputs, signatures[signature].outputs
            place = lambda info: graph.as_graph_element(info.name)._as_tf_output()
            names = sorted(outputs)
            values = pywrap_tf_session.TF_SessionRun_wrapper(
                session._session, None, {place(inputs[key]): value for key, value in feeds.items()},
                [place(outputs[name]) for name in names], [], None)
            return {name: value.tolist() for name, value in zip(names, values)}

        for signature, feeds in bad:
            try:
                run(signature, feeds)
            except Exception:
                continue
            answered.append(["C API", *told(signature, feeds)])
        close = lambda one, other: np.allclose(one, other, 1e-5, 1e-6, equal_nan=True)
        both = [(run(signature, feeds), expected) for (signature, feeds), expected in zip(fine, of_python)]
        same = [one.keys() == other.keys() and all(close(one[key], other[key]) for key in one) for one, other in both]

    shapes = {key: [list(spec.shape), spec.dtype.name] for name in specs
              for key, spec in {name: loaded.signatures[name].structured_input_signature[1]["observation"]}.items()}
    return {"tried": len(bad), "answered": answered, "same": same, "shapes": shapes}


print(json.dumps([check(*export) for export in json.loads(sys.argv[1])]))
"""


def task(name, shape, dtype, high):
    class Still(gymnasium.Env):
        observation_space = gymnasium.spaces.Box(0, high, shape, dtype)
        action_space = gymnasium.spaces.Discrete(3)

        def reset(self, *, seed=None, options=None):
            return np.zeros(shape, dtype), {}

    return mtq.Task(name, Still)


CASES = {
    "images": lambda: ([task(n, (10, 10, 4), np.uint8, 255) for n in ("one", "two")], mtq.networks.minatar_cnn()),
    "vectors": lambda: ([task("four", (4,), np.float32, 1), task("six", (6,), np.float32, 1)], mtq.networks.mlp([8])),
}


@pytest.mark.thorough
def test_requests_that_do_not_fit_are_refused_and_the_process_lives(tmp_path):
    exports = []
    for case, make in CASES.items():
        tasks, backbone = make()
        tasks = mtq.TaskSet(tasks)
        mtq.MultiTaskDQN(mtq.networks.shared_q_network(tasks, backbone), tasks).export(tmp_path / case)
        specs = {name: [list(one.spec.observation_shape), one.spec.observation_dtype] for name, one in tasks.items()}
        exports.append((str(tmp_path / case), specs))
    command = [sys.executable, "-c", ASK, json.dumps(exports)]
    result = subprocess.run(command, capture_output=True, text=True, check=False)
    assert result.returncode == 0, f"the process died with {result.returncode}: {result.stderr[-2000:]}"
    for (_, specs), found in zip(exports, json.loads(result.stdout.splitlines()[-1]), strict=True):
        assert found["answered"] == []
        assert found["tried"] > 70
        assert all(found["same"])
        assert len(found["same"]) >= 11
        assert found["shapes"] == {name: [[None, *shape], dtype] for name, (shape, dtype) in specs.items()}
