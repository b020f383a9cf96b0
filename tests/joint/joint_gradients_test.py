"""Gradients from one joint backward pass, against a tape of TensorFlow's over each task's loss alone."""

import numpy as np
import pytest
import tensorflow as tf

from mtq.joint.network import JointNetwork, call_on_rows
from mtq.joint.row_wise import is_row_wise
from mtq.joint.rows import Rows
from mtq.networks.paths import TaskPaths
from mtq.task_gradients import TaskGradients, TaskGradientTape
from mtq.task_gradients.row_products import RowProducts
from mtq.task_gradients.variable_gradients import Coefficients
from tests.network_cases import CASES, Block, Scale, layers, observations_of, sequential, vectors


def loss(q_values):
    return tf.reduce_mean(tf.square(q_values[:, 0] - 1.0))


def joint_gradients(tasks, network, observations, use_im2col=False):
    paths = TaskPaths(network, tasks)
    with TaskGradientTape(network.trainable_variables, paths, use_im2col) as tape:
        q_values = JointNetwork(paths)(observations, training=True, call_layer=tape)
        losses = [loss(q_values[name]) for name in tasks]
    return tape.gradients(losses), q_values


def assert_as_with_a_tape(tasks, network, observations, gradients):
    flat = []
    for i, name in enumerate(tasks):
        with tf.GradientTape() as tape:
            value = loss(TaskPaths(network, tasks)[name](observations[name], training=True))
        expected = tape.gradient(value, [v.value for v in network.trainable_variables])
        largest = max((np.abs(g).max() for g in expected if g is not None), default=0.0)
        for mine, theirs in zip(gradients.by_task[i], expected, strict=True):
            assert (mine is None) == (theirs is None)
            if theirs is not None:
                np.testing.assert_allclose(mine, theirs, rtol=1e-5, atol=1e-5 * largest)
        dense = [
            np.zeros(v.shape) if g is None else g for v, g in zip(network.trainable_variables, expected, strict=True)
        ]
        flat.append(np.concatenate([np.ravel(g) for g in dense]))
    flat = np.stack(flat).astype(np.float64)
    norms = np.linalg.norm(flat, axis=1)
    np.testing.assert_allclose(gradients.norms(), norms, rtol=1e-5)
    np.testing.assert_allclose(gradients.cosines(), flat @ flat.T / np.outer(norms, norms), rtol=1e-4, atol=1e-5)
    combined = gradients.combine(tf.range(1.0, len(tasks) + 1.0))
    sizes = zip(combined, network.trainable_variables, strict=True)
    combined = np.concatenate([np.ravel(np.zeros(v.shape) if g is None else g) for g, v in sizes])
    expected = flat.T @ np.arange(1.0, len(tasks) + 1.0)
    np.testing.assert_allclose(combined, expected, rtol=1e-4, atol=1e-5 * np.abs(expected).max())


CONVOLUTIONS = ["minatar", "minatar, padded", "nature", "same padding, no bias", "dilated", "bytes"]
CONVOLUTIONS += ["activation over the batch", "softmax over the batch", "dense over images"]
CONVOLUTIONS += ["minatar, layer normalization", "impala, layer normalization"]


@pytest.mark.parametrize(
    ("case", "use_im2col"),
    [*((case, False) for case in CASES), *((case, True) for case in CONVOLUTIONS)],
)
@pytest.mark.parametrize(
    "sizes", [pytest.param((8, 8, 8), marks=pytest.mark.thorough), (4, 7, 2)], ids=["equal", "unequal"]
)
def test_as_with_a_tape_per_task(case, use_im2col, sizes):
    tasks, network = CASES[case]()
    observations = observations_of(tasks, sizes[: len(tasks)])
    gradients, q_values = joint_gradients(tasks, network, observations, use_im2col)
    for name in tasks:
        np.testing.assert_allclose(
            q_values[name], TaskPaths(network, tasks)[name](observations[name], training=True), rtol=1e-4, atol=1e-5
        )
    assert_as_with_a_tape(tasks, network, observations, gradients)


@pytest.mark.parametrize("case", ["mlp", "minatar", "nature"])
@pytest.mark.parametrize("size", [1, 32, pytest.param(128, marks=pytest.mark.thorough)])
def test_batch_sizes(case, size):
    tasks, network = CASES[case]()
    observations = observations_of(tasks, [size] * 3)
    assert_as_with_a_tape(tasks, network, observations, joint_gradients(tasks, network, observations)[0])


THOROUGH = [
    pytest.param(case, marks=pytest.mark.thorough)
    for case in ("wide mlp", "partly shared", "batch normalization", "bro_net", "minatar, RMS normalization")
]
IN_A_GRAPH = ["minatar", pytest.param("mlp", marks=pytest.mark.thorough), *THOROUGH]


