"""Gradients from one joint backward pass, against a tape of TensorFlow's over each task's loss alone."""

import mtq

# isort: split
import keras
import numpy as np
import pytest
import tensorflow as tf

from mtq.networks.joint import JointNetwork, call_on_rows
from mtq.networks.paths import TaskPaths
from mtq.networks.row_wise import is_row_wise
from mtq.networks.rows import Rows
from mtq.spaces import TaskSpec
from mtq.task_gradients import GradientRecorder, TaskGradients
from mtq.task_gradients.parts import Coefficients
from mtq.task_gradients.row_products import RowProducts

layers = keras.layers


def task_set(shapes, actions):
    """Tasks that are only looked at for their shapes."""
    return mtq.TaskSet(
        [
            mtq.Task(f"task_{i}", None, spec=TaskSpec(shape, "float32", None, n))
            for i, (shape, n) in enumerate(zip(shapes, actions, strict=True))
        ]
    )


def vectors(backbone, widths=(5, 5, 5), **options):
    tasks = task_set([(width,) for width in widths], [2, 3, 4])
    return tasks, mtq.networks.shared_q_network(tasks, backbone, seed=0, **options)


def images(backbone, side, channels=(4, 4, 4), **options):
    tasks = task_set([(side, side, c) for c in channels], [6, 6, 3])
    return tasks, mtq.networks.shared_q_network(tasks, backbone, seed=0, **options)


def partly_shared():
    """A layer of all tasks, one of two of them, and one that is called twice on the way of the first."""
    tasks = task_set([(5,), (5,), (5,)], [2, 2, 2])
    inputs = {name: keras.Input((5,), name=name) for name in tasks}
    of_all, of_two = layers.Dense(5, "tanh", name="of_all"), layers.Dense(5, "relu", name="of_two")
    first, second, third = (of_all(inputs[name]) for name in tasks)
    features = {"task_0": of_two(of_all(first)), "task_1": layers.Add()([of_two(second), second]), "task_2": third}
    outputs = {name: layers.Dense(2, name=f"{name}_head")(features[name]) for name in tasks}
    return tasks, keras.Model(inputs, outputs)


def opposite_order():
    """Two shared layers, which the tasks call in different orders."""
    tasks = task_set([(5,), (5,)], [2, 2])
    inputs = {name: keras.Input((5,), name=name) for name in tasks}
    a, b = layers.Dense(5, "tanh", name="a"), layers.Dense(5, "tanh", name="b")
    outputs = {"task_0": b(a(inputs["task_0"])), "task_1": a(b(inputs["task_1"]))}
    return tasks, keras.Model(inputs, {name: layers.Dense(2)(x) for name, x in outputs.items()})


def two_inputs():
    """A shared layer of two tensors, each from a shared layer, in a model within the model."""
    tasks = task_set([(5,), (5,)], [2, 2])
    x = keras.Input((5,))
    left, right = layers.Dense(4, "tanh")(x), layers.Dense(4, "relu")(x)
    inner = keras.Model(x, layers.Concatenate()([layers.Multiply()([left, right]), left]))
    inputs = {name: keras.Input((5,), name=name) for name in tasks}
    backbone = keras.Sequential([inner, layers.Dense(3, "tanh")])
    return tasks, keras.Model(inputs, {name: layers.Dense(2)(backbone(x)) for name, x in inputs.items()})


class Scale(layers.Layer):
    """A layer that mtq knows nothing of, whose rows see each other."""

    def build(self, shape):
        self.gain = self.add_weight(shape=(shape[-1],), initializer="ones")

    def call(self, x):
        return self.gain * (x - keras.ops.mean(x, axis=0))


class Block(layers.Layer):
    """A layer that does not ask whether it is for training, of layers that need to know."""

    def __init__(self, inner, **options):
        super().__init__(**options)
        self.dense, self.inner = layers.Dense(6), inner

    def call(self, x):
        return self.inner(self.dense(x))


class Embedding(layers.Layer):
    """Adds a constant that is given to it."""

    def call(self, x, constant):
        return x + keras.ops.cast(constant, "float32")[: x.shape[-1]]


class Centered(layers.Layer):
    """Scales bytes; wrong in their own type."""

    def call(self, x):
        return (x - 128) / 64


def stopped(which, backbone, side=None):
    """Tasks some of which do not train what is shared."""
    tasks = task_set([(5,) if side is None else (side, side, 4)] * 2, [2, 2])
    inputs = {name: keras.Input(task.spec.observation_shape, name=name) for name, task in tasks.items()}
    outputs = {}
    for name, x in inputs.items():
        features = backbone(x)
        features = layers.Lambda(tf.stop_gradient)(features) if name in which else features
        outputs[name] = layers.Dense(2, name=f"{name}_head")(features)
    return tasks, keras.Model(inputs, outputs)


