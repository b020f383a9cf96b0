"""The joint pass's own formula of normalizations, against Keras's layers."""

import numpy as np
import pytest
import tensorflow as tf

import mtq
from mtq.joint.network import JointNetwork
from mtq.joint.normalization import is_normalization, normalization_outputs, normalized
from mtq.networks.paths import TaskPaths
from mtq.task_gradients import TaskGradients, TaskGradientTape
from tests.joint.joint_gradients_test import assert_as_with_a_tape, joint_gradients, loss
from tests.network_cases import CASES, layers, observations_of, vectors

LAYERS = {
    "layer": (lambda: layers.LayerNormalization(), (6,)),
    "layer, wide": (lambda: layers.LayerNormalization(epsilon=1e-5), (100,)),
    "layer over whole images": (lambda: layers.LayerNormalization([1, 2, 3]), (4, 5, 6)),
    "layer without scale": (lambda: layers.LayerNormalization(scale=False), (4, 5, 6)),
    "layer without offset": (lambda: layers.LayerNormalization(-1, center=False), (4, 6)),
    "RMS": (lambda: layers.RMSNormalization(), (100,)),
    "RMS over two axes": (lambda: layers.RMSNormalization([-2, -1]), (4, 5, 6)),
    "group": (lambda: layers.GroupNormalization(2), (6,)),
    "group of images": (lambda: layers.GroupNormalization(3), (4, 5, 6)),
    "one group": (lambda: layers.GroupNormalization(1), (4, 5, 6)),
    "instance": (lambda: layers.GroupNormalization(-1), (4, 5, 6)),
}


def built(make, shape, dtype="float32", scale=1.0):
    layer = make()
    x = tf.constant((np.random.default_rng(0).normal(size=(5, *shape)) * scale).astype(dtype))
    layer(x)
    for weight in layer.trainable_variables:
        weight.assign(np.random.default_rng(1).normal(size=weight.shape))
    return layer, x


@pytest.mark.parametrize("jit_compile", [None, pytest.param(True, marks=[pytest.mark.thorough, pytest.mark.xla])])
@pytest.mark.parametrize("on_cpu", [True, False])
@pytest.mark.parametrize("name", LAYERS)
def test_outputs_and_gradients_are_those_of_the_layer(name, on_cpu, jit_compile, monkeypatch):
    monkeypatch.setattr("mtq.joint.normalization.is_on_cpu", lambda: on_cpu)
    layer, x = built(*LAYERS[name])
    assert is_normalization(layer, x.shape.rank)
    upstream = tf.constant(np.random.default_rng(2).normal(size=x.shape).astype(np.float32))

    @tf.function(jit_compile=jit_compile)
    def differentiated(x):
        with tf.GradientTape() as tape:
            tape.watch(x)
            outputs = normalization_outputs(layer, x)
        return outputs, tape.gradient(outputs, x, output_gradients=upstream)

    with tf.GradientTape() as tape:
        tape.watch(x)
        expected = layer(x)
    outputs, gradient = differentiated(x)
    assert outputs.dtype == expected.dtype
    np.testing.assert_allclose(outputs, expected, rtol=1e-5, atol=1e-5)
    expected = tape.gradient(expected, x, output_gradients=upstream).numpy()
    np.testing.assert_allclose(gradient, expected, rtol=1e-5, atol=1e-5 * np.abs(expected).max())


@pytest.mark.parametrize(
    ("layer", "rank"),
    [
        (layers.LayerNormalization(axis=1), 4),
        (layers.LayerNormalization(axis=0), 2),
        (layers.LayerNormalization(axis=[0, 1]), 2),
        (layers.GroupNormalization(2, axis=1), 4),
        (layers.UnitNormalization(), 2),
        (layers.BatchNormalization(), 2),
        (layers.LayerNormalization(activity_regularizer="l2"), 2),
        (type("Own", (layers.LayerNormalization,), {})(), 2),
    ],
)
def test_other_layers_are_called_as_they_are(layer, rank):
    assert not is_normalization(layer, rank)


@pytest.mark.parametrize("policy", ["mixed_float16", "mixed_bfloat16"])
@pytest.mark.parametrize("name", ["layer", "RMS", "group of images"])
def test_half_precision_is_normalized_in_single(name, policy):
    make, shape = LAYERS[name]
    with_policy = lambda: type(make()).from_config({**make().get_config(), "dtype": policy})  # noqa: E731
    layer, x = built(with_policy, shape, layer_dtype(policy), scale=200.0)  # the square of 300 is infinite in float16
    outputs = normalization_outputs(layer, x)
    assert outputs.dtype == layer.compute_dtype
    assert normalized(layer, x).dtype == tf.float32
    np.testing.assert_allclose(tf.cast(outputs, tf.float32), tf.cast(layer(x), tf.float32), rtol=2e-2, atol=2e-2)


