"""Choosing a strategy, and what is said where it cannot be."""

import re

import keras
import pytest
import tensorflow as tf

import mtq
from mtq.distribution.checks import check_host


@pytest.mark.parametrize(
    ("arguments", "environment", "message"),
    [
        ({"name": "gpu"}, {}, "strategy must be one of auto, cpu, mirrored, multi_worker, tpu. Received: 'gpu'."),
        ({"name": "mirrored"}, {}, "Pass devices=2 (--devices 2), for example."),
        ({"name": "mirrored", "devices": 0}, {}, "devices must be an integer of at least 1, or None. Received: 0."),
        ({"name": "mirrored", "devices": 99}, {}, "needs as many logical CPUs"),
        ({"startup_timeout": 0}, {}, "startup_timeout must be an integer of at least 1. Received: 0."),
        (
            {"name": "cpu", "devices": 2},
            {},
            "devices must be None unless strategy is 'mirrored' or 'auto'. Received: 2 with 'cpu'.",
        ),
        (
            {"name": "multi_worker", "tpu": "a"},
            {},
            "tpu must be None unless strategy is 'tpu' or 'auto'. Received: 'a' with 'multi_worker'.",
        ),
        ({"devices": 2, "tpu": "a"}, {}, "devices or tpu must be None. Received: 2 and 'a'."),
        ({"name": "multi_worker"}, {}, "needs the environment variable TF_CONFIG"),
        ({"name": "multi_worker"}, {"TF_CONFIG": "{"}, "TF_CONFIG must be JSON"),
        ({"name": "auto"}, {"TF_CONFIG": "{}"}, "TF_CONFIG must have a 'cluster'"),
        pytest.param(
            {"name": "tpu"},
            {},
            "strategy='tpu' needs a TPU. Received: None",
            marks=pytest.mark.thorough,  # waits for one
        ),
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


def test_devices_come_before_the_environment(monkeypatch):
    monkeypatch.setenv("TF_CONFIG", '{"cluster": {"worker": ["a:1", "b:1"]}, "task": {"type": "worker", "index": 0}}')
    monkeypatch.setenv("TPU_NAME", "none")
    assert mtq.distribution.strategy("auto", devices=2).num_replicas_in_sync == 2


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
    with pytest.raises(ValueError, match="optimizer must be created in the scope of the model's strategy"):
        model.compile(keras.optimizers.Adam())
    model.compile("adam")  # is made within


def test_batch_that_the_replicas_do_not_divide(replicated, two_tasks):
    _, model = replicated
    model.compile("adam")
    experience = mtq.Experience(two_tasks, model, warmup_steps=16)
    with pytest.raises(ValueError, match=r"multiple of the number of replicas, 2.*Received: 7\. Give 8 or 6\."):
        experience.dataset(7)
    with pytest.raises(ValueError, match="must be drawn by fit"):
        next(iter(experience.batches(8)))
    with pytest.raises(tf.errors.OpError, match="must be drawn by fit"):
        next(iter(experience.batches(8).take(1)))


def test_experience_within_the_scope(replicated, two_tasks):
    strategy, model = replicated
    with strategy.scope(), pytest.raises(ValueError, match=r"Experience must be created outside strategy\.scope"):
        mtq.Experience(two_tasks, model)


class _Tpu(tf.distribute.TPUStrategy):
    """One that says where its TPU is, and no more."""

    def __init__(self, master):
        self._master = master

    @property
    def cluster_resolver(self):
        return self

    def master(self):
        return self._master


def test_a_task_in_python_needs_the_host_of_a_tpu():
    with pytest.raises(ValueError, match="Task 'pong' must be stepped by the TPU's host"):
        check_host("pong", _Tpu("grpc://10.0.0.2:8470"))
    check_host("pong", _Tpu("local"))
    check_host("pong", tf.distribute.get_strategy())


def test_telemetry_is_not_for_a_tpu(replicated, tmp_path, monkeypatch):
    _, model = replicated
    monkeypatch.setattr("mtq.callbacks.gradient_telemetry.draws_on_host", lambda strategy: True)
    with pytest.raises(ValueError, match="GradientTelemetry must be used on CPUs or GPUs"):
        mtq.callbacks.GradientTelemetry(tmp_path).gradient_log_for(model)
