"""Tests of every aggregator and weighting with N replicas, which learn the same as one replica on the whole batch."""

import functools

import keras
import numpy as np
import pytest
import tensorflow as tf

import mtq
from tests.batches import random_batch
from tests.toy_environments import Corridor, CountingEnvironment

UPDATES, ROWS = 20, 8
WAYS = {
    **{f"{name}": {"aggregator": name} for name in mtq.aggregators.names()},
    **{f"{name} with sum": {"loss_weights": name, "aggregator": "sum"} for name in mtq.weightings.names()},
    **{f"{name} with upgrad": {"loss_weights": name, "aggregator": "upgrad"} for name in mtq.weightings.names()},
    "schedule": {
        "loss_weights": {"corridor": keras.optimizers.schedules.PolynomialDecay(1.0, 10, 0.1), "counting": 2.0},
        "aggregator": "mean",
    },
}


def make_tasks():
    return mtq.TaskSet(
        [
            mtq.Task("corridor", Corridor, reference_return=1.0),
            mtq.Task("counting", CountingEnvironment, reference_return=10.0, discount=0.9),
        ]
    )


def learn(replicas, options, make_backbone=lambda: mtq.networks.mlp([16]), **model_options):
    """The variables of the network, its target and the optimizer after some updates, and the logs."""
    tasks = make_tasks()
    strategy = tf.distribute.MirroredStrategy([f"/cpu:{n}" for n in range(replicas)])
    with strategy.scope():
        network = mtq.networks.shared_q_network(tasks, backbone=make_backbone(), seed=3)
        model = mtq.MultiTaskDQN(network, tasks, **{"target_update_period": 7, **model_options})
        model.compile(**{"optimizer": keras.optimizers.Adam(1e-3), **options})
    batches = [random_batch(tasks, ROWS, seed) for seed in range(UPDATES)]
    joined = tf.nest.map_structure(lambda *rows: tf.concat(rows, 0), *batches)
    dataset = tf.data.Dataset.from_tensor_slices(joined).batch(ROWS, drop_remainder=True).repeat()
    returns = keras.callbacks.LambdaCallback(
        on_epoch_end=lambda epoch, logs: logs.update({f"{name}/return": float(epoch) for name in tasks})
    )
    model.fit(dataset, epochs=2, steps_per_epoch=UPDATES // 2, verbose=0, callbacks=[returns])
    variables = [*model.network.variables, *model.target_network.variables, *model.optimizer.variables]
    copies = [[np.array(copy) for copy in strategy.experimental_local_results(v.value)] for v in variables]
    assert all(len(of_variable) == replicas for of_variable in copies)
    for of_variable in copies:
        for copy in of_variable[1:]:
            np.testing.assert_array_equal(copy, of_variable[0])
    return [of_variable[0] for of_variable in copies], model.history.history


@functools.cache
def alone(way):
    return learn(1, WAYS[way])


BY_DEFAULT = {("normalized_sum", 2), ("famo with sum", 2), ("upgrad", 2)}  # the others take minutes


@pytest.mark.thorough
@pytest.mark.parametrize(
    ("way", "replicas"),
    [
        pytest.param(way, replicas, marks=() if (way, replicas) in BY_DEFAULT else pytest.mark.slow)
        for way in WAYS
        for replicas in (2, 4)
    ],
)
def test_as_one_replica_on_the_whole_batch(way, replicas):
    weights, logs = learn(replicas, WAYS[way])
    expected, expected_logs = alone(way)
    for one, other in zip(weights, expected, strict=True):
        np.testing.assert_allclose(one, other, rtol=0, atol=1e-5)
    for name, values in logs.items():
        if name.endswith("gradient_norm") and WAYS[way].get("aggregator") in ("sum", "mean"):
            # Each replica combines its own gradients. The mean of norms is at least the norm of the mean.
            assert np.all(np.array(values) >= np.array(expected_logs[name]) * (1 - 1e-4)), name
        else:
            np.testing.assert_allclose(values, expected_logs[name], rtol=1e-4, atol=1e-6, err_msg=name)


@pytest.mark.thorough
@pytest.mark.parametrize("normalization", ["layer", pytest.param("rms", marks=pytest.mark.slow)])
def test_normalized_networks(normalization):
    make_backbone = lambda: mtq.networks.mlp([16], normalization=normalization)  # noqa: E731
    weights, expected = (learn(n, {"aggregator": "normalized_sum"}, make_backbone)[0] for n in (2, 1))
    for one, other in zip(weights, expected, strict=True):
        np.testing.assert_allclose(one, other, rtol=0, atol=1e-5)


@pytest.mark.slow
@pytest.mark.parametrize("aggregator", ["sum", "normalized_sum"])
def test_clipping_decay_and_soft_targets_see_the_whole_batch(aggregator):
    def results(replicas):
        optimizer = {"class_name": "AdamW", "config": {"learning_rate": 1e-3, "weight_decay": 0.1, "clipnorm": 0.01}}
        return learn(replicas, {"optimizer": optimizer, "aggregator": aggregator}, target_update_tau=0.1, double=True)[
            0
        ]

    for one, other in zip(results(2), results(1), strict=True):
        np.testing.assert_allclose(one, other, rtol=0, atol=1e-5)