@pytest.mark.thorough
@pytest.mark.parametrize("jit_compile", [None, pytest.param(True, marks=pytest.mark.xla)])
@pytest.mark.parametrize("case", IN_A_GRAPH)
def test_in_a_graph(case, jit_compile):
    use_im2col = jit_compile and case.startswith("minatar")
    tasks, network = CASES[case]()
    observations = observations_of(tasks, [8, 8, 8])
    eager = joint_gradients(tasks, network, observations)[0]

    @tf.function(jit_compile=jit_compile)
    def compiled(observations):
        gradients = joint_gradients(tasks, network, observations, use_im2col)[0]
        return gradients.cosines(), gradients.norms(), gradients.combine(tf.range(3.0))

    cosines, norms, combined = compiled(observations)
    np.testing.assert_allclose(cosines, eager.cosines(), rtol=1e-4, atol=1e-5)
    np.testing.assert_allclose(norms, eager.norms(), rtol=1e-5)
    expected = eager.combine(tf.range(3.0))
    largest = max(np.abs(g).max() for g in expected)
    for mine, theirs in zip(combined, expected, strict=True):
        np.testing.assert_allclose(mine, theirs, rtol=1e-4, atol=1e-5 * largest)


@pytest.mark.thorough
def test_batch_sizes_that_are_not_known_beforehand():
    tasks, network = CASES["minatar"]()
    signature = {name: tf.TensorSpec([None, *task.spec.observation_shape]) for name, task in tasks.items()}

    @tf.function(input_signature=[signature])
    def norms(observations):
        return joint_gradients(tasks, network, observations)[0].norms()

    observations = observations_of(tasks, [3, 5, 2])
    np.testing.assert_allclose(norms(observations), joint_gradients(tasks, network, observations)[0].norms(), rtol=1e-5)


def test_from_the_first_convolution_on_all_tasks_are_computed_together():
    tasks, network = CASES["minatar"]()
    called = []

    def count(layer, args, kwargs, training):
        outputs = call_on_rows(layer, args, kwargs, training)
        called.append((layer.name, outputs.is_joined))
        return outputs

    JointNetwork(TaskPaths(network, tasks))(observations_of(tasks, [4] * 3), call_layer=count)
    assert called[:3] == [("conv_0", True), ("flatten", True), ("dense_0", True)]
    assert len(called) == 6


def test_the_moving_averages_of_batch_normalization_are_those_of_the_paths():
    tasks, network = CASES["batch normalization"]()
    observations = observations_of(tasks, [8] * 3)
    start = network.get_weights()
    joint_gradients(tasks, network, observations)
    joint = network.get_weights()
    network.set_weights(start)
    for name, path in TaskPaths(network, tasks).items():
        path(observations[name], training=True)
    assert any((a != b).any() for a, b in zip(start, joint, strict=True))
    for a, b in zip(joint, network.get_weights(), strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-5)


@pytest.mark.parametrize("training", [True, False])
def test_dropout_within_a_layer_learns_whether_it_is_for_training(training):
    tasks, network = vectors(sequential(Block(layers.Dropout(0.9))))
    seen = []

    def look(layer, args, kwargs, training):
        outputs = call_on_rows(layer, args, kwargs, training)
        seen.append(float(tf.reduce_mean(tf.cast(outputs.joined == 0, tf.float32))) if type(layer) is Block else None)
        return outputs

    JointNetwork(TaskPaths(network, tasks))(observations_of(tasks, [64] * 3), training=training, call_layer=look)
    assert all((share > 0.5) is training for share in seen if share is not None)


@pytest.mark.parametrize("spread", [1e-2, 1e-3, 1e-4])
def test_rows_that_all_but_cancel_each_other(spread):
    """Near convergence observations are alike and errors average out; the gradient is what remains."""
    random = np.random.default_rng(0)
    inputs = (1.0 + spread * random.normal(size=(96, 512))).astype(np.float32)
    errors = random.normal(size=(3, 32, 512)).astype(np.float32)
    errors -= errors.mean(axis=1, keepdims=True)
    rows = Rows(range(3), joined=tf.constant(inputs), sizes=[32] * 3)
    part = RowProducts(rows, rows.like(tf.constant(errors.reshape(96, 512))))
    exact = np.array([np.ravel(h.T.astype(np.float64) @ d) for h, d in zip(np.split(inputs, 3), errors, strict=True)])
    norms = np.linalg.norm(exact, axis=1)
    cosines = exact @ exact.T / norms[:, None] / norms[None, :]
    gradients = lambda: TaskGradients.of_parts([part], num_tasks=3)  # noqa: E731
    np.testing.assert_allclose(gradients().norms(), norms, rtol=1e-3)
    np.testing.assert_allclose(gradients().cosines(), cosines, atol=1e-3)
    in_graph = tf.function(lambda: (gradients().norms(), part.combine(Coefficients(tf.ones(3)))), autograph=False)()
    np.testing.assert_allclose(in_graph[0], norms, rtol=1e-3)
    np.testing.assert_allclose(np.ravel(in_graph[1]), exact.sum(axis=0), atol=1e-3 * norms.max())
    is_unknown = np.asarray(part.squares()) < -1e35  # and copies are looked at
    assert (is_unknown | (np.abs(part.squares() - norms**2) < 1e-3 * norms**2)).all()


def test_a_layer_that_is_frozen_later():
    tasks, network = CASES["mlp"]()
    network.get_layer("backbone").layers[0].trainable = False
    observations = observations_of(tasks, [4] * 3)
    assert_as_with_a_tape(tasks, network, observations, joint_gradients(tasks, network, observations)[0])


def test_a_layer_may_say_that_it_is_row_wise():
    layer = Scale()
    assert not is_row_wise(layer)
    layer.is_row_wise = True
    assert is_row_wise(layer)
