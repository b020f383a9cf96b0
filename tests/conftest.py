import gc
import random
import sys

import keras
import numpy as np
import pytest
import tensorflow as tf

import mtq
from mtq.keras_internals import global_seed
from mtq.learning import model as model
from tests.toy_environments import Corridor, CountingEnvironment

LOGICAL_CPUS = 4  # for tests with several replicas; all other tests use the first

_cpu = tf.config.list_physical_devices("CPU")[0]
tf.config.set_logical_device_configuration(_cpu, [tf.config.LogicalDeviceConfiguration()] * LOGICAL_CPUS)


_is_optimized = [False]


def pytest_addoption(parser):
    parser.addoption(
        "--optimized",
        action="store_true",
        help="let TensorFlow optimize every test's graphs, as it does for users",
    )
    parser.addoption(
        "--without-tf-agents", action="store_true", help="use mtq's own interfaces, as if tf-agents were not installed"
    )


def pytest_configure(config):
    if config.getoption("--without-tf-agents"):
        assert "mtq.interfaces" not in sys.modules
        sys.modules["tf_agents"] = None  # its import then fails


def _optimize(is_optimized):
    _is_optimized[0] = is_optimized
    tf.config.optimizer.set_experimental_options({"disable_meta_optimizer": not is_optimized})


@pytest.fixture(autouse=True, scope="session")
def _xla_only_where_it_is_on():
    """Disables XLA, and `_optimized` Grappler, except in the tests that are marked for them.

    XLA takes ten seconds to compile a graph that a small test then runs for milliseconds, and Grappler takes a fifth of
    a test's time. Without them the graph computes the same. Tests that are marked `xla` check the optimized graphs;
    slow tests and subprocesses use both too, but not those of a product.
    """
    pays = model.xla_pays
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(model, "xla_pays", lambda network: _is_optimized[0] and pays(network))
        yield


@pytest.fixture(autouse=True)
def _optimized(request, _xla_only_where_it_is_on):
    marks = {mark.name for mark in request.node.iter_markers()}
    uses_all = "xla" in marks or ("slow" in marks and "product" not in marks)
    _optimize(request.config.getoption("--optimized") or uses_all)
    yield
    _optimize(request.config.getoption("--optimized"))


def pytest_collection_finish():
    """Makes garbage collection rarer.

    Tracing creates many long-lived objects. With Python's default settings, a tenth of the time is spent on collecting
    garbage. Imported objects are excluded from it, and the others are collected less often.
    """
    gc.collect()
    gc.freeze()
    gc.set_threshold(20_000, 10, 10)


def pytest_collection_modifyitems(items):
    """Checks that tests have the same names in every process. Otherwise pytest-xdist collects them and runs none."""
    unstable = [item.nodeid for item in items if " at 0x" in item.nodeid]
    if unstable:
        raise pytest.UsageError(f"Names of tests must not contain an address in memory. Received: {unstable}.")


@pytest.fixture(autouse=True)
def _seeded():
    """Seeds Python, NumPy and Keras, from which mtq takes all random numbers.

    `keras.utils.set_random_seed` seeds TensorFlow too, which clears its cache of kernels: a sixth of the tests' time.
    """
    random.seed(0)
    np.random.seed(0)
    with global_seed(0):
        yield


@pytest.fixture
def two_tasks():
    return mtq.TaskSet(
        [
            mtq.Task("corridor", Corridor, num_envs=2),
            mtq.Task("counting", CountingEnvironment, num_envs=2, discount=0.9),
        ]
    )


@pytest.fixture
def make_model(two_tasks):
    def make(tasks=two_tasks, seed=0, compile_options=None, **options):
        network = mtq.networks.shared_q_network(tasks, backbone=mtq.networks.mlp([16]), seed=seed)
        model = mtq.MultiTaskDQN(network, tasks, **options)
        model.compile(**{"optimizer": keras.optimizers.Adam(1e-3), **(compile_options or {})})
        return model

    return make
