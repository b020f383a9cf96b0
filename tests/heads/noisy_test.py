"""Tests of noisy layers against the formula of the paper."""

import keras
import numpy as np
import tensorflow as tf

from mtq.heads import NoisyDense


def test_the_noise_is_factorized():
    layer = NoisyDense(3, seed=1)
    layer.build((None, 4))
    x, rows = np.random.default_rng(0).normal(size=(200, 4)).astype("f4"), []
    for _ in range(2):
        outputs = layer(x, training=True).numpy() - layer(x).numpy()
        weights = np.linalg.lstsq(np.column_stack([x, np.ones(200)]), outputs, rcond=None)[
            0
        ]  # noise of kernel and bias
        rows.append(weights)
        kernel = weights[:4] / layer.kernel_sigma.numpy()
        assert np.linalg.matrix_rank(kernel, tol=1e-3) == 1
        ratio = weights[4] / layer.bias_sigma.numpy()  # f(ε') of the outputs
        np.testing.assert_allclose(kernel / ratio, (kernel / ratio)[:, :1] * np.ones(3), rtol=1e-3)
    assert not np.allclose(*rows)


def test_the_noise_has_the_papers_moments():
    layer = NoisyDense(50, seed=3)
    layer.build((None, 60))
    noise = np.concatenate([np.asarray(layer._noise(1000)) for _ in range(50)])
    # f(x) = sign(x) √|x|: mean 0, E f² = E|x| = √(2/π).
    assert abs(noise.mean()) < 0.02
    np.testing.assert_allclose(np.mean(noise**2), np.sqrt(2 / np.pi), rtol=0.02)
    np.testing.assert_allclose(layer.kernel_sigma.numpy(), 0.5 / np.sqrt(60), rtol=1e-6)
    assert np.abs(layer.kernel.numpy()).max() <= 1 / np.sqrt(60)


def test_the_standard_deviations_are_trained():
    layer = NoisyDense(2, activation="relu")
    with tf.GradientTape() as tape:
        loss = tf.reduce_sum(layer(tf.ones([3, 4]), training=True) ** 2)
    gradients = tape.gradient(loss, layer.trainable_variables)
    assert len(gradients) == 4
    assert all(gradient is not None for gradient in gradients)


def test_saved_layers_have_their_settings():
    layer = NoisyDense(2, "tanh", sigma=0.1, seed=4)
    again = NoisyDense.from_config(layer.get_config())
    assert (again.units, again.sigma, again.seed, again.activation) == (2, 0.1, 4, keras.activations.tanh)
