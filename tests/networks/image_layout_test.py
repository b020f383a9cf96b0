"""How images lie: moved where it is clear, refused with the remedy where it is not; and nothing is scaled twice."""

import keras
import numpy as np
import pytest
import tensorflow as tf
from keras import layers

import mtq
from mtq.networks import backbone_for, minatar_cnn, mlp, nature_cnn, shared_q_network
from mtq.tasks.spec import TaskSpec
from tests.messages import error


def tasks_of(*shapes, dtype="float32", high=None, low=None):
    specs = [TaskSpec(shape, dtype, high, 2, observation_low=low) for shape in shapes]
    return mtq.TaskSet([mtq.Task("abc"[i], None, spec=spec) for i, spec in enumerate(specs)])


def network_of(*shapes, backbone, encoders=None, **options):
    return shared_q_network(tasks_of(*shapes, **options), backbone, encoders, seed=0)


def convolving(*before, **options):
    return keras.Sequential([*before, layers.Conv2D(2, 3, **options), layers.Flatten(), layers.Dense(3)])


def graph(shape):
    inputs = keras.Input(shape)
    return keras.Model(inputs, layers.Dense(3)(layers.Flatten()(layers.Conv2D(2, 3, name="convolution")(inputs))))


@pytest.mark.parametrize("frames_first", [(4, 40, 48), (4, 40, 90), (2, 40, 48, 2), (40, 48)])
def test_moved_images_are_seen_as_images_that_lie_so(frames_first):
    observation = np.random.default_rng(0).random((2, *frames_first)).astype(np.float32)
    if observation.ndim == 5:  # all channels of the first frame, then those of the second
        as_image = np.concatenate([observation[:, 0], observation[:, 1]], axis=-1)
    else:
        as_image = observation[..., None] if observation.ndim == 3 else np.moveaxis(observation, 1, -1)
    moved, lying = (network_of(shape, backbone=nature_cnn(8)) for shape in (frames_first, as_image.shape[1:]))
    lying.set_weights(moved.get_weights())
    np.testing.assert_allclose(moved({"a": observation})["a"], lying({"a": as_image})["a"], rtol=1e-5, atol=1e-6)


def test_tasks_whose_images_lie_otherwise_share_a_backbone():
    shapes = [(4, 40, 48), (40, 48, 4), (2, 40, 48, 2)]
    network = network_of(*shapes, backbone=nature_cnn(8), high=9.0, low=1.0)
    assert network.get_layer("backbone").get_layer("conv_0").kernel.shape == (8, 8, 4, 32)
    model = mtq.MultiTaskDQN(network, tasks_of(*shapes, high=9.0, low=1.0))
    model.compile(jit_compile=False)
    zeros = {name: tf.ones([2, *task.spec.observation_shape]) for name, task in model.tasks.items()}
    batch = {n: mtq.Transition(o, tf.zeros([2], tf.int32), tf.ones([2]), tf.ones([2]), o) for n, o in zeros.items()}
    assert np.isfinite([float(value) for value in tf.nest.flatten(model.train_step(batch))]).all()


UNCLEAR = [
    (4, 10, 10),
    (4, 24, 10),
    (2, 6, 7),
    (20, 84, 84),
    (3, 5, 4),
    (4, 3, 40, 40),
    (40, 40, 4, 3),
    (2, 2, 2, 2, 2),
]


@pytest.mark.parametrize("shape", UNCLEAR)
def test_what_is_not_clear_is_refused(shape):
    with pytest.raises(ValueError, match=error("images [height, width, channels]", f"{shape}", "Permute((2, 3, 1))")):
        backbone_for([shape])
    remedies = ("Layer 'conv_0'", "images [height", f"{shape}", "'a'", "Permute((2, 3, 1))", "Identity()")
    for backbone in (minatar_cnn(), nature_cnn()):
        with pytest.raises(ValueError, match=error(*remedies)):
            network_of(shape, backbone=backbone)