def constants():
    """One layer with a large constant for each task, which differ in the middle."""
    tasks, layer, dense = task_set([(2_000,)] * 2, [2, 2]), Embedding(), layers.Dense(3)
    inputs = {name: keras.Input((2_000,), name=name) for name in tasks}
    given = [np.zeros(2_000), np.eye(1, 2_000, 1_000)[0]]
    outputs = {name: layers.Dense(2)(dense(layer(x, c))) for (name, x), c in zip(inputs.items(), given, strict=True)}
    return tasks, keras.Model(inputs, outputs)


def wired(call):
    """Two tasks on a function of a Keras tensor that makes of `[B, 5]` features."""
    tasks = task_set([(5,), (5,)], [2, 2])
    inputs = {name: keras.Input((5,), name=name) for name in tasks}
    return tasks, keras.Model(inputs, {name: layers.Dense(2)(call(x)) for name, x in inputs.items()})


def called_by_name():
    z, a = keras.Input((5,), name="z"), keras.Input((5,), name="a")
    inner = keras.Model([z, a], layers.Subtract()([layers.Dense(3)(z), layers.Dense(3)(a)]))
    scaled = layers.Rescaling(2.0)
    return wired(lambda x: inner({"z": x, "a": scaled(x)}))


def explicitly_at_rest():
    normalization, dense = layers.BatchNormalization(), layers.Dense(4)
    return wired(lambda x: normalization(dense(x), training=False))


def by_keyword():
    dense = layers.Dense(4, "relu")
    return wired(lambda x: dense(inputs=x))


def masked():
    return wired(
        sequential(layers.Reshape((5, 1)), layers.ReLU(threshold=0.5), layers.Masking(), layers.Dense(3), layers.GRU(4))
    )


def bytes_into_floats(backbone):
    """Observations of bytes on inputs that say float32, without anything that scales them."""
    tasks = mtq.TaskSet([mtq.Task(n, None, spec=TaskSpec((6, 6, 2), "uint8", 255.0, 2)) for n in ("a", "b")])
    inputs = {name: keras.Input((6, 6, 2), name=name) for name in tasks}
    features = {name: layers.Flatten()(backbone(x)) for name, x in inputs.items()}
    return tasks, keras.Model(inputs, {name: layers.Dense(2)(x) for name, x in features.items()})


def sequential(*parts):
    return keras.Sequential(list(parts), name="backbone")


CASES = {
    "mlp": lambda: vectors(mtq.networks.mlp([16, 16])),
    "wide mlp": lambda: vectors(mtq.networks.mlp([512, 512])),
    "mlp with encoders": lambda: vectors(mtq.networks.mlp([16]), widths=(3, 4, 6)),
    "unequal heads": lambda: vectors(
        mtq.networks.mlp([16]), heads={"task_0": (), "task_1": (8,), "task_2": (8, 4)}, dueling=True
    ),
    "minatar": lambda: images(mtq.networks.minatar_cnn(), 10),
    "minatar, padded": lambda: images(mtq.networks.minatar_cnn(), 10, channels=(4, 7, 6)),
    "nature": lambda: images(mtq.networks.nature_cnn(), 84),
    "same padding, no bias": lambda: images(
        sequential(layers.Conv2D(4, 3, strides=2, padding="same", use_bias=False), layers.Flatten(), layers.Dense(8)),
        10,
    ),
    "dense over images": lambda: images(sequential(layers.Dense(3, "relu"), layers.Flatten(), layers.Dense(8)), 4),
    "dilated": lambda: images(
        sequential(layers.Conv2D(4, 3, dilation_rate=2, activation="relu"), layers.Flatten()), 10
    ),
    "layer normalization": lambda: vectors(sequential(layers.Dense(8), layers.LayerNormalization(), layers.ReLU())),
    "batch normalization": lambda: vectors(sequential(layers.Dense(8), layers.BatchNormalization(), layers.Dense(4))),
    "a layer of one's own": lambda: vectors(sequential(layers.Dense(8, "tanh"), Scale(), layers.Dense(4))),
    "frozen": lambda: vectors(sequential(layers.Dense(8, "tanh", trainable=False), layers.Dense(4))),
    "a block with batch normalization": lambda: vectors(sequential(Block(layers.BatchNormalization()))),
    "first task stopped": lambda: stopped({"task_0"}, layers.Dense(3, "relu")),
    "second task stopped": lambda: stopped({"task_1"}, layers.Dense(3, "relu")),
    "all tasks stopped": lambda: stopped({"task_0", "task_1"}, layers.Dense(3, "relu")),
    "activation over the batch": lambda: images(
        sequential(
            layers.Conv2D(4, 3),
            layers.Activation(lambda x: x - keras.ops.mean(x, axis=0)),
            layers.Conv2D(4, 3, activation=lambda x: x / (1 + keras.ops.max(x, axis=0))),
            layers.Flatten(),
        ),
        10,
    ),
    "softmax over the batch": lambda: images(sequential(layers.Conv2D(4, 3), layers.Softmax(0), layers.Flatten()), 8),
    "constants": constants,
    "called by name": called_by_name,
    "explicitly at rest": explicitly_at_rest,
    "by keyword": by_keyword,
    "masked": masked,
    "bytes": lambda: bytes_into_floats(layers.Conv2D(3, 3, activation="relu")),
    "bytes in a layer of one's own": lambda: bytes_into_floats(Centered()),
    "partly shared": partly_shared,
    "opposite order": opposite_order,
    "two inputs": two_inputs,
}


