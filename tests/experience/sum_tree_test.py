"""The tree of sums, against sums and probabilities in NumPy."""

import itertools

import numpy as np
import pytest
import tensorflow as tf
from hypothesis import given, settings
from hypothesis import strategies as st

from mtq.experience.sum_tree import GROUP, SumTree


def check_sums(tree):
    """Every sum is that of its 16 summands, and everything behind the entries is 0."""
    tables = [table.numpy() for table in tree.tables]
    assert not tables[0][tree.size :].any()
    for table, sums in itertools.pairwise(tables):
        expected = table.reshape(-1, GROUP).astype(np.float64).sum(axis=1)
        np.testing.assert_allclose(sums[: len(expected)], expected, rtol=1e-6)
        assert not sums[len(expected) :].any()


@pytest.mark.parametrize("size", [1, 63, 64, 511, 4095, 4096, 100_000, 300_000])
def test_all_entries_can_be_drawn_and_written(size):
    tree = SumTree(size)
    rows = np.unique([0, size // 2, size - 1]).astype(np.int32)
    tree.write(tf.constant(rows), tf.constant(np.arange(1, len(rows) + 1, dtype=np.float32)))
    check_sums(tree)
    uniform = tf.random.stateless_uniform([tree.num_draws, 500], [0, 1])
    assert set(tree.draw(uniform)[0].numpy()) == set(rows)
    np.testing.assert_array_equal(tree.read(tf.constant(rows)), np.arange(1, len(rows) + 1))
    tree.clear()
    assert not any(table.numpy().any() for table in tree.tables)


def test_a_draw_by_hand():
    """Of the entries 1, 0, 2, 5 the sums are 1, 1, 3, 8: the number 0.125 is the first that chooses 2."""
    tree = SumTree(4)
    tree.write(tf.range(4), tf.constant([1.0, 0, 2, 5]))
    numbers = [0.0, 0.124, 0.125, 0.374, 0.375, 1 - 2.0**-24]
    drawn, values = tree.draw(tf.constant([numbers] * tree.num_draws))
    np.testing.assert_array_equal(drawn, [0, 0, 2, 2, 3, 3])
    np.testing.assert_array_equal(values, [1, 1, 2, 2, 5, 5])


def test_an_entry_that_is_given_twice_gets_the_largest_value():
    tree = SumTree(100)
    tree.write(tf.constant([3, 70, 3, 3]), tf.constant([1.0, 7, 5, 2]))
    np.testing.assert_array_equal(tree.read(tf.constant([3, 70])), [5, 7])
    tree.write(tf.constant([3]), tf.constant([0.5]))
    assert float(tree.read(tf.constant(3))) == 0.5
    check_sums(tree)


@pytest.mark.parametrize("largest", [1e30, 1.0])
def test_an_entry_of_zero_is_never_drawn(largest):
    """Not even with the random numbers at the edges, and with entries that vanish in the sums."""
    random = np.random.default_rng(0)
    tree = SumTree(5_000)
    values = np.where(random.random(5_000) < 0.2, 10.0 ** random.uniform(-30, np.log10(largest), 5_000), 0)
    tree.write(tf.range(5_000), tf.constant(values, tf.float32))
    edges = np.array([0, 2.0**-24, 0.5, 1 - 2.0**-23, 1 - 2.0**-24], np.float32)
    grid = np.stack(np.meshgrid(*[edges] * tree.num_draws)).reshape(tree.num_draws, -1)
    random_numbers = np.floor(random.random((tree.num_draws, 20_000)) * 2**24) / 2**24
    for uniform in (grid, random_numbers):
        assert (values[tree.draw(tf.constant(uniform, tf.float32))[0].numpy()] > 0).all()


ENTRY = st.tuples(st.integers(0, 10**6), st.floats(0, 1e6, width=32, allow_subnormal=False))


@settings(max_examples=30, deadline=None)
@given(
    size=st.sampled_from([5, 64, 700, 5_000]),
    writes=st.lists(st.lists(ENTRY, min_size=1, max_size=9)),
)
def test_any_writes_leave_exact_sums(size, writes):
    tree, expected = SumTree(size), np.zeros(size, np.float32)
    for write in writes:
        rows = np.array([row % size for row, _ in write], np.int32)
        values = np.array([value for _, value in write], np.float32)
        tree.write(tf.constant(rows), tf.constant(values))
        expected[rows] = 0
        np.maximum.at(expected, rows, values)
    np.testing.assert_array_equal(tree.tables[0][:size], expected)
    check_sums(tree)


def test_groups_are_written_whole():
    tree = SumTree(1_000)
    values = np.random.default_rng(0).random((3, GROUP)).astype(np.float32)
    values[2] = values[0]
    tree.write_groups(tf.constant([14, 3, 14]), tf.constant(values))
    np.testing.assert_array_equal(tree.tables[0][14 * GROUP : 15 * GROUP], values[0])
    np.testing.assert_array_equal(tree.tables[0][3 * GROUP : 4 * GROUP], values[1])
    check_sums(tree)
