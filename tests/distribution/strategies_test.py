"""Choosing a strategy, and what is said where it cannot be."""

import mtq

# isort: split
import re

import keras
import pytest
import tensorflow as tf


@pytest.mark.parametrize(
    ("arguments", "environment", "message"),
    [
        ({"name": "gpu"}, {}, "strategy must be one of auto, cpu, mirrored, multi_worker, tpu. Received: 'gpu'."),
        ({"name": "mirrored"}, {}, "Pass devices=2 (--devices 2), for example."),
        ({"name": "mirrored", "devices": 0}, {}, "devices must be a whole number from 1, or None. Received: 0."),
        ({"name": "mirrored", "devices": 99}, {}, "needs as many logical CPUs"),
        ({"seconds_to_meet": 0}, {}, "seconds_to_meet must be a whole number from 1. Received: 0."),
        ({"name": "cpu", "devices": 2}, {}, "devices are for strategy='mirrored' alone. Received: 2 with 'cpu'."),
        ({"name": "multi_worker"}, {}, "needs the environment variable TF_CONFIG"),
        ({"name": "multi_worker"}, {"TF_CONFIG": "{"}, "TF_CONFIG must be JSON"),
        ({"name": "auto"}, {"TF_CONFIG": "{}"}, "TF_CONFIG must have a 'cluster'"),
        ({"name": "tpu"}, {}, "strategy='tpu' needs a TPU. Received: None"),
        ({"name": "tpu", "tpu": "local"}, {}, "strategy='tpu' needs a TPU. Received: 'local'"),
    ],
)
def test_errors(monkeypatch, arguments, environment, message):
    tf.config.list_logical_devices()  # TensorFlow is set up
    monkeypatch.delenv("TF_CONFIG", raising=False)
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    with pytest.raises(ValueError, match=re.escape(message)):
        mtq.distribution.strategy(**arguments)


def test_kinds():
    assert mtq.distribution.strategy("auto").num_replicas_in_sync == 1
    assert mtq.distribution.strategy("cpu").num_replicas_in_sync == 1
    assert mtq.distribution.strategy("mirrored", devices=2).num_replicas_in_sync == 2
    assert mtq.distribution.strategy("auto", devices=2).num_replicas_in_sync == 2


@pytest.fixture
def replicated(two_tasks):
    strategy = mtq.distribution.strategy("mirrored", devices=2)
    with strategy.scope():
        model = mtq.MultiTaskDQN(mtq.networks.shared_q_network(two_tasks, mtq.networks.mlp([4])), two_tasks)
    return strategy, model


def test_optimizer_of_another_scope(replicated):
    _, model = replicated
    with pytest.raises(ValueError, match="optimizer must be made in the scope of the model's strategy"):
        model.compile(keras.optimizers.Adam())
    model.compile("adam")  # is made within


def test_batch_that_the_replicas_do_not_divide(replicated, two_tasks):
    _, model = replicated
    model.compile("adam")
    experience = mtq.Experience(two_tasks, model, warmup_steps=16)
    with pytest.raises(ValueError, match=r"multiple of the number of replicas, 2.*Received: 7\. Give 8 or 6\."):
        experience.dataset(7)
    with pytest.raises(tf.errors.OpError, match="must be drawn by fit"):
        next(iter(experience.dataset(8)))


def test_experience_within_the_scope(replicated, two_tasks):
    strategy, model = replicated
    with strategy.scope(), pytest.raises(ValueError, match=r"Experience must be made outside of strategy\.scope"):
        mtq.Experience(two_tasks, model)