def test_the_remedies_work():
    for encoder, channels in ((layers.Permute((2, 3, 1)), 4), (layers.Identity(), 10)):
        network = network_of((4, 10, 10), backbone=minatar_cnn(2), encoders={"a": encoder})
        assert network.get_layer("backbone").get_layer("conv_0").kernel.shape[2] == channels


@pytest.mark.parametrize("backbone", [minatar_cnn, nature_cnn, mlp])
@pytest.mark.parametrize("shape", [(1, 1, 1), (2, 2, 3), (2, 9, 1)])
def test_images_below_a_kernels_size(shape, backbone):
    parts = ("backbone must", f"{shape} of task 'a'", "keras.layers.Flatten()")
    with pytest.raises(ValueError, match=error(*parts)):
        network_of(shape, backbone=backbone())
    with pytest.raises(ValueError, match=error("at least 3×3", f"{shape}", "Flatten")):
        backbone_for([shape])
    assert network_of(shape, backbone=mlp([4]), encoders={"a": layers.Flatten()}).count_params()


def test_an_output_without_numbers():
    nothing = layers.Lambda(lambda x: x[:, :0], name="nothing")
    with pytest.raises(ValueError, match=error("encoder must", "Layer 'nothing' has an output of shape (0,)")):
        network_of((3,), backbone=mlp([4]), encoders={"a": nothing})


@pytest.mark.parametrize("shape", [(10, 10, 4), (10, 10), (4, 84, 84), (2, 10, 10, 3)])
def test_images_in_dense_layers(shape):
    with pytest.raises(ValueError, match=error("features [B, features]", f"{shape} of task 'a'", "minatar_cnn")):
        network_of(shape, backbone=mlp())


def test_vectors_in_convolutions():
    with pytest.raises(ValueError, match=error("Layer 'conv_0'", "(3,)", "such as mlp")):
        network_of((3,), backbone=minatar_cnn())


def test_channels_in_the_middle_are_ambiguous():
    with pytest.raises(ValueError, match=error("Observations must be", "(84, 4, 84), which is ambiguous")):
        backbone_for([(84, 4, 84)])
    with pytest.raises(ValueError, match=error("must see images", "(84, 4, 84)")):
        network_of((84, 4, 84), backbone=nature_cnn())


def test_the_backbone_by_shape():
    assert backbone_for([(4, 84, 84)]) == backbone_for([(84, 84, 4), (84, 84)]) == "nature_cnn"
    assert backbone_for([(10, 10, 4), (84, 84, 1)]) == backbone_for([(3, 10, 10, 3)]) == "minatar_cnn"
    assert backbone_for([(3,), (5,)]) == backbone_for([(3,), (84, 84, 1)]) == "mlp"


OF_USERS = {
    "moves by itself": lambda: convolving(layers.Permute((2, 3, 1))),
    "moves further in": lambda: convolving(keras.Sequential([layers.Rescaling(2.0), layers.Permute((2, 3, 1))])),
    "made for channels first": lambda: convolving(data_format="channels_first"),
    "reshapes": lambda: convolving(layers.Reshape((40, 48, 4))),
    "convolves in one dimension": lambda: keras.Sequential(
        [layers.Reshape((4, -1)), layers.Conv1D(2, 2), layers.Flatten()]
    ),
    "convolves in time": lambda: keras.Sequential(
        [layers.Reshape((4, 40, 48, 1)), layers.Conv3D(2, 3), layers.Flatten()]
    ),
}


@pytest.mark.parametrize("name", OF_USERS)
def test_backbones_that_take_frames_first_get_them_so(name):
    network = network_of((4, 40, 48), backbone=OF_USERS[name]())
    assert "a_layout" not in [layer.name for layer in network.layers]


def test_backbones_that_are_made_for_a_shape():
    for backbone in (graph((40, 48, 4)), convolving(keras.Input((40, 48, 4)))):
        assert network_of((4, 40, 48), backbone=backbone).get_layer("a_layout")
    for backbone in (graph((4, 40, 48)), convolving(keras.Input((4, 40, 48)), name="convolution")):
        with pytest.raises(ValueError, match=error("Layer 'convolution'", "(4, 40, 48)", "Identity()")):
            network_of((4, 40, 48), backbone=backbone)
    with pytest.raises(ValueError, match=error("must take the observations (9, 9, 4) of task 'a'", "Received: ")):
        network_of((9, 9, 4), backbone=graph((40, 48, 4)))


