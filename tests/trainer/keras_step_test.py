"""The update is that of Keras's own `train_step`: what an optimizer and what the layers ask for counts."""

import inspect

import keras
import numpy as np
import pytest
from keras.src.optimizers.base_optimizer import BaseOptimizer

from tests.batches import random_batch
from tests.plain_keras import assert_same_weights, layers, pair, train_both, two_vectors


@keras.saving.register_keras_serializable("keras_step_test")
class AddsLosses(layers.Layer):
    """Adds a scalar, a vector and a whole number at every call, and another in training only."""

    def call(self, x, training=False):
        self.add_loss(keras.ops.mean(x**2))
        self.add_loss(0.1 * x[:, 0])
        self.add_loss(keras.ops.cast(keras.ops.shape(x)[0], "int32"))
        if training:
            self.add_loss(3.0 * keras.ops.mean(x))
        return x


@keras.saving.register_keras_serializable("keras_step_test")
class HidesItsLayer(layers.Layer):
    """A layer of another that is regularized by its outputs."""

    def __init__(self, **kwargs):
        super().__init__(**kwargs)
        self.inner = layers.Dense(4, activity_regularizer="l2")

    def build(self, shape):
        self.inner.build(shape)

    def call(self, x):
        return self.inner(x)


def dense(**options):
    return lambda: keras.Sequential([layers.Dense(8, "tanh", **options)])


def frozen():
    first = layers.Dense(4, "tanh", kernel_regularizer="l2", activity_regularizer="l2")
    first.trainable = False
    return keras.Sequential([first, layers.Dense(8, "relu", kernel_regularizer="l2")])


def built_prelu():
    activation = layers.PReLU("uniform")
    activation.build((None, 8))
    return activation


def spectral(**options):
    """Iterations enough that the order of the tasks, each of which normalizes the kernel, makes no difference."""
    return layers.SpectralNormalization(layers.Dense(8, "tanh", **options), power_iterations=50)


def called_twice():
    x = keras.Input((3,))
    layer = layers.Dense(3, "tanh", activity_regularizer="l2", bias_regularizer="l1")
    return keras.Model(x, layer(layer(x)))


SGD = lambda: keras.optimizers.SGD(0.1)  # noqa: E731
BACKBONES = {
    "no auxiliary loss": dense(),
    "kernel_regularizer": dense(kernel_regularizer=keras.regularizers.L2(0.5)),
    "bias_regularizer": dense(bias_regularizer=keras.regularizers.L1(0.5), bias_initializer="ones"),
    "activity_regularizer": dense(activity_regularizer=keras.regularizers.L2(0.5)),
    "all of one layer": dense(kernel_regularizer="l1", bias_regularizer="l2", activity_regularizer="l1l2"),
    "kernel_constraint": dense(kernel_constraint=keras.constraints.MaxNorm(0.5)),
    "orthogonal": dense(kernel_regularizer=keras.regularizers.OrthogonalRegularizer(0.1)),
    "ActivityRegularization": lambda: keras.Sequential([layers.Dense(8), layers.ActivityRegularization(l2=0.5)]),
    "add_loss": lambda: keras.Sequential([layers.Dense(8, "tanh"), AddsLosses()]),
    "a layer in a layer": lambda: keras.Sequential([HidesItsLayer(), layers.Dense(8, "relu")]),
    "a frozen layer": frozen,
    "a layer called twice": called_twice,
    "spectral normalization": lambda: keras.Sequential([spectral(kernel_regularizer="l2"), layers.Dense(4)]),
    "spectral normalization, activity_regularizer": lambda: keras.Sequential(
        [spectral(kernel_regularizer="l2", activity_regularizer="l2"), layers.Dense(4)]
    ),
    "a layer as the activation of another": lambda: keras.Sequential([layers.Dense(8, activation=built_prelu())]),
    "batch normalization": lambda: keras.Sequential(
        [layers.Dense(8, activity_regularizer="l2"), layers.BatchNormalization(), layers.Activation("tanh")]
    ),
}


BY_DEFAULT = {
    *("kernel_regularizer", "activity_regularizer", "add_loss", "a frozen layer", "batch normalization"),
    *("a layer as the activation of another", "spectral normalization"),
}


@pytest.mark.parametrize(
    "name", [pytest.param(name, marks=() if name in BY_DEFAULT else pytest.mark.slow) for name in BACKBONES]
)
def test_auxiliary_losses(name):
    model, plain = pair(two_vectors(), BACKBONES[name], SGD)
    loss, plain_loss = train_both(model, plain, steps=2)
    assert_same_weights(model, plain)
    np.testing.assert_allclose(loss, plain_loss, rtol=1e-5)


