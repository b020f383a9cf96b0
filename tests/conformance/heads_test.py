"""Tests of every head with every aggregator: plain, with prioritized replay, and with each return scaling that fits.

One representative of each way is tested by default or as `thorough`, the others by `make test-product`.
"""

import functools
import itertools

import keras
import numpy as np
import pytest
import tensorflow as tf

import mtq
from mtq.runs.checkpoint import Checkpoint
from mtq.value_learning import with_fields
from tests.batches import random_batch

WAYS = ("plain", "prioritized", "popart", "running")
HEADS = {name: {"heads": name} for name in mtq.heads.names()}
HEADS |= {f"{name}, dueling": {"heads": name, "dueling": True} for name in mtq.heads.names()}
HEADS |= {f"{name}, noisy": {"heads": name, "noisy": True} for name in mtq.heads.names()}
DOES_NOT_FIT = {("popart", "categorical"), ("popart", "hl_gauss")}  # not linear in their outputs: refused by name
BY_DEFAULT = {("scalar", "normalized_sum", "popart"), ("categorical, dueling", "upgrad", "prioritized")}
THOROUGH = {("hl_gauss", "normalized_sum", "running"), ("quantile, noisy", "pcgrad", "plain")}
REST = (pytest.mark.slow, pytest.mark.product)  # run by `make test-product`
PRODUCT = [
    case
    for case in itertools.product(HEADS, mtq.aggregators.names(), WAYS)
    if (case[2], case[0].partition(",")[0]) not in DOES_NOT_FIT
]


def marks_of(case):
    return () if case in BY_DEFAULT else pytest.mark.thorough if case in THOROUGH else REST


def of_product():
    cases = [pytest.param(*case, id=", ".join(case), marks=marks_of(case)) for case in PRODUCT]
    return pytest.mark.parametrize(("head", "aggregator", "way"), cases)


def make_tasks():
    names = {"chain": "Chain", "catch": "Catch"}
    return mtq.TaskSet([mtq.Task(name, f"in_graph/{env}", num_envs=2) for name, env in names.items()])


def make_model(head, aggregator, way, seed=0, tasks=None, **options):
    tasks = tasks or make_tasks()
    scaling = way if way in ("popart", "running") else None
    network = mtq.networks.shared_q_network(
        tasks, mtq.networks.mlp([16]), **HEADS[head], return_scaling=scaling, seed=seed
    )
    model = mtq.MultiTaskDQN(network, tasks, target_update_period=7, double=True)
    model.compile(**{"optimizer": keras.optimizers.Adam(1e-2), "aggregator": aggregator, **options})
    return model


def make_experience(model, way, seed=0):
    sampler = "prioritized" if way == "prioritized" else None
    return mtq.Experience(
        model, warmup_steps=60, steps_per_update=4, replay_capacity=1_000, n_step=2, seed=seed, sampler=sampler
    )


@pytest.mark.xla
@pytest.mark.thorough
@of_product()
def test_it_trains_in_one_trace_of_xla(head, aggregator, way, monkeypatch):
    model, traces = make_model(head, aggregator, way, steps_per_execution=50), []
    learn = type(model).learn
    monkeypatch.setattr(type(model), "learn", lambda self, batch: (traces.append(1), learn(self, batch))[1])
    batches = make_experience(model, way).batches(16)
    logs = model.fit(batches, epochs=16, steps_per_epoch=100, verbose=0).history
    assert len(traces) == 1
    assert model.uses_xla
    played = mtq.evaluation.evaluate(model, episodes=100)
    random = mtq.evaluation.evaluate_random(model.tasks, episodes=100)
    assert all(np.isfinite(values).all() for values in logs.values())
    assert played["catch"].mean > random["catch"].mean + 0.3, (played["catch"].mean, random["catch"].mean)


@of_product()
def test_files_and_checkpoints_round_trip_to_the_bit(head, aggregator, way, tmp_path):
    model = make_model(head, aggregator, way)
    experience = make_experience(model, way)
    model.fit(experience.batches(8), epochs=1, steps_per_epoch=6, verbose=0)
    Checkpoint(tmp_path / "checkpoint", model, experience).save(1, {})
    model.save(tmp_path / "model.keras")
    loaded = keras.models.load_model(tmp_path / "model.keras")
    for one, other in zip(model.weights, loaded.weights, strict=True):
        np.testing.assert_array_equal(one, other)
    other = make_model(head, aggregator, way, seed=1)
    other_experience = make_experience(other, way, seed=1)
    Checkpoint(tmp_path / "checkpoint", other, other_experience).load()
    logs = [
        each.fit(of.batches(8), initial_epoch=1, epochs=2, steps_per_epoch=6, verbose=0).history
        for each, of in ((model, experience), (other, other_experience))
    ]
    assert logs[0] == logs[1]
    for one, two in zip(model.weights, other.weights, strict=True):
        np.testing.assert_array_equal(one, two)


@functools.cache
def trained_on_replicas(head, aggregator, way, replicas):
    tasks = make_tasks()
    with tf.distribute.MirroredStrategy([f"/cpu:{n}" for n in range(replicas)]).scope():
        # With a smaller epsilon Adam divides gradients that are almost 0, and their rounding errors, by their size.
        adam = keras.optimizers.Adam(1e-2, epsilon=1e-3)
        model = make_model(head, aggregator, way, tasks=tasks, optimizer=adam)
    batches = [further(random_batch(tasks, 16, seed), way) for seed in range(10)]
    joined = tf.nest.map_structure(lambda *rows: tf.concat(rows, 0), *batches)
    model.fit(tf.data.Dataset.from_tensor_slices(joined).batch(16), verbose=0)
    return [np.array(variable) for variable in [*model.network.weights, *model.target_network.weights]]


def further(batch, way):
    fields = {"prioritized": "weight", "running": "running_return"}
    if way not in fields:
        return batch
    return {name: with_fields(rows, **{fields[way]: tf.abs(rows.reward) + 0.1}) for name, rows in batch.items()}


@of_product()
def test_two_replicas_learn_as_one(head, aggregator, way):
    one, two = (trained_on_replicas(head, aggregator, way, replicas) for replicas in (1, 2))
    for expected, received in zip(one, two, strict=True):
        np.testing.assert_allclose(received, expected, rtol=0, atol=1e-5)


@pytest.mark.parametrize(("scaling", "head"), sorted(DOES_NOT_FIT))
def test_what_does_not_fit_is_refused(head, scaling):
    with pytest.raises(ValueError, match=r"return_scaling of \w+ must be 'running' or None, because PopArt preserves"):
        mtq.networks.shared_q_network(make_tasks(), mtq.networks.mlp([4]), heads=head, return_scaling=scaling)
