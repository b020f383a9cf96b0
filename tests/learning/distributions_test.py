"""Tests of the equations of distributions of returns: golden values by hand, and properties."""

import math

import numpy as np
import pytest
import scipy.special
import tensorflow as tf
from hypothesis import given, settings
from hypothesis import strategies as st

from mtq import value_learning as vl

SUPPORT = tf.constant([-2.0, -1.0, 0.0, 1.0, 2.0])


def projected(atoms, probabilities=None, support=SUPPORT):
    atoms = np.atleast_2d(np.asarray(atoms, np.float32))
    if probabilities is None:
        probabilities = np.full(atoms.shape, 1 / atoms.shape[1], np.float32)
    return vl.categorical_projection(tf.constant(atoms), tf.constant(np.atleast_2d(probabilities)), support).numpy()


@pytest.mark.parametrize(
    ("atom", "expected"),
    [
        (-2.0, [1, 0, 0, 0, 0]),  # the ends of the support
        (2.0, [0, 0, 0, 0, 1]),
        (-7.0, [1, 0, 0, 0, 0]),  # beyond them
        (7.0, [0, 0, 0, 0, 1]),
        (1.0, [0, 0, 0, 1, 0]),  # on an atom
        (0.25, [0, 0, 0.75, 0.25, 0]),  # between two
        (-1.9, [0.9, 0.1, 0, 0, 0]),
    ],
)
def test_projection_of_one_atom(atom, expected):
    np.testing.assert_allclose(projected([atom]), [expected], atol=1e-6)


def test_projection_of_the_bellman_update_by_hand():
    # r = 0.5, γ = 0.5: the atoms −2 … 2 become −0.5, 0, 0.5, 1, 1.5.
    p = np.float32([0.1, 0.2, 0.3, 0.2, 0.2])
    atoms = 0.5 + 0.5 * SUPPORT.numpy()
    # −0.5: half to −1 and 0; 0: all; 0.5: half to 0 and 1; 1: all; 1.5: half to 1 and 2.
    expected = [0, 0.05, 0.05 + 0.2 + 0.15, 0.15 + 0.2 + 0.1, 0.1]
    np.testing.assert_allclose(projected(atoms, p), [expected], atol=1e-6)


def test_with_a_discount_of_0_all_mass_is_at_the_reward():
    p = np.float32([0.1, 0.2, 0.3, 0.2, 0.2])
    np.testing.assert_allclose(projected(0.75 + 0 * SUPPORT.numpy(), p), [[0, 0, 0.25, 0.75, 0]], atol=1e-6)


@settings(max_examples=30, deadline=None)
@given(
    st.lists(st.floats(-1.9, 1.9), min_size=1, max_size=6),
    st.integers(2, 31),
    st.floats(0.5, 1e4),
)
def test_the_projection_keeps_mass_and_mean(atoms, number, scale):
    atoms = np.float32(atoms) * scale
    support = tf.constant(np.linspace(-2 * scale, 2 * scale, number), tf.float32)
    p = projected(atoms, support=support)
    assert (p >= 0).all()
    np.testing.assert_allclose(p.sum(), 1, rtol=1e-5)
    np.testing.assert_allclose(p @ support.numpy(), [np.mean(atoms)], atol=1e-5 * scale)


@pytest.mark.parametrize("y", [-1.7, 0.0, 0.3, 0.9999])
def test_histogram_probabilities_against_the_error_function(y):
    edges, sigma = np.linspace(-2, 1, 13), 0.75 * 0.25
    phi = [0.5 * (1 + math.erf((edge - y) / (sigma * math.sqrt(2)))) for edge in edges]
    expected = np.diff(phi) / (phi[-1] - phi[0])
    p = vl.histogram_probabilities(tf.constant([y]), tf.constant(edges, tf.float32), sigma)
    np.testing.assert_allclose(p[0], expected, atol=1e-6)
    assert float(tf.reduce_sum(p)) == pytest.approx(1, abs=1e-6)


@pytest.mark.parametrize(("y", "end"), [(50.0, 1.0), (-1e9, -2.0)])
def test_a_mean_outside_the_histogram_counts_as_its_end(y, end):
    edges = tf.linspace(-2.0, 1.0, 13)
    p, at_end = (vl.histogram_probabilities(tf.constant([value]), edges, 0.2) for value in (y, end))
    np.testing.assert_array_equal(p, at_end)
    assert np.isfinite(p).all()


def test_cross_entropy_by_hand():
    logits, p = tf.constant([[0.0, math.log(3.0)]]), tf.constant([[0.5, 0.5]])
    expected = -0.5 * math.log(0.25) - 0.5 * math.log(0.75)
    np.testing.assert_allclose(vl.cross_entropies(logits, p), [expected], rtol=1e-6)


def test_cross_entropy_of_extreme_logits_is_finite():
    loss = vl.cross_entropies(tf.constant([[1e4, -1e4], [0.0, 0.0]]), tf.constant([[0.0, 1.0], [1.0, 0.0]]))
    np.testing.assert_allclose(loss, [2e4, math.log(2)], rtol=1e-6)


