import numpy as np
import pytest
import tensorflow as tf

import mtq  # noqa: F401
from mtq.task_gradients import TaskGradients
from mtq.task_gradients.variable_gradients import SeparateGradients


def gradients_of_two_tasks():
    """Variables: one shared, one of each task, one of nobody."""
    shared = ([3.0, 4.0], [0.0, 2.0])
    return TaskGradients(
        [
            [tf.constant(shared[0]), tf.constant([12.0]), None, None],
            [tf.constant(shared[1]), None, tf.constant([1.5]), None],
        ]
    )


def test_norms_by_hand():
    gradients = gradients_of_two_tasks()
    np.testing.assert_allclose(gradients.norms(), [13.0, 2.5])
    np.testing.assert_allclose(gradients.norms("shared"), [5.0, 2.0])


def test_combination_by_hand():
    combined = gradients_of_two_tasks().combine(tf.constant([2.0, 10.0]), tf.constant([1.0, 100.0]))
    np.testing.assert_allclose(combined[0], [6.0, 28.0])
    np.testing.assert_allclose(combined[1], [12.0])
    np.testing.assert_allclose(combined[2], [150.0])
    assert combined[3] is None


def test_one_task_shares_with_itself():
    assert TaskGradients([[tf.constant([1.0])]]).shared == [True]


def test_lists_of_unequal_length_are_refused():
    with pytest.raises(ValueError, match="one list per task"):
        TaskGradients([[None], [None, None]])


@pytest.mark.parametrize("scale", [1e-37, 1e-25, 1e-12, 1.0, 1e12, 1e19, 1e30])
def test_norms_of_any_size(scale):
    gradients = TaskGradients([[tf.constant([3.0, 4.0]) * scale, tf.constant([12.0]) * scale], [tf.zeros(2), None]])
    np.testing.assert_allclose(tf.function(gradients.norms)() / np.float32(scale), [13.0, 0.0], rtol=1e-5)
    normalized = gradients.combine(tf.math.divide_no_nan(tf.ones(2), gradients.norms()))
    assert float(tf.linalg.global_norm(normalized)) == pytest.approx(1.0, rel=1e-5)


@pytest.mark.parametrize("shape", [(), (7,), (7, 5), (3, 3, 4, 2), (0, 3)])
@pytest.mark.parametrize("jit_compile", [None, True])
def test_norms_of_any_shape(shape, jit_compile):
    values = np.random.default_rng(0).normal(size=shape).astype(np.float32)
    norms = tf.function(lambda g: TaskGradients([[g]]).norms(), jit_compile=jit_compile)(tf.constant(values))
    np.testing.assert_allclose(norms, [np.linalg.norm(values.ravel())], rtol=1e-6)


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_what_is_not_finite_is_seen_in_the_norm(value):
    gradients = TaskGradients([[tf.constant([[1.0, value], [2.0, 3.0]])], [tf.ones([2, 2])]])
    norms = gradients.norms().numpy()
    assert not np.isfinite(norms[0])
    np.testing.assert_allclose(norms[1], 2.0)


@pytest.mark.parametrize("scale", [1e-37, 1e-25, 1.0, 1e12, 1e25])
def test_cosines_of_any_size(scale):
    shared = np.array([[3.0, 4.0], [4.0, 3.0], [0.0, 0.0]], np.float32) * np.float32(scale)
    gradients = TaskGradients([[tf.constant(row)] for row in shared])
    expected = [[1.0, 0.96, 0.0], [0.96, 1.0, 0.0], [0.0, 0.0, 0.0]]
    np.testing.assert_allclose(tf.function(gradients.cosines)(), expected, rtol=1e-5)


def test_cosines_count_private_variables_only_in_the_whole():
    np.testing.assert_allclose(gradients_of_two_tasks().cosines("shared"), [[1.0, 0.8], [0.8, 1.0]], rtol=1e-6)
    across = 8.0 / (13.0 * 2.5)
    np.testing.assert_allclose(gradients_of_two_tasks().cosines(), [[1.0, across], [across, 1.0]], rtol=1e-6)


def test_norms_after_cosines_are_the_same():
    gradients = gradients_of_two_tasks()
    gradients.cosines()
    np.testing.assert_allclose(gradients.norms(), [13.0, 2.5], rtol=1e-6)


def test_the_matrix_has_zeros_where_a_task_does_not_touch_a_variable():
    np.testing.assert_array_equal(gradients_of_two_tasks().matrix("shared"), [[3.0, 4.0], [0.0, 2.0]])
    np.testing.assert_array_equal(gradients_of_two_tasks().matrix("all"), [[3.0, 4.0, 12.0, 0.0], [0.0, 2.0, 0.0, 1.5]])


@pytest.mark.parametrize("num_tasks", [2, 3, 5, 6, 9, 11, 13])
def test_inner_products_of_many_numbers_are_as_exact_with_xla(num_tasks):
    rows = np.random.default_rng(0).normal(size=(num_tasks, 2**16)).astype(np.float32)
    gram = tf.function(lambda rows: SeparateGradients(dict(enumerate(tf.unstack(rows)))).gram(), jit_compile=True)
    exact = rows.astype(np.float64) @ rows.T.astype(np.float64)
    np.testing.assert_allclose(gram(tf.constant(rows)), exact, rtol=0, atol=1e-6 * exact.max())
