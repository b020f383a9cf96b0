"""What the methods that project gradients on each other have in common."""

import tensorflow as tf

from mtq.random_numbers import stateless_uniform


def random_orders(num_tasks: int, seed: int, updates: tf.Tensor) -> tf.Tensor:
    """For each task an order of all tasks.

    Args:
        num_tasks: T.
        seed: Of the orders.
        updates: How many updates were made before.

    Returns:
        `[T, T]` int32, each row a permutation.
    """
    return tf.argsort(stateless_uniform([num_tasks, num_tasks], [seed, updates]), axis=1)


def others(j: tf.Tensor) -> tf.Tensor:
    """Marks for each task i the task `j_i`, unless that is i itself: `[T]` int32 → `[T, T]` float64."""
    num_tasks = j.shape[0]
    marked = tf.one_hot(j, num_tasks, dtype=tf.float64)
    return tf.linalg.set_diag(marked, tf.zeros(num_tasks, tf.float64))