@pytest.mark.parametrize("shape", [(40, 48, 4), (10, 10, 10), (40, 48), (2, 40, 48, 3)])
def test_convolutions_that_take_channels_first(shape):
    remedies = ("data_format 'channels_last'", "'channels_first'", f"{shape} of task 'a'", "Permute((3, 1, 2))")
    with pytest.raises(ValueError, match=error(*remedies)):
        network_of(shape, backbone=convolving(data_format="channels_first"))
    if len(shape) == 3:
        moved = network_of(
            shape, backbone=convolving(data_format="channels_first"), encoders={"a": layers.Permute((3, 1, 2))}
        )
        assert moved.count_params()


def test_convolutions_that_take_channels_first_by_kerass_default():
    keras.config.set_image_data_format("channels_first")
    try:
        with pytest.raises(ValueError, match=error("Keras's default is 'channels_first'", "(10, 10, 4)")):
            network_of((10, 10, 4), backbone=convolving())
    finally:
        keras.config.set_image_data_format("channels_last")


AGAIN = {
    "factor": lambda: layers.Rescaling(1 / 255),
    "factor and offset": lambda: layers.Rescaling(1 / 127.5, -1),
    "of an application": lambda: keras.Sequential([keras.Sequential([layers.Identity(), layers.Rescaling(1 / 255)])]),
    "mean of what is not scaled": lambda: layers.Normalization(mean=[120.0], variance=[40.0]),
}


@pytest.mark.parametrize("name", AGAIN)
@pytest.mark.parametrize("high", [255.0, (255.0, 255.0, 9.0)])
def test_nothing_is_scaled_twice(name, high):
    def backbone():
        return keras.Sequential([AGAIN[name](), layers.Flatten(), layers.Dense(2)])

    with pytest.raises(ValueError, match=error("must take observations in [0, 1]", "'a' again")):
        network_of((9, 9, 3), backbone=backbone(), high=high)
    with pytest.raises(ValueError, match="would scale those of 'a' again"):
        network_of((9, 9, 3), backbone=mlp([2]), encoders={"a": backbone()}, high=high)
    assert network_of((9, 9, 3), backbone=backbone())  # which come as they are


def test_what_scales_further_is_let_in():
    for layer in (layers.Rescaling(2.0, -1.0), layers.Normalization(mean=[0.5], variance=[0.1])):
        assert network_of((9, 9, 3), backbone=keras.Sequential([layer, layers.Flatten()]), high=255.0)


@pytest.mark.parametrize("policy", ["float32", "float64", "mixed_float16", "mixed_bfloat16"])
def test_scaling_is_as_exact_as_float32_whatever_the_precision(policy):
    keras.config.set_dtype_policy(policy)
    try:
        network = network_of((3,), backbone=mlp([2]), high=(65_535.0, 16_000_003.0, 1.0), low=(0.0, 16_000_000.0, 0.0))
    finally:
        keras.config.set_dtype_policy("float32")
    scaled = keras.Model(network.input["a"], network.get_layer("a_scaling").output)
    observation = np.array([[65_535, 16_000_001, 1], [13_107, 16_000_000, 0]], np.float32)
    np.testing.assert_allclose(scaled(observation), [[1, 1 / 3, 1], [0.2, 0, 0]], rtol=1e-6)


def test_a_network_that_scales_and_moves_is_saved_whole(tmp_path):
    network = network_of((4, 40, 48), backbone=nature_cnn(8), high=tuple(range(2, 50)), low=-1.0)
    network.save(tmp_path / "network.keras")
    observation = np.random.default_rng(0).random((2, 4, 40, 48)).astype(np.float32)
    loaded = keras.models.load_model(tmp_path / "network.keras")
    np.testing.assert_array_equal(loaded({"a": observation})["a"], network({"a": observation})["a"])