def observations_of(tasks, sizes, seed=0):
    random = np.random.default_rng(seed)

    def observations(task, size):
        shape, dtype = (size, *task.spec.observation_shape), task.spec.observation_dtype
        return random.integers(256, size=shape) if dtype == "uint8" else random.normal(size=shape)

    return {
        name: tf.constant(observations(task, size).astype(task.spec.observation_dtype))
        for (name, task), size in zip(tasks.items(), sizes, strict=True)
    }


def loss(q_values):
    return tf.reduce_mean(tf.square(q_values[:, 0] - 1.0))


def joint_gradients(tasks, network, observations):
    paths = TaskPaths(network, tasks)
    with GradientRecorder(network.trainable_variables, paths) as recorder:
        q_values = JointNetwork(paths)(observations, training=True, call_layer=recorder)
        losses = [loss(q_values[name]) for name in tasks]
    return recorder.gradients(losses), q_values


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


@pytest.mark.parametrize("case", CASES.values(), ids=CASES.keys())
@pytest.mark.parametrize("sizes", [(8, 8, 8), (4, 7, 2)], ids=["equal", "unequal"])
def test_as_with_a_tape_per_task(case, sizes):
    tasks, network = case()
    observations = observations_of(tasks, sizes[: len(tasks)])
    gradients, q_values = joint_gradients(tasks, network, observations)
    for name in tasks:
        np.testing.assert_allclose(
            q_values[name], TaskPaths(network, tasks)[name](observations[name], training=True), rtol=1e-4, atol=1e-5
        )
    assert_as_with_a_tape(tasks, network, observations, gradients)


@pytest.mark.parametrize("case", ["mlp", "minatar", "nature"])
@pytest.mark.parametrize("size", [1, 32, 128])
def test_batch_sizes(case, size):
    tasks, network = CASES[case]()
    observations = observations_of(tasks, [size] * 3)
    assert_as_with_a_tape(tasks, network, observations, joint_gradients(tasks, network, observations)[0])


@pytest.mark.parametrize("jit_compile", [None, True])
@pytest.mark.parametrize("case", ["mlp", "wide mlp", "minatar", "partly shared", "batch normalization"])
def test_in_a_graph(case, jit_compile):
    tasks, network = CASES[case]()
    observations = observations_of(tasks, [8, 8, 8])
    eager = joint_gradients(tasks, network, observations)[0]

    @tf.function(jit_compile=jit_compile)
    def compiled(observations):
        gradients = joint_gradients(tasks, network, observations)[0]
        return gradients.cosines(), gradients.norms(), gradients.combine(tf.range(3.0))

    cosines, norms, combined = compiled(observations)
    np.testing.assert_allclose(cosines, eager.cosines(), rtol=1e-4, atol=1e-5)
    np.testing.assert_allclose(norms, eager.norms(), rtol=1e-5)
    expected = eager.combine(tf.range(3.0))
    largest = max(np.abs(g).max() for g in expected)
    for mine, theirs in zip(combined, expected, strict=True):
        np.testing.assert_allclose(mine, theirs, rtol=1e-4, atol=1e-5 * largest)


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
    assert (np.isneginf(part.squares()) | (np.abs(part.squares() - norms**2) < 1e-3 * norms**2)).all()


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
