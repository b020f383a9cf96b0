"""Backbones with normalizations, and residual ones: what they compute, and that they are saved, copied and drawn."""

import keras
import numpy as np
import pytest
import tensorflow as tf

import mtq
from mtq.joint.linear import suits_xla_on_cpu
from mtq.networks import Residual, bro_net, data_efficient_cnn, impala_cnn, minatar_cnn, mlp, nature_cnn
from mtq.networks.initialization import initialize, undrawable
from tests.messages import error
from tests.network_cases import observations_of, task_set

EPSILON = 1e-5
VECTORS, IMAGES, FRAMES = [(5,)] * 2, [(10, 10, 4), (10, 10, 7)], [(4, 84, 84)] * 2
SIZES = [(84, 84, 4), (50, 60, 4)]
thorough = pytest.mark.thorough
CASES = {
    "mlp": (lambda: mlp([6, 6], normalization="layer"), VECTORS, 2),
    "mlp, RMS": (lambda: mlp([6, 6], normalization="rms"), VECTORS, 2),
    "bro_net": (lambda: bro_net(6, 2), VECTORS, 3),
    "minatar": (lambda: minatar_cnn(3, 6, normalization="layer"), IMAGES, 2),
    "minatar, RMS": (lambda: minatar_cnn(3, 6, normalization="rms"), IMAGES, 2),
    "impala": (lambda: impala_cnn([2, 3], 6), IMAGES, 3),
    "impala, normalized": (lambda: impala_cnn([2, 3], 6, normalization="layer"), IMAGES, 3),
    "impala, frames": (lambda: impala_cnn([2, 3], 6), FRAMES, 3),
    "impala, sizes": (lambda: impala_cnn([2, 3], 6, pooling="max", normalization="rms"), SIZES, None),
    "nature": (lambda: nature_cnn(6, normalization="layer"), FRAMES, 4),
    "nature, sizes": (lambda: nature_cnn(6, pooling="average", normalization="layer"), SIZES, None),
    "data_efficient": (lambda: data_efficient_cnn(6, normalization="rms"), FRAMES, 3),
}
BY_DEFAULT = {"mlp, RMS", "bro_net"}
EACH = [pytest.param(*case, id=name, marks=() if name in BY_DEFAULT else thorough) for name, case in CASES.items()]


def network_of(make, shapes, **options):
    tasks = task_set(shapes, [2, 3])
    return tasks, mtq.networks.shared_q_network(tasks, make(), seed=3, **options)


def types_of(backbone):
    return [(type(layer).__name__, layer.name) for layer in backbone.layers]


@pytest.mark.parametrize(
    ("backbone", "expected"),
    [
        (mlp([3, 4]), ["Dense dense_0", "Dense dense_1"]),
        (minatar_cnn(), ["Conv2D conv_0", "Flatten flatten", "Dense dense_0"]),
        (nature_cnn(), ["Conv2D conv_0", "Conv2D conv_1", "Conv2D conv_2", "Flatten flatten", "Dense dense_0"]),
        (data_efficient_cnn(), ["Conv2D conv_0", "Conv2D conv_1", "Flatten flatten", "Dense dense_0"]),
    ],
)
def test_without_normalization_the_layers_are_those_of_before(backbone, expected):
    assert [" ".join(pair) for pair in types_of(backbone)] == expected
    assert all(layer.activation is keras.activations.relu for layer in backbone.layers if layer.name != "flatten")


def layer_norm(x):
    return (x - x.mean(-1, keepdims=True)) / np.sqrt(x.var(-1, keepdims=True) + EPSILON)


def rms_norm(x):
    return x / np.sqrt(np.square(x).mean(-1, keepdims=True) + EPSILON)


@pytest.mark.parametrize(("name", "norm"), [("layer", layer_norm), ("rms", rms_norm)])
def test_a_normalized_mlp_by_hand(name, norm):
    backbone = mlp([6, 4], "tanh", normalization=name)
    x = np.random.default_rng(0).normal(size=(3, 5)).astype(np.float32)
    outputs = backbone(x)
    for block in backbone.layers:
        x = np.tanh(norm(x @ block.layers[0].kernel + block.layers[0].bias))
    np.testing.assert_allclose(outputs, x, rtol=1e-4, atol=1e-5)


def test_a_normalized_convolution_normalizes_the_channels_of_each_position():
    backbone = minatar_cnn(8, 4, normalization="layer")
    backbone(np.random.default_rng(0).normal(size=(2, 10, 10, 3)))
    convolution, normalization, _ = backbone.layers[0].layers
    assert normalization.gamma.shape == (8,)
    outputs = normalization(convolution(np.random.default_rng(1).normal(size=(2, 10, 10, 3)))).numpy()
    np.testing.assert_allclose(outputs.mean(-1), 0, atol=1e-5)
    np.testing.assert_allclose(outputs.var(-1), 1, rtol=1e-2)


def test_bro_net_by_hand():
    backbone = bro_net(6, 2)
    x = np.random.default_rng(0).normal(size=(3, 5)).astype(np.float32)
    outputs = backbone(x)
    dense = lambda block, x: x @ block.layers[0].kernel.numpy() + block.layers[0].bias.numpy()  # noqa: E731
    first, *blocks = backbone.layers
    x = np.maximum(layer_norm(dense(first, x)), 0)
    for block in blocks:
        one, two = block.branch.layers
        x = x + layer_norm(dense(two, np.maximum(layer_norm(dense(one, x)), 0)))
    np.testing.assert_allclose(outputs, x, rtol=1e-4, atol=1e-5)


