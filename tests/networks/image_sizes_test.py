"""Tasks with images of different sizes share convolutions: by pooling over the image, or by resizing encoders."""

import keras
import numpy as np
import pytest
import tensorflow as tf

import mtq
from mtq.networks import minatar_cnn, nature_cnn, resizing_encoder
from mtq.tasks.spec import TaskSpec

SHAPES = {"square": (84, 84, 4), "wide": (64, 72, 3), "frames": (4, 50, 50), "gray": (60, 60)}


def tasks_of(shapes):
    return mtq.TaskSet(
        [mtq.Task(name, None, spec=TaskSpec(shape, "uint8", 255.0, 3)) for name, shape in shapes.items()]
    )


def batch_of(tasks, size=4):
    random = np.random.default_rng(0)

    def of_task(task):
        images = tf.constant(random.integers(256, size=(size, *task.spec.observation_shape)), tf.uint8)
        actions, numbers = tf.zeros([size], tf.int32), tf.constant(random.normal(size=size), tf.float32)
        return mtq.value_learning.Transition(images, actions, numbers, tf.ones([size]), images)

    return {name: of_task(task) for name, task in tasks.items()}


def resizing(tasks):
    return {name: resizing_encoder(task, 48, 52, channels=4) for name, task in tasks.items()}


CASES = {
    "average": lambda tasks: {"backbone": nature_cnn(8, pooling="average")},
    "max, two shared layers": lambda tasks: {"backbone": nature_cnn(8, pooling="max"), "shared_layers": 2},
    "resized": lambda tasks: {"backbone": nature_cnn(8), "encoders": resizing(tasks)},
    "separate": lambda tasks: {"backbone": nature_cnn(8), "shared_layers": 0},
}


@pytest.mark.parametrize(
    "case", [pytest.param(case, marks=() if case == "average" else pytest.mark.thorough) for case in CASES]
)
def test_one_network_learns_from_images_of_different_sizes(case, tmp_path):
    tasks = tasks_of(SHAPES)
    network = mtq.networks.shared_q_network(tasks, seed=0, **CASES[case](tasks))
    model = mtq.MultiTaskDQN(network, tasks)
    model.compile(keras.optimizers.Adam(1e-3), "huber", aggregator="normalized_sum", jit_compile=False)
    batch = batch_of(tasks)
    kernels = [weight for weight in network.trainable_variables if tuple(weight.shape) == (8, 8, 4, 32)]
    assert len(kernels) == (4 if case == "separate" else 1)
    before = [kernel.numpy() for kernel in kernels]
    model.fit(tf.data.Dataset.from_tensors(batch).repeat(), steps_per_epoch=2, verbose=0)
    assert all(np.abs(kernel.numpy() - old).max() > 0 for kernel, old in zip(kernels, before, strict=True))
    observations = {name: transition.observation for name, transition in batch.items()}
    alone = {name: model.paths[name](images) for name, images in observations.items()}
    for name, q_values in model.joint_q_values(list(tasks))(observations).items():
        np.testing.assert_allclose(q_values, alone[name], rtol=1e-5, atol=1e-5)
    model.save(tmp_path / "model.keras")
    loaded = keras.models.load_model(tmp_path / "model.keras")
    model.export(tmp_path / "1")
    signatures = tf.saved_model.load(tmp_path / "1").signatures
    for name, images in observations.items():
        np.testing.assert_allclose(loaded.paths[name](images), alone[name], rtol=1e-5, atol=1e-5)
        np.testing.assert_allclose(signatures[name](observation=images)["q_values"], alone[name], rtol=1e-5, atol=1e-5)


@pytest.mark.thorough
@pytest.mark.xla
@pytest.mark.parametrize("case", ["average", "resized"])
def test_a_compiled_update_is_the_same(case):
    tasks = tasks_of({name: SHAPES[name] for name in ("square", "wide")})
    weights = []
    for jit_compile in (False, True):
        network = mtq.networks.shared_q_network(tasks, seed=0, **CASES[case](tasks))
        model = mtq.MultiTaskDQN(network, tasks)
        model.compile(keras.optimizers.SGD(0.1), "huber", aggregator="normalized_sum", jit_compile=jit_compile)
        model.fit(tf.data.Dataset.from_tensors(batch_of(tasks)).repeat(), steps_per_epoch=2, verbose=0)
        weights.append([weight.numpy() for weight in model.trainable_variables])
    for plain, compiled in zip(*weights, strict=True):
        np.testing.assert_allclose(plain, compiled, rtol=1e-4, atol=1e-5)


def test_pooling_does_not_see_positions():
    tasks = tasks_of({"a": (20, 20, 1)})
    network = mtq.networks.shared_q_network(tasks, minatar_cnn(4, 8, pooling="max"), seed=0)
    images = np.zeros((2, 20, 20, 1), np.uint8)
    images[0, 5, 5], images[1, 12, 9] = 255, 255
    first, second = network({"a": images})["a"].numpy()
    np.testing.assert_allclose(first, second, rtol=1e-6)


@pytest.mark.parametrize(
    ("shapes", "options", "message"),
    [
        (
            SHAPES,
            {"backbone": nature_cnn(8)},
            r"images of different sizes[\s\S]*pooling='average'[\s\S]*resizing_encoder",
        ),
        (SHAPES, {"backbone": nature_cnn(8), "shared_layers": 4}, "images of different sizes"),
        ({"a": (84, 84, 4), "b": (20, 20, 4)}, {"backbone": nature_cnn(8, pooling="max")}, "different sizes"),
        ({"a": (84, 84, 4), "b": (3,)}, {"backbone": nature_cnn(8, pooling="max")}, "Received"),
    ],
)
def test_backbones_that_cannot_take_different_sizes_are_refused(shapes, options, message):
    with pytest.raises(ValueError, match=message):
        mtq.networks.shared_q_network(tasks_of(shapes), **options)


def test_arguments_are_checked():
    (task,) = tasks_of({"a": (84, 84, 4)}).values()
    (vector,) = tasks_of({"a": (84,)}).values()
    with pytest.raises(
        ValueError, match=r"pooling of the backbone must be 'average', 'max' or None\. Received: 'mean'"
    ):
        nature_cnn(pooling="mean")
    with pytest.raises(ValueError, match="channels of resizing_encoder must be an integer of at least 4"):
        resizing_encoder(task, 8, 8, channels=3)
    with pytest.raises(ValueError, match="height of resizing_encoder"):
        resizing_encoder(task, 0, 8)
    with pytest.raises(ValueError, match=r"task 'a' must be images .* Received: the shape \(84,\)"):
        resizing_encoder(vector, 8, 8)
