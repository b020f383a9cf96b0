"""Layers that each task has to itself are copies of what was given, and what was trained is not drawn anew."""

import keras
import numpy as np
import pytest
import tensorflow as tf

import mtq
from mtq.networks.initialization import initialize, undrawable
from mtq.networks.layer_copies import copy_of_layer
from tests.network_cases import task_set
from tests.stateful_layers import SLOW, STATEFUL

layers = keras.layers

EVERY = [
    pytest.param(make, shape, id=name, marks=pytest.mark.slow if name in SLOW else ())
    for name, (make, shape) in STATEFUL.items()
]


def batch(shape):
    return np.random.default_rng(0).random((3, *shape)).astype(np.float32)


def alone(layer, shape, seed):
    return mtq.networks.shared_q_network(
        task_set([shape], [2]), keras.Sequential([layer, layers.Flatten()], name="backbone"), seed=seed
    )


@pytest.mark.parametrize(("make", "shape"), EVERY)
def test_a_copy_computes_the_same(make, shape):
    layer = make()
    copy = copy_of_layer(layer, "copy")
    assert copy.name == "copy"
    layer(batch(shape))
    for variable in layer.trainable_variables:
        variable.assign(np.array(variable) * 1.5 + 0.125)
    of_built = copy_of_layer(layer, "of_built")
    np.testing.assert_allclose(of_built(batch(shape)), layer(batch(shape)), rtol=1e-5, atol=1e-6)
    assert not {id(variable) for variable in of_built.variables} & {id(variable) for variable in layer.variables}
    if not layer.name.startswith("normalization"):
        copy(batch(shape))
        copy.set_weights(layer.get_weights())
    np.testing.assert_allclose(copy(batch(shape)), layer(batch(shape)), rtol=1e-5, atol=1e-6)


LORA = [(name, is_quantized) for name in ("Dense", "EinsumDense", "Embedding") for is_quantized in (False, True)]


@pytest.mark.parametrize(("name", "is_quantized"), [*LORA, ("Conv2D", False)])
def test_a_copy_of_a_layer_with_lora_can_learn(name, is_quantized):
    make, shape = STATEFUL[name]
    layer, x = make(), batch(shape)
    layer(x)
    if is_quantized:
        layer.quantize("int8")
    layer.enable_lora(2)
    for variable in layer.trainable_variables:
        variable.assign(np.array(variable) * 1.5 + 0.125)
    copy = copy_of_layer(layer, "copy")
    np.testing.assert_allclose(copy(x), layer(x), rtol=1e-5, atol=1e-6)
    for one, other in zip(copy.variables, layer.variables, strict=True):
        np.testing.assert_array_equal(one, other)
        assert one is not other


@pytest.mark.parametrize(("make", "shape"), EVERY)
def test_a_seed_draws_what_is_new_and_keeps_what_was_built(make, shape):
    first, second = (alone(make(), shape, seed=3) for _ in range(2))
    for one, other in zip(first.get_weights(), second.get_weights(), strict=True):
        np.testing.assert_array_equal(one, other)
    built = make()
    built(batch(shape))
    before = built.get_weights()
    network = alone(built, shape, seed=3)
    initialize(network, 4)
    for one, other in zip(built.get_weights(), before, strict=True):
        np.testing.assert_array_equal(one, other)
    head = lambda network: network.get_layer("task_0_q_values").kernel  # noqa: E731
    assert head(network).shape == head(first).shape
    assert not np.array_equal(head(network), head(first))


def spread(weights):
    return [(weight.mean(), weight.std()) for weight in weights]


@pytest.mark.parametrize(
    ("make", "shape"),
    [
        (lambda: layers.LSTM(32), (5, 16)),
        (lambda: layers.EinsumDense("abc,cde->abde", (5, 8, 16)), (5, 32)),
        (lambda: layers.DepthwiseConv2D(3, depthwise_initializer="he_normal"), (6, 6, 64)),
        (lambda: layers.SeparableConv1D(32, 3, depthwise_initializer=keras.initializers.RandomNormal(2.0)), (8, 32)),
    ],
    ids=["LSTM", "EinsumDense", "DepthwiseConv2D", "SeparableConv1D"],
)
def test_drawing_is_as_the_layer_draws(make, shape):
    layer = make()
    layer(batch(shape))
    network = alone(make(), shape, seed=0)
    drawn = network.get_layer("backbone").layers[0].get_weights()
    assert not undrawable(network)
    np.testing.assert_allclose(spread(drawn), spread(layer.get_weights()), rtol=0.2, atol=0.02)


class Own(layers.Layer):
    """Draws by an initializer that no attribute of its name holds."""

    def build(self, shape):
        self.w = self.add_weight(shape=(shape[-1], 4), initializer="he_normal", name="w")
        self.inner = layers.Dense(3)
        self.inner.build((None, 4))

    def call(self, x):
        return self.inner(tf.matmul(x, self.w))


