"""Batches of a dataset of one's own: bad ones are refused by an error that names task and field."""

import functools

import keras
import numpy as np
import pytest
import tensorflow as tf

import mtq
from tests.batches import random_batch
from tests.toy_environments import Corridor, CountingEnvironment

B = 8
BAD_VALUES = {
    "action": [np.full(B, 5, np.int32), np.full(B, -1, np.int32), np.full(B, 2**31 - 1, np.int32)],
    "reward": [np.full(B, np.nan, np.float32), np.full(B, np.inf, np.float32)],
    "discount": [np.full(B, 1.5, np.float32), np.full(B, -0.1, np.float32), np.full(B, np.nan, np.float32)],
    "observation": [np.full((B, 3), np.nan, np.float32)],
    "next_observation": [np.full((B, 3), -np.inf, np.float32)],
}
BAD_TYPES = {
    "action": [np.zeros(B, np.float32), np.zeros((B, 1), np.int32), np.zeros(B + 1, np.int32), np.array(["0"] * B)],
    "reward": [np.zeros((B, 1), np.float32), np.float32(0), np.array(["0"] * B), np.zeros(B, bool)],
    "discount": [np.zeros((B, 2), np.float32), np.zeros(B - 1, np.float32)],
    "observation": [np.zeros((B, 4), np.float32), np.zeros(B, np.float32), np.zeros((B, 3), complex)],
    "next_observation": [np.zeros((B, 3, 1), np.float32), np.zeros((2 * B, 3), np.float32)],
}


def flat(bad):
    return [(role, number) for role, values in bad.items() for number in range(len(values))]


def with_field(tasks, role, value):
    batch = random_batch(tasks, B)
    return {**batch, "corridor": batch["corridor"]._replace(**{role: value})}


def ways(model, batch):
    dataset = tf.data.Dataset.from_tensors(batch).repeat(4)
    unknown = tf.data.Dataset.from_generator(
        lambda: iter(dataset),
        output_signature=tf.nest.map_structure(lambda t: tf.TensorSpec([None, *t.shape[1:]], t.dtype), batch),
    )
    return {
        "fit": lambda: model.fit(dataset, verbose=0),
        "unknown": lambda: model.fit(unknown, verbose=0),
        "train_on_batch": lambda: model.train_on_batch(batch),
    }


@pytest.fixture(scope="module")
def make_once():
    """One model for each way of compiling, which is traced once for batches of the same shape."""
    tasks = mtq.TaskSet(
        [mtq.Task("corridor", Corridor, num_envs=2), mtq.Task("counting", CountingEnvironment, num_envs=2)]
    )

    @functools.cache
    def make(**options):
        network = mtq.networks.shared_q_network(tasks, mtq.networks.mlp([4]), seed=0)
        model = mtq.MultiTaskDQN(network, tasks)
        model.compile(keras.optimizers.Adam(1e-3), **options)
        return model

    return make


@pytest.fixture
def unchanged(make_once):
    """A model, which must not have learnt anything when the test ends."""

    def make(**options):
        model = make_once(**options)
        before[0:] = [(model, model.network.get_weights())]
        return model

    before = []
    yield make
    for model, weights in before:
        assert all(np.array_equal(a, b) for a, b in zip(weights, model.network.get_weights(), strict=True))


@pytest.mark.parametrize(("role", "number"), flat(BAD_VALUES))
def test_values_out_of_range(two_tasks, unchanged, role, number):
    batch = with_field(two_tasks, role, tf.constant(BAD_VALUES[role][number]))
    way = ("train_on_batch", "train_on_batch", "unknown")[number]
    with pytest.raises(ValueError, match=rf"^The {role} of a batch of task 'corridor' must be .* Received: ") as caught:
        ways(unchanged(), batch)[way]()
    assert len(str(caught.value).splitlines()) == 1


