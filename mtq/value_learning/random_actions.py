"""Uniformly random actions."""

import tensorflow as tf

from mtq.value_learning.ranks import check_ranks


def random_actions(uniform: tf.Tensor, num_actions: int, mask: tf.Tensor | None = None) -> tf.Tensor:
    """Returns actions that are uniform over the legal ones, as a function of uniform random numbers.

    Args:
        uniform: The uniform random numbers from `[0, 1)`, `[B]` float32.
        num_actions: The number of actions A.
        mask: Whether each action is legal, `[B, A]` bool; None if all are. If all are, the actions are those without
            a mask.

    Returns:
        The actions, `[B]` int32; 0 in rows without a legal action.

    Raises:
        ValueError: A tensor does not have the rank given above.

    Example:
        >>> random_actions(tf.constant([0.0, 0.6]), 3, tf.constant([[False, True, True]] * 2)).numpy().tolist()
        [1, 2]
    """
    if mask is None:
        return tf.cast(uniform * num_actions, tf.int32)
    check_ranks(uniform=(uniform, 1), mask=(mask, 2))
    num_before = tf.cumsum(tf.cast(mask, tf.int32), axis=1)  # of legal actions, up to and with each action
    number = num_before[:, -1]
    chosen = tf.minimum(tf.cast(uniform * tf.cast(number, tf.float32), tf.int32), number - 1)
    return tf.reduce_sum(tf.cast(num_before <= chosen[:, None], tf.int32), axis=1)