def layer_dtype(policy):
    return tf.as_dtype(policy.removeprefix("mixed_")).as_numpy_dtype


@pytest.mark.parametrize("value", [0.0, 1.0, -1e4])
@pytest.mark.parametrize("name", LAYERS)
def test_equal_numbers_have_finite_outputs_and_gradients(name, value):
    layer, x = built(*LAYERS[name])
    x = tf.fill(x.shape, value)
    with tf.GradientTape() as tape:
        tape.watch(x)
        outputs = normalization_outputs(layer, x)
    gradient = tape.gradient(outputs, x)
    assert np.isfinite(outputs).all()
    assert np.isfinite(gradient).all()


NETWORKS = ["mlp, layer normalization", "mlp, RMS normalization", "minatar, layer normalization", "bro_net", "impala"]


@pytest.mark.parametrize("case", [*NETWORKS, "impala, layer normalization"])
def test_zeros_and_equal_rows_have_finite_gradients(case):
    tasks, network = CASES[case]()
    for value in (0.0, 1.0):
        observations = {name: tf.fill([4, *task.spec.observation_shape], value) for name, task in tasks.items()}
        gradients, _ = joint_gradients(tasks, network, observations)
        assert np.isfinite(gradients.norms()).all()
        assert all(np.isfinite(g).all() for g in gradients.combine(tf.ones(3)))


@pytest.mark.parametrize("case", [*NETWORKS, "impala, layer normalization", "RMS normalization", "group normalization"])
@pytest.mark.parametrize("use_im2col", [False, True])
def test_no_layer_is_called_task_by_task(case, use_im2col, monkeypatch):
    monkeypatch.setattr(TaskGradientTape, "_task_by_task", None)
    tasks, network = CASES[case]()
    assert_finite = joint_gradients(tasks, network, observations_of(tasks, [4] * 3), use_im2col)[0].norms()
    assert np.isfinite(assert_finite).all()


def test_a_frozen_scale_has_no_gradient():
    tasks, network = CASES["mlp, layer normalization"]()
    network.get_layer("backbone").layers[0].layers[1].gamma.trainable = False
    observations = observations_of(tasks, [4] * 3)
    assert_as_with_a_tape(tasks, network, observations, joint_gradients(tasks, network, observations)[0])


@pytest.mark.parametrize("shared_layers", [0, 1, 2])
def test_tasks_that_share_a_part_of_the_blocks(shared_layers):
    tasks, network = vectors(mtq.networks.bro_net(8, 2), shared_layers=shared_layers)
    observations = observations_of(tasks, [4] * 3)
    assert_as_with_a_tape(tasks, network, observations, joint_gradients(tasks, network, observations)[0])


AGGREGATORS = [
    pytest.param(name, marks=() if name in ("normalized_sum", "upgrad", "graddrop") else pytest.mark.thorough)
    for name in mtq.aggregators.names()
]


@pytest.mark.parametrize("name", AGGREGATORS)
@pytest.mark.parametrize("case", ["mlp, layer normalization", "bro_net"])
def test_every_aggregator_gets_the_same_gradients(case, name):
    tasks, network = CASES[case]()
    observations = observations_of(tasks, [8] * 3)
    variables = [v.value for v in network.trainable_variables]
    separate = []
    for task, path in TaskPaths(network, tasks).items():
        with tf.GradientTape() as tape:
            value = loss(path(observations[task], training=True))
        separate.append(tape.gradient(value, variables))
    updates = []
    for gradients in (joint_gradients(tasks, network, observations)[0], TaskGradients(separate)):
        aggregator = mtq.aggregators.get(name)
        aggregator.build(len(tasks), len(variables) - 6)
        updates.append(aggregator(gradients, tf.ones(len(tasks)), 3))
    largest = max(np.abs(g).max() for g in updates[1])
    for mine, theirs in zip(*updates, strict=True):
        np.testing.assert_allclose(mine, theirs, rtol=1e-5, atol=1e-5 * largest)


def test_acting_and_learning_compute_the_same_values():
    tasks, network = CASES["bro_net"]()
    observations, joint = observations_of(tasks, [4] * 3), JointNetwork(TaskPaths(network, tasks))
    _, learned = joint_gradients(tasks, network, observations)
    for name, q_values in joint(observations).items():
        np.testing.assert_array_equal(q_values, learned[name])
        np.testing.assert_allclose(q_values, network(observations)[name], rtol=1e-5, atol=1e-5)
