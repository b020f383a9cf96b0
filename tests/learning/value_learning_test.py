import numpy as np
import pytest
import tensorflow as tf

import mtq
from mtq import value_learning as vl

Q_T = tf.constant([[1.0, 3.0], [5.0, -1.0], [2.0, 2.0]])
R_T = tf.constant([1.0, -2.0, 0.5])


def test_q_targets_by_hand():
    targets = vl.q_targets(R_T, tf.constant([0.9, 0.5, 0.0]), Q_T)
    np.testing.assert_allclose(targets, [1 + 0.9 * 3, -2 + 0.5 * 5, 0.5], rtol=1e-6)


def test_double_q_targets_value_the_action_that_the_selector_chose():
    selector = tf.constant([[2.0, 1.0], [0.0, 1.0], [0.0, 9.0]])
    targets = vl.double_q_targets(R_T, tf.constant([0.9, 0.5, 0.0]), Q_T, selector)
    np.testing.assert_allclose(targets, [1 + 0.9 * 1, -2 + 0.5 * -1, 0.5], rtol=1e-6)


def test_targets_pass_no_gradient():
    with tf.GradientTape() as tape:
        tape.watch(Q_T)
        total = tf.reduce_sum(vl.q_targets(R_T, tf.ones(3), Q_T) + vl.double_q_targets(R_T, tf.ones(3), Q_T, Q_T))
    assert tape.gradient(total, Q_T) is None


def test_td_errors_squared_and_huber_by_hand():
    errors = vl.td_errors(Q_T, tf.constant([0, 1, 1]), tf.constant([1.5, 2.0, 2.0]))
    np.testing.assert_allclose(errors, [0.5, 3.0, 0.0])
    np.testing.assert_allclose(vl.squared(errors), [0.25, 9.0, 0.0])
    np.testing.assert_allclose(vl.huber(errors), [0.125, 2.5, 0.0])
    np.testing.assert_allclose(vl.huber(errors, delta=2.0), [0.125, 4.0, 0.0])


@pytest.mark.parametrize("delta", [0.5, 1.0, 3.0])
def test_huber_agrees_with_keras(delta):
    import keras

    errors = np.linspace(-5, 5, 41, dtype=np.float32)
    ours = tf.reduce_mean(vl.huber(tf.constant(errors), delta))
    np.testing.assert_allclose(ours, keras.losses.Huber(delta)(np.zeros_like(errors), errors), rtol=1e-5)


def _n_step_reference(rewards, discounts, is_last):
    returns, product, position = 0.0, 1.0, 0
    for position, (reward, discount, last) in enumerate(zip(rewards, discounts, is_last, strict=True)):  # noqa: B007
        returns += product * reward
        product *= discount
        if last:
            break
    return returns, product, position


@pytest.mark.parametrize("n", [1, 2, 5])
def test_n_step_returns_equal_a_loop(n):
    random = np.random.default_rng(n)
    rewards = random.normal(size=(64, n)).astype(np.float32)
    is_last = random.random((64, n)) < 0.3
    terminal = is_last & (random.random((64, n)) < 0.5)
    discounts = np.where(terminal, 0.0, 0.9).astype(np.float32)
    ours = vl.n_step_returns(tf.constant(rewards), tf.constant(discounts), tf.constant(is_last))
    expected = [_n_step_reference(*rows) for rows in zip(rewards, discounts, is_last, strict=True)]
    for our, reference in zip(ours, zip(*expected, strict=True), strict=True):
        np.testing.assert_allclose(our, reference, rtol=1e-5, atol=1e-6)


def test_ranks_are_checked():
    with pytest.raises(ValueError, match="q_t must have rank 2"):
        vl.q_targets(R_T, R_T, R_T)


def test_transition_is_public():
    assert mtq.Transition is vl.Transition