@pytest.mark.parametrize(
    "options",
    [
        {"run_eagerly": True},
        {"steps_per_execution": 2},
        pytest.param({"jit_compile": True}, marks=pytest.mark.slow),
    ],
)
def test_values_out_of_range_however_it_is_compiled(two_tasks, unchanged, options):
    batch = with_field(two_tasks, "action", tf.fill([B], 2))
    model = unchanged(**options)
    with pytest.raises(ValueError, match=r"The action of .* must be from 0 to 1\. Received: from 2 to 2"):
        ways(model, batch)["fit"]()


@pytest.mark.thorough
def test_values_out_of_range_on_several_replicas(two_tasks):
    strategy = tf.distribute.MirroredStrategy(["CPU:0", "CPU:1"])
    with strategy.scope():
        network = mtq.networks.shared_q_network(two_tasks, mtq.networks.mlp([4]), seed=0)
        model = mtq.MultiTaskDQN(network, two_tasks)
        model.compile(keras.optimizers.SGD(0.1))
    rows = np.zeros(B, np.int32)
    rows[-1] = 2  # of the second replica
    batch = with_field(two_tasks, "action", tf.constant(rows))
    with pytest.raises(ValueError, match=r"The action of a batch of task 'corridor' must be from 0 to 1\."):
        model.fit(tf.data.Dataset.from_tensor_slices(batch).batch(B).repeat(4), verbose=0)


@pytest.mark.parametrize(("role", "number"), flat(BAD_TYPES))
def test_types_and_shapes(two_tasks, unchanged, role, number):
    batch = with_field(two_tasks, role, BAD_TYPES[role][number])
    with pytest.raises(ValueError, match=r"of a batch of task 'corridor' must .*Received: "):
        unchanged(run_eagerly=True).train_on_batch(batch)


@pytest.mark.parametrize("given", [None, (), [1, 2, 3, 4, 5], "abcde"])
def test_what_is_no_transition(two_tasks, make_model, given):
    with pytest.raises(
        ValueError, match=r"must hold a Transition for task 'corridor'\. Received: .*Make mtq.Transition"
    ):
        make_model().train_step({**random_batch(two_tasks), "corridor": given})


def test_numbers_of_other_types_are_understood(two_tasks, make_model):
    batch, model, other = random_batch(two_tasks), make_model(), make_model()
    wide = {
        name: mtq.Transition(*(field.numpy().astype("int64" if n == 1 else "float64") for n, field in enumerate(given)))
        for name, given in batch.items()
    }
    model.train_on_batch(batch)
    other.train_on_batch(wide)
    for a, b in zip(model.network.get_weights(), other.network.get_weights(), strict=True):
        np.testing.assert_array_equal(a, b)


def test_the_experience_of_another_model(two_tasks, make_model, tmp_path):
    old = make_model()
    experience = mtq.Experience(two_tasks, old, warmup_steps=8)
    old.save(tmp_path / "model.keras")
    loaded = keras.models.load_model(tmp_path / "model.keras")
    dataset = experience.dataset(4)
    for batches in (dataset, dataset.take(3), dataset.map(lambda batch: batch).prefetch(1)):
        with pytest.raises(ValueError, match=r"Experience made with the model that is fitted.*Received: .*load_model"):
            loaded.fit(batches, steps_per_epoch=2, verbose=0)
    old.fit(dataset.take(3), verbose=0)


@pytest.mark.parametrize("high", [None, 255.0])
def test_bytes_with_and_without_an_upper_bound(high):
    spec = mtq.tasks.TaskSpec((3,), "uint8", high, 2)
    tasks = mtq.TaskSet([mtq.Task("corridor", None, spec=spec)])
    model = mtq.MultiTaskDQN(mtq.networks.shared_q_network(tasks, mtq.networks.mlp([4])), tasks)
    model.compile("adam")
    observations = np.array([[0, 100, 255]] * B, np.uint8)
    batch = {
        "corridor": random_batch(tasks, B)["corridor"]._replace(observation=observations, next_observation=observations)
    }
    for way in ("fit", "train_on_batch"):
        ways(model, batch)[way]()
    assert int(model.updates) == 5
