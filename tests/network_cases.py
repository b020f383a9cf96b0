"""Networks of many kinds, and observations for them."""

import keras
import numpy as np
import tensorflow as tf

import mtq
from mtq.tasks.spec import TaskSpec

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
    "RMS normalization": lambda: vectors(sequential(layers.Dense(8), layers.RMSNormalization(), layers.ReLU())),
    "group normalization": lambda: vectors(sequential(layers.Dense(8), layers.GroupNormalization(2), layers.ReLU())),
    "normalization of whole images": lambda: images(
        sequential(
            layers.Conv2D(4, 3),
            layers.LayerNormalization([1, 2, 3]),
            layers.Conv2D(4, 3, activation="relu"),
            layers.GroupNormalization(1),
            layers.LayerNormalization(axis=1),
            layers.LayerNormalization(scale=False),
            layers.LayerNormalization(center=False),
            layers.Flatten(),
        ),
        8,
    ),
    "mlp, layer normalization": lambda: vectors(mtq.networks.mlp([16, 16], normalization="layer")),
    "mlp, RMS normalization": lambda: vectors(mtq.networks.mlp([16, 16], "tanh", normalization="rms")),
    "minatar, layer normalization": lambda: images(mtq.networks.minatar_cnn(normalization="layer"), 10),
    "minatar, RMS normalization": lambda: images(mtq.networks.minatar_cnn(normalization="rms"), 10),
    "bro_net": lambda: vectors(mtq.networks.bro_net(16, 2)),
    "impala": lambda: images(mtq.networks.impala_cnn([4, 6], 16), 10),
    "impala, layer normalization": lambda: images(mtq.networks.impala_cnn([4, 6], 16, normalization="layer"), 10),
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
