"""Munchausen reinforcement learning: a soft policy's log-probability is added to the reward."""

import tensorflow as tf

from mtq.value_learning.ranks import check_ranks
from mtq.value_learning.targets import legal_values, select_actions


def scaled_log_policy(q: tf.Tensor, temperature: float, mask: tf.Tensor | None = None) -> tf.Tensor:
    """Computes `τ log π` of the soft policy `π = softmax(q / τ)`, without overflow.

    Args:
        q: The action values, `[B, A]` float32.
        temperature: The temperature τ, greater than 0.
        mask: Whether each action is legal, `[B, A]` bool; None if all are. The others have the probability 0.

    Returns:
        The products, `[B, A]` float32: the values minus their soft maximum `τ log Σ exp(q / τ)`. For an illegal action
        the product is far below 0 and finite.

    Reference:
        Vieillard, Pietquin and Geist, "Munchausen Reinforcement Learning", NeurIPS 2020, appendix B.1.
    """
    check_ranks(q=(q, 2))
    q = legal_values(q, mask)
    above = q - tf.reduce_max(q, axis=-1, keepdims=True)
    return above - temperature * tf.reduce_logsumexp(above / temperature, axis=-1, keepdims=True)


def munchausen_bonus(
    q_tm1: tf.Tensor,
    a_tm1: tf.Tensor,
    temperature: float,
    alpha: float,
    lowest: float,
    mask_tm1: tf.Tensor | None = None,
) -> tf.Tensor:
    """Computes the bonus that is added to the reward, `α · clip(τ log π(a|s), lowest, 0)`, with gradients stopped.

    Args:
        q_tm1: The action values of the target network at the observations, `[B, A]` float32.
        a_tm1: The actions taken, `[B]` int32.
        temperature: The temperature τ of the soft policy, greater than 0.
        alpha: The factor α, from 0 to 1.
        lowest: The value below which `τ log π` is clipped, at most 0.
        mask_tm1: The legal actions at the observations, `[B, A]` bool; None if all are legal.

    Returns:
        The bonuses, `[B]` float32, from α · lowest to 0.

    Reference:
        Vieillard, Pietquin and Geist, "Munchausen Reinforcement Learning", NeurIPS 2020, equation 2 and section 3.
    """
    log_policy = select_actions(scaled_log_policy(q_tm1, temperature, mask_tm1), a_tm1)
    return tf.stop_gradient(alpha * tf.clip_by_value(log_policy, lowest, 0.0))
