"""Means over replicas are the same in whatever order their numbers are added up."""

import itertools

import numpy as np
import pytest
import tensorflow as tf

import mtq
from mtq.distribution.replicas import on_means, per_replica, reduced_dtype


def mean_of(numbers):
    """As every replica gets it, of a vector from each."""
    strategy = mtq.distribution.strategy("mirrored", devices=len(numbers))
    values = per_replica(strategy, [tf.constant(vector, tf.float32) for vector in numbers])
    function = tf.function(lambda value: on_means(lambda mean: mean, value))
    means = [mean.numpy() for mean in strategy.experimental_local_results(strategy.run(function, (values,)))]
    for mean in means:
        assert mean.dtype == np.float32
        np.testing.assert_array_equal(mean, means[0])
    return means[0]


def test_of_two_and_of_four():
    np.testing.assert_array_equal(mean_of([[1.0, 5.0], [2.0, -5.0]]), [1.5, 0.0])
    np.testing.assert_array_equal(mean_of([[1.0], [2.0], [4.0], [8.0]]), [3.75])


@pytest.mark.parametrize("order", list(itertools.permutations(range(3))))
def test_of_three_in_any_order(order):
    """In float32 the first is 0 or a third, and one in three of the others differs by its last bit."""
    numbers = np.random.default_rng(0).normal(size=(3, 200)).astype(np.float32)
    numbers[:, 0] = [1.0, 1e8, -1e8]
    expected = (numbers.astype(np.float64).sum(axis=0) / 3).astype(np.float32)
    assert expected[0] == np.float32(1 / 3)
    np.testing.assert_array_equal(mean_of(numbers[list(order)]), expected)


def test_two_are_spared_the_bytes():
    assert reduced_dtype(mtq.distribution.strategy("mirrored", devices=2)) == tf.float32
    assert reduced_dtype(mtq.distribution.strategy("mirrored", devices=3)) == tf.float64
    assert reduced_dtype(tf.distribute.get_strategy()) == tf.float32
