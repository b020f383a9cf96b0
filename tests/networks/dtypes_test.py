"""Precisions of a network: those that can be trained, and those that are refused by name."""

import keras
import pytest
import tensorflow as tf

import mtq
from mtq.tasks.spec import TaskSpec


@pytest.fixture
def policy(request):
    before = keras.config.dtype_policy()
    keras.config.set_dtype_policy(request.param)
    yield request.param
    keras.config.set_dtype_policy(before)


def tasks():
    return mtq.TaskSet([mtq.Task(name, None, spec=TaskSpec((3,), "float32", None, 2)) for name in "ab"])


def network():
    return mtq.networks.shared_q_network(tasks(), mtq.networks.mlp([4]))


@pytest.mark.parametrize("policy", ["float64", "float16", "bfloat16"], indirect=True)
def test_variables_that_are_not_float32_are_refused_by_name(policy):
    with pytest.raises(ValueError, match=f"network must have trainable variables of float32.* of {policy}"):
        mtq.MultiTaskDQN(network(), tasks())


@pytest.mark.parametrize("policy", ["float64"], indirect=True)
def test_a_network_of_float32_under_another_policy(policy):
    keras.config.set_dtype_policy("float32")
    built = network()
    keras.config.set_dtype_policy(policy)
    model = mtq.MultiTaskDQN(built, tasks())
    model.compile(keras.optimizers.SGD(0.1), jit_compile=False)
    row = mtq.Transition(tf.zeros([2, 3]), tf.zeros(2, tf.int32), tf.ones(2), tf.zeros(2), tf.zeros([2, 3]))
    logs = tf.function(model.train_step)({"a": row, "b": row})
    assert float(logs["loss"]) > 0
