"""Several processes on loopback are one run: through the command line, killed, stalled and resumed."""

import signal
import time

import numpy as np
import pytest

import mtq
from tests.distribution.processes import free_ports, log, start, start_workers, wait, wait_for, weights

pytestmark = pytest.mark.slow
assert mtq

CLASSIC = "in_graph/CartPole,in_graph/Acrobot,in_graph/MountainCar,in_graph/CarOnHill,in_graph/InvertedPendulum"
SECONDS = 900
BOUND = 90  # seconds until the others know that one is lost


def arguments(out, *more):
    options = ["--tasks", CLASSIC, "--steps", "2400", "--evaluations", "3", "--episodes", "1", "--num-envs", "2"]
    options += ["--steps-per-update", "12", "--batch-size", "48", "--warmup-steps", "240", "--replay-capacity", "4800"]
    return ["train", *options, "--out", str(out), *more]


def assert_same(one, other, tolerance=0.0):
    assert set(one) == set(other)
    for name in one:
        np.testing.assert_allclose(one[name], other[name], rtol=0, atol=tolerance)


@pytest.fixture(scope="module", params=[2, 3])
def number(request):
    return request.param


@pytest.fixture(scope="module")
def in_one_process(number, tmp_path_factory):
    folder = tmp_path_factory.mktemp("one")
    alone = start(arguments(folder / "run", "--strategy", "mirrored", "--devices", str(number)), folder / "log")
    assert wait([alone], SECONDS) == [0], (folder / "log").read_text()
    return folder / "run"


@pytest.fixture(scope="module")
def undisturbed(number, tmp_path_factory):
    folder = tmp_path_factory.mktemp("several")
    codes = wait(start_workers(number, arguments(folder / "run"), folder), SECONDS)
    assert codes == [0] * number, log(folder, 0)
    return folder / "run"


def test_processes_end_where_one_does(undisturbed, in_one_process):
    """That all processes hold the same weights is checked by every checkpoint they write."""
    assert_same(weights(undisturbed), weights(in_one_process), 1e-5)


@pytest.mark.parametrize(
    ("kind", "victim"),
    [
        pytest.param(signal.SIGKILL, -1, id="killed"),
        pytest.param(signal.SIGSTOP, -1, id="stalled"),
        pytest.param(signal.SIGKILL, 0, id="chief_killed"),
        pytest.param(signal.SIGSTOP, 0, id="chief_stalled"),
    ],
)
def test_one_is_lost_and_the_run_resumes(number, tmp_path, undisturbed, kind, victim):
    run = tmp_path / "run"
    processes = start_workers(number, arguments(run), tmp_path)
    wait_for(run / "checkpoint" / "epoch_00001", SECONDS)
    lost = processes.pop(victim)
    lost.send_signal(kind)
    began = time.monotonic()
    codes = wait(processes, BOUND)
    assert time.monotonic() - began < BOUND
    lost.kill()
    lost.wait()
    said = log(tmp_path, 1 if victim == 0 else 0)
    assert codes == [3] * (number - 1), said
    assert "Another process of this run was lost" in said
    assert "--resume" in said
    whole = [path.name for path in (run / "checkpoint").glob("epoch_*")]
    assert whole in (["epoch_00001"], ["epoch_00002"])

    again = start_workers(number, arguments(run, "--resume"), tmp_path)
    assert wait(again, SECONDS) == [0] * number, log(tmp_path, 0)
    assert_same(weights(run), weights(undisturbed), 1e-5)
    epochs = [row.split(",")[0] for row in (run / "log.csv").read_text().splitlines()]
    assert epochs == ["epoch", "0", "1", "2"]


def test_one_that_never_starts(tmp_path):
    workers = [f"127.0.0.1:{port}" for port in free_ports(2)]
    tf_config = {"cluster": {"worker": workers}, "task": {"type": "worker", "index": 0}}
    options = ["--strategy", "multi_worker", "--startup-timeout", "5"]
    alone = start(arguments(tmp_path / "run", *options), tmp_path / "worker_0.log", tf_config)
    assert wait([alone], BOUND) == [3], log(tmp_path, 0)
    assert "it died, did not start, or could not be reached" in log(tmp_path, 0)
    assert not (tmp_path / "run").exists()


def test_a_run_of_one_worker(tmp_path):
    tf_config = {"cluster": {"worker": [f"127.0.0.1:{free_ports(1)[0]}"]}, "task": {"type": "worker", "index": 0}}
    alone = start(arguments(tmp_path / "run", "--strategy", "multi_worker"), tmp_path / "worker_0.log", tf_config)
    plain = start(arguments(tmp_path / "plain", "--strategy", "cpu"), tmp_path / "plain.log")
    assert wait([alone, plain], SECONDS) == [0, 0], log(tmp_path, 0)
    assert_same(weights(tmp_path / "run"), weights(tmp_path / "plain"), 1e-5)
