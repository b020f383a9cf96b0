"""Random orders and masks for the methods that project gradients onto each other."""

import tensorflow as tf

from mtq.random_numbers import stateless_uniform


def random_orders(num_tasks: int, seed: int, updates: tf.Tensor) -> tf.Tensor:
    """Draws a random order of all tasks for each task.

    Args:
        num_tasks: The number of tasks, T.
        seed: The seed of the orders.
        updates: The number of updates so far, an int64 scalar.

    Returns:
        The orders, `[T, T]` int32; each row is a permutation.
    """
    return tf.argsort(stateless_uniform([num_tasks, num_tasks], [seed, updates]), axis=1)


def others(j: tf.Tensor) -> tf.Tensor:
    """Marks one other task for each task.

    Args:
        j: The task `j_i` for each task i, `[T]` int32.

    Returns:
        A matrix `[T, T]` float64 with 1 in row i at column `j_i`, unless that is i itself; 0 elsewhere.
    """
    num_tasks = j.shape[0]
    marked = tf.one_hot(j, num_tasks, dtype=tf.float64)
    return tf.linalg.set_diag(marked, tf.zeros(num_tasks, tf.float64))