def test_the_seed_is_all_that_a_layer_of_ones_own_draws_from():
    keras.utils.set_random_seed(1)
    one = alone(Own(), (5,), seed=3)
    after = keras.random.uniform([3])
    keras.utils.set_random_seed(2)
    other = alone(Own(), (5,), seed=3)
    keras.utils.set_random_seed(1)
    assert any(not np.array_equal(a, b) for a, b in zip(one.weights, alone(Own(), (5,), seed=4).weights, strict=True))
    np.testing.assert_array_equal(after, keras.random.uniform([3]))  # the process draws as if nothing had been
    for a, b in zip(one.get_weights(), other.get_weights(), strict=True):
        np.testing.assert_array_equal(a, b)


class Late(layers.Layer):
    """Has no `build`: what is inside of it is built by its first call."""

    def __init__(self):
        super().__init__()
        self.dense = layers.Dense(4)

    def call(self, x):
        return self.dense(x)


def test_a_layer_that_is_built_by_its_first_call_is_drawn_from_the_seed():
    first, second, other = (alone(Late(), (5,), seed) for seed in (3, 3, 4))
    kernels = [network.get_layer("backbone").layers[0].dense.kernel for network in (first, second, other)]
    np.testing.assert_array_equal(kernels[0], kernels[1])
    assert not np.array_equal(kernels[0], kernels[2])
    before = np.array(kernels[0])
    initialize(first, 9)  # as a study does before each run
    assert not np.array_equal(before, kernels[0])


def test_a_trained_backbone_and_an_encoder_of_it_are_kept():
    tasks = task_set([(4,), (4,)], [2, 3])
    old = mtq.networks.shared_q_network(tasks, mtq.networks.mlp([6]), seed=0)
    encoder = layers.Dense(4)
    encoder(batch((4,)))
    before = [*old.get_layer("backbone").get_weights(), *encoder.get_weights()]
    encoders = {"task_0": encoder, "task_1": lambda x: encoder(layers.Dense(4, name="new")(x))}
    new = mtq.networks.shared_q_network(tasks, old.get_layer("backbone"), encoders, seed=7)
    again = mtq.networks.shared_q_network(tasks, old.get_layer("backbone"), encoders, seed=7)
    after = [*new.get_layer("backbone").get_weights(), *encoder.get_weights()]
    for one, other in zip(before, after, strict=True):
        np.testing.assert_array_equal(one, other)
    for name in ("task_0_q_values", "new"):
        np.testing.assert_array_equal(new.get_layer(name).kernel, again.get_layer(name).kernel)


@pytest.mark.parametrize("seed", [None, 3])
def test_each_task_has_its_own_copy_of_what_was_trained(seed):
    normalization = layers.Normalization()
    normalization.adapt(np.random.default_rng(0).normal(size=(100, 4)) * 30 + 500)
    backbone = keras.Sequential([layers.Dense(4), normalization, layers.Dense(5)], name="backbone")
    backbone(batch((4,)))
    tasks = task_set([(4,), (4,)], [2, 2])
    network = mtq.networks.shared_q_network(tasks, backbone, shared_layers=0, seed=seed)
    paths = mtq.networks.TaskPaths(network, tasks)
    kernels = []
    for name, path in paths.items():
        own = [layer for layer in path.layers if layer.name.startswith(name)][:-1]
        x = batch((4,))
        for layer in own[1:] if own[0].name == name else own:
            x = layer(x)
        np.testing.assert_allclose(x, backbone(batch((4,))), rtol=1e-5, atol=1e-6)
        kernels.append(own[-1].kernel)
    assert kernels[0] is not kernels[1]


class Times(layers.Layer):
    """Its config says nothing of the factor."""

    def __init__(self, factor=1.0, **options):
        super().__init__(**options)
        self._factor = factor

    def call(self, x):
        return x * self._factor

    def get_config(self):
        return super().get_config()


def test_a_copy_that_would_be_another_layer_is_refused_by_name():
    tasks = task_set([(4,), (4,)], [2, 2])
    backbone = keras.Sequential([layers.Dense(4), Times(3.0, name="three")])
    with pytest.raises(ValueError, match=r"layer 'three' \(Times\). The copy differs in three._factor, 1.0 for 3.0"):
        mtq.networks.shared_q_network(tasks, backbone, shared_layers=0)
    mtq.networks.shared_q_network(tasks, backbone)  # shared by all, it is not copied
    same = keras.Sequential([layers.Dense(4), Times(name="one"), layers.Lambda(lambda x: x * 2)])
    mtq.networks.shared_q_network(tasks, same, shared_layers=0)  # not registered, and right