def test_quantile_huber_by_hand():
    # Two quantiles, τ = ¼ and ¾; targets 1 and 4. κ = 1.
    # θ = 0: δ = 1, 4 → L = ½, 3½, both above: ¼ · mean(½, 3½) = ½.
    # θ = 3: δ = −2, 1 → L = 1½, ½: mean(|¾ − 1| · 1½, ¾ · ½) = mean(⅜, ⅜) = ⅜.
    loss = vl.quantile_huber(tf.constant([[0.0, 3.0]]), tf.constant([[1.0, 4.0]]))
    np.testing.assert_allclose(loss, [0.875], rtol=1e-6)


def test_quantile_huber_with_another_kappa_by_hand():
    # One quantile, τ = ½. δ = 3, κ = 2: L = ½·4 + 2·1 = 4, divided by κ: ½ · 4 / 2 = 1.
    loss = vl.quantile_huber(tf.constant([[0.0]]), tf.constant([[3.0]]), kappa=2.0)
    np.testing.assert_allclose(loss, [1.0], rtol=1e-6)


def test_quantile_regression_finds_the_quantiles():
    samples = tf.constant(np.random.default_rng(0).normal(size=(1, 4_001)), tf.float32)
    theta = tf.Variable(tf.zeros([1, 5]))
    for rate in [1.0] * 60 + [0.2] * 60:
        with tf.GradientTape() as tape:
            loss = tf.reduce_sum(vl.quantile_huber(theta, samples, kappa=0.01))
        theta.assign_sub(rate * tape.gradient(loss, theta))
    expected = math.sqrt(2) * scipy.special.erfinv(2 * (np.arange(5) + 0.5) / 5 - 1)
    np.testing.assert_allclose(theta[0], expected, atol=0.08)


def test_munchausen_bonus_by_hand():
    # q = (0, τ log 3): π = (¼, ¾), so τ log π = τ (log ¼, log ¾).
    tau = 0.5
    q = tf.constant([[0.0, tau * math.log(3.0)]] * 2)
    bonus = vl.munchausen_bonus(q, tf.constant([0, 1]), tau, 0.9, -1.0)
    np.testing.assert_allclose(bonus, [0.9 * tau * math.log(0.25), 0.9 * tau * math.log(0.75)], rtol=1e-6)


def test_munchausen_bonus_is_clipped():
    q = tf.constant([[0.0, 100.0]] * 2)
    bonus = vl.munchausen_bonus(q, tf.constant([0, 1]), 0.03, 0.9, -1.0)
    np.testing.assert_allclose(bonus, [-0.9, 0.0], atol=1e-6)


def test_the_soft_policy_gives_illegal_actions_nothing():
    q, mask = tf.constant([[1e9, 0.0, 0.0]]), tf.constant([[False, True, True]])
    log_policy = vl.scaled_log_policy(q, 0.1, mask)
    policy = tf.exp(log_policy / 0.1)
    np.testing.assert_allclose(policy, [[0, 0.5, 0.5]], atol=1e-6)
    assert np.isfinite(log_policy).all()


@pytest.mark.parametrize("double", [False, True])
def test_targets_take_the_maximum_over_legal_actions(double):
    q, mask = tf.constant([[1.0, 5.0, 3.0]] * 2), tf.constant([[True, False, True], [True, True, True]])
    r, d = tf.constant([0.0, 0.0]), tf.constant([1.0, 1.0])
    targets = vl.double_q_targets(r, d, q, q, mask) if double else vl.q_targets(r, d, q, mask)
    np.testing.assert_array_equal(targets, [3.0, 5.0])


def test_without_a_legal_action_a_terminal_counts_as_its_reward():
    q, mask = tf.constant([[1.0, 5.0]]), tf.constant([[False, False]])
    for targets in (
        vl.q_targets(tf.constant([2.0]), tf.constant([0.0]), q, mask),
        vl.double_q_targets(tf.constant([2.0]), tf.constant([0.0]), q, q, mask),
    ):
        np.testing.assert_array_equal(targets, [2.0])


def test_ranks_are_checked():
    with pytest.raises(ValueError, match="support must have rank 1"):
        vl.categorical_projection(tf.zeros([2, 3]), tf.zeros([2, 3]), tf.zeros([1, 3]))


@pytest.mark.parametrize("offset", [0.0, 1e3, -1e4, 1e5])
def test_probabilities_of_a_projection_add_up_to_1_far_from_0(offset):
    support = np.linspace(offset, offset + 10, 51).astype(np.float32)
    random = np.random.default_rng(0)
    p = random.dirichlet(np.ones(51), 64).astype(np.float32)
    z = (offset + random.uniform(-5, 15, [64, 51])).astype(np.float32)
    projected = vl.categorical_projection(tf.constant(z), tf.constant(p), tf.constant(support)).numpy()
    np.testing.assert_allclose(projected.sum(axis=1), 1.0, rtol=0, atol=2e-6)
    expected = np.sum(p * np.clip(z.astype(float) - offset, 0, 10), axis=1)  # the mean, as float32 can tell it apart
    received = projected.astype(float) @ np.linspace(0, 10, 51)
    np.testing.assert_allclose(received, expected, rtol=0, atol=max(1e-5, np.spacing(np.float32(offset))))
