import mtq

# isort: split
import keras
import pytest
import tensorflow as tf

from tests.environments import Corridor, CountingEnvironment

LOGICAL_CPUS = 4  # for tests with several replicas; all else takes place on the first

_cpu = tf.config.list_physical_devices("CPU")[0]
tf.config.set_logical_device_configuration(_cpu, [tf.config.LogicalDeviceConfiguration()] * LOGICAL_CPUS)


def pytest_collection_modifyitems(items):
    """The names of the tests are the same in every process, or pytest-xdist collects them and runs none."""
    of_one_process = [item.nodeid for item in items if " at 0x" in item.nodeid]
    if of_one_process:
        raise pytest.UsageError(f"tests named by an address in memory: {of_one_process}")


@pytest.fixture(autouse=True)
def _seeded():
    keras.utils.set_random_seed(0)


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