def test_layers_of_one_task_are_regularized_too():
    def encoders():
        regularized = layers.Dense(4, kernel_regularizer="l2", activity_regularizer="l2")
        return {"task_0": regularized, "task_1": layers.Dense(4)}

    model, plain = pair(two_vectors(), dense(), SGD, encoders)
    train_both(model, plain, steps=2)
    assert_same_weights(model, plain)
    assert "regularization_loss" in model.metrics_names


# Of every argument of Keras's optimizers: settings of SGD or Adam, and steps enough for them to matter.
OPTIMIZERS = {
    "learning_rate": {"learning_rate": keras.optimizers.schedules.ExponentialDecay(0.1, 1, 0.5)},
    "weight_decay": {"weight_decay": 0.1},
    "clipnorm": {"clipnorm": 0.1},
    "clipvalue": {"clipvalue": 0.02},
    "global_clipnorm": {"global_clipnorm": 0.1},
    "use_ema": {"use_ema": True},
    "ema_momentum": {"use_ema": True, "ema_momentum": 0.5, "ema_overwrite_frequency": 2},
    "ema_overwrite_frequency": {"use_ema": True, "ema_overwrite_frequency": 3},
    "loss_scale_factor": {"loss_scale_factor": 1000.0},
    "gradient_accumulation_steps": {"gradient_accumulation_steps": 2},
}
BACKBONE_OF_ALL = dense(kernel_regularizer="l2", activity_regularizer="l2")


def test_all_arguments_of_an_optimizer_are_here():
    arguments = set(inspect.signature(BaseOptimizer.__init__).parameters) - {"self", "name", "kwargs"}
    assert arguments == set(OPTIMIZERS)


OFTEN = {"clipnorm", "weight_decay", "loss_scale_factor", "gradient_accumulation_steps", "use_ema"}


@pytest.mark.parametrize(
    "name", [pytest.param(name, marks=() if name in OFTEN else pytest.mark.slow) for name in OPTIMIZERS]
)
def test_arguments_of_an_optimizer(name):
    options = {"learning_rate": 0.1, "momentum": 0.5, **OPTIMIZERS[name]}
    model, plain = pair(two_vectors(), BACKBONE_OF_ALL, lambda: keras.optimizers.SGD(**options))
    train_both(model, plain, steps=4)
    assert_same_weights(model, plain)
    for one, other in zip(model.optimizer.variables, plain.optimizer.variables, strict=True):
        np.testing.assert_allclose(one.numpy(), other.numpy(), rtol=1e-4, atol=1e-6, err_msg=one.path)


@pytest.mark.parametrize(
    "clipping", ["global_clipnorm", *(pytest.param(name, marks=pytest.mark.slow) for name in ("clipnorm", "clipvalue"))]
)
def test_clipping_sees_unscaled_gradients(clipping):
    options = {"learning_rate": 0.1, "loss_scale_factor": 1024.0, clipping: 0.05}
    model, plain = pair(two_vectors(), BACKBONE_OF_ALL, lambda: keras.optimizers.SGD(**options))
    train_both(model, plain)
    assert_same_weights(model, plain)


@pytest.mark.parametrize("aggregator", ["normalized_sum", pytest.param("upgrad", marks=pytest.mark.slow)])
def test_the_auxiliary_gradient_is_added_to_what_the_aggregator_makes(aggregator):
    tasks, regularizer = two_vectors(), keras.regularizers.L2(0.5)

    def moved(**options):
        model, _ = pair(tasks, dense(**options), SGD, aggregator=aggregator)
        before = [v.numpy() for v in model.network.trainable_variables]
        train_both(model, pair(tasks, dense(**options), SGD)[1], steps=1)
        return before, [v.numpy() - w for v, w in zip(model.network.trainable_variables, before, strict=True)]

    before, with_it = moved(kernel_regularizer=regularizer)
    _, without = moved()
    kernel = next(place for place, w in enumerate(before) if w.shape == (3, 8))
    for place, (one, other) in enumerate(zip(with_it, without, strict=True)):
        penalty = -0.1 * 2 * 0.5 * before[place] if place == kernel else 0.0
        np.testing.assert_allclose(one, other + penalty, rtol=1e-4, atol=1e-6)


def test_ema_is_what_is_left_after_fit():
    options = {"learning_rate": 0.1, "use_ema": True, "ema_momentum": 0.9}
    model, _ = pair(two_vectors(), dense(), lambda: keras.optimizers.SGD(**options))
    batch = random_batch(model.tasks)
    model.fit(((batch,) for _ in range(3)), steps_per_epoch=3, verbose=0)
    averages = model.optimizer._model_variables_moving_average
    for variable, average in zip(model.network.trainable_variables, averages, strict=True):
        np.testing.assert_array_equal(variable.numpy(), average.numpy())