def test_impala_has_the_sizes_of_the_paper():
    backbone = impala_cnn()
    assert backbone.compute_output_shape((None, 84, 84, 4)) == (None, 256)
    backbone.build((None, 84, 84, 4))
    convolutions = sum(9 * i * o + o for i, o in [(4, 16), (16, 32), (32, 32)])
    convolutions += sum(4 * (9 * c * c + c) for c in (16, 32, 32))
    assert backbone.count_params() == convolutions + 11 * 11 * 32 * 256 + 256
    assert [tuple(layer.output.shape[1:]) for layer in backbone.layers[:3]] == [
        (42, 42, 16),
        (21, 21, 32),
        (11, 11, 32),
    ]


def test_impala_keeps_channels_last_whatever_keras_does():
    before = keras.config.image_data_format()
    keras.config.set_image_data_format("channels_first")
    try:
        assert impala_cnn([3], 5, pooling="max")(np.zeros((2, 9, 8, 4))).shape == (2, 5)
    finally:
        keras.config.set_image_data_format(before)


@pytest.mark.parametrize(("make", "shapes", "depth"), EACH)
def test_the_weights_are_drawn_from_the_seed(make, shapes, depth):
    network = network_of(make, shapes)[1]
    assert not undrawable(network)
    first = network.get_weights()
    for one, other in zip(first, network_of(make, shapes)[1].get_weights(), strict=True):
        np.testing.assert_array_equal(one, other)
    initialize(network, 4)
    assert any(not np.array_equal(one, other) for one, other in zip(first, network.get_weights(), strict=True))
    initialize(network, 3)
    for one, other in zip(first, network.get_weights(), strict=True):
        np.testing.assert_array_equal(one, other)


@pytest.mark.parametrize(("make", "shapes", "depth"), EACH)
def test_saved_and_exported(make, shapes, depth, tmp_path):
    tasks, network = network_of(make, shapes)
    observations, model = observations_of(tasks, [3, 3]), mtq.MultiTaskDQN(network, tasks)
    model.compile(jit_compile=False)
    model.save(tmp_path / "model.keras")
    loaded = keras.models.load_model(tmp_path / "model.keras")
    model.export(tmp_path / "1")
    signatures = tf.saved_model.load(tmp_path / "1").signatures
    for name, q_values in network(observations).items():
        np.testing.assert_array_equal(loaded.network(observations)[name], q_values)
        exported = signatures[name](observation=observations[name])["q_values"]
        np.testing.assert_allclose(exported, q_values, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize(("make", "shapes", "depth"), EACH)
def test_blocks_count_as_layers_of_the_sharing_depth(make, shapes, depth):
    if depth is None:
        return
    for shared_layers in range(depth + 1):
        tasks, network = network_of(make, shapes, shared_layers=shared_layers)
        paths, variables = mtq.networks.TaskPaths(network, tasks), network.trainable_variables
        owners = zip(variables, paths.tasks_of(variables), strict=True)
        own = {variable.path.split("/")[0] for variable, of in owners if of == (0,)}
        assert len(own - {"task_0_q_values", "task_0_encoder"}) == depth - shared_layers
    with pytest.raises(ValueError, match=f"from 0 to {depth}"):
        network_of(make, shapes, shared_layers=depth + 1)


def test_a_built_block_is_copied_with_its_weights():
    backbone = bro_net(6, 1)
    backbone(np.zeros((1, 5)))
    tasks = task_set(VECTORS, [2, 3])
    network = mtq.networks.shared_q_network(tasks, backbone, shared_layers=1)
    observations = observations_of(tasks, [3, 3])
    for name, x in observations.items():
        block = network.get_layer(f"{name}_block_0")
        assert block is not backbone.layers[1]
        np.testing.assert_array_equal(block(backbone.layers[0](x)), backbone(x))


def test_small_images_suit_xla_on_a_cpu():
    assert suits_xla_on_cpu(network_of(lambda: impala_cnn([16, 32], normalization="layer"), [(10, 10, 4)] * 2)[1])
    assert not suits_xla_on_cpu(network_of(lambda: impala_cnn([2], 4), [(84, 84, 4)] * 2)[1])


@pytest.mark.parametrize("make", [mlp, minatar_cnn, nature_cnn, data_efficient_cnn, impala_cnn])
@pytest.mark.parametrize("value", ["batch", "", 1, True])
def test_unknown_normalizations(make, value):
    with pytest.raises(ValueError, match=error("normalization of the backbone must be 'layer', 'rms' or None", "Rec")):
        make(normalization=value)


def test_a_residual_whose_layers_change_the_shape():
    with pytest.raises(ValueError, match=error("layers of Residual 'r'", "(5,)", "Received: layers that return (4,)")):
        Residual([keras.layers.Dense(4)], name="r")(np.zeros((2, 5)))


def test_a_residual_with_dropout_learns_whether_it_is_for_training():
    layer = Residual([keras.layers.Dropout(0.5)])
    x = np.ones((1, 100), np.float32)
    np.testing.assert_array_equal(layer(x), 2 * x)
    assert len(np.unique(layer(x, training=True))) == 2


class Halved(Residual):
    """Computes something else."""

    def call(self, inputs, training=None):
        return super().call(inputs, training=training) / 2


def test_a_subclass_of_residual_is_called_as_it_is():
    tasks, network = network_of(lambda: keras.Sequential([Halved([keras.layers.Dense(5)])]), VECTORS)
    model, observations = mtq.MultiTaskDQN(network, tasks), observations_of(tasks, [3, 3])
    for name, q_values in model.joint_q_values(list(tasks))(observations).items():
        np.testing.assert_allclose(q_values, network(observations)[name], rtol=1e-5, atol=1e-6)
