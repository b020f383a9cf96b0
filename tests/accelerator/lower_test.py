"""The programs that JAX runs elsewhere: their counters, and what is carried from one call to the next."""

import numpy as np
import pytest
from tensorflow.compiler.xla.service.hlo_pb2 import HloModuleProto

import mtq
from tests.accelerator.lower import made, write


@pytest.mark.thorough
@pytest.mark.xla
def test_a_program_carries_all_that_it_changes(tmp_path):
    tasks = mtq.TaskSet([mtq.Task(name, "in_graph/Chain", num_envs=4) for name in ("first", "second")])
    entry = write(tmp_path, 0, "chain", lambda for_cpu: made(tasks, mtq.networks.mlp([4]), 1e-3, 400, for_cpu, 3), True)
    with np.load(tmp_path / "0.npz") as saved:
        values = [saved[name] for name in saved.files]
    shape = HloModuleProto.FromString((tmp_path / "0.hlo").read_bytes()).host_program_shape
    parameters, results = shape.parameters, shape.result.tuple_shapes
    assert [tuple(parameter.dimensions) for parameter in parameters] == [value.shape for value in values]
    carried = dict(entry["carried"])
    assert len(set(carried.values())) == len(carried)
    for output, parameter in carried.items():
        assert results[output] == parameters[parameter]
    counters = [*entry["step_counters"], entry["update_counter"]]
    assert set(counters) <= set(carried.values())
    assert [int(values[index]) for index in counters] == [1_000, 1_000, 0]
    sizes = sorted(value.size for index, value in enumerate(values) if index in carried.values())
    assert sizes[-1] >= 400  # the replays
