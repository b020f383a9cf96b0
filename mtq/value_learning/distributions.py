"""Distributions of returns: projections onto a histogram, quantile regression, and the losses of both."""

import math

import numpy as np
import tensorflow as tf

from mtq.value_learning.ranks import check_ranks


def select_distributions(outputs: tf.Tensor, a: tf.Tensor) -> tf.Tensor:
    """Returns the distribution of one action per row, `outputs[b, a[b]]`.

    Args:
        outputs: The numbers that describe the distribution of each action's return, `[B, A, N]` float32.
        a: The actions, `[B]` int32.

    Returns:
        The numbers of the actions, `[B, N]` float32.
    """
    check_ranks(outputs=(outputs, 3), a=(a, 1))
    chosen = tf.one_hot(a, outputs.shape[1], dtype=outputs.dtype)
    return tf.reduce_sum(outputs * chosen[:, :, None], axis=1)


def categorical_mean(logits: tf.Tensor, support: np.ndarray) -> tf.Tensor:
    """Computes the means of categorical distributions, `Σ_i softmax(logits)_i z_i`.

    Args:
        logits: The logits, `[..., N]` float32.
        support: The atoms z, `[N]` float32.

    Returns:
        The means, `[...]` float32.
    """
    exponentials = tf.exp(logits - tf.reduce_max(logits, axis=-1, keepdims=True))
    # One matrix product gives both sums, which XLA would compute number by number.
    sums = tf.tensordot(exponentials, np.stack([support, np.ones_like(support)], axis=1), axes=1)  # [..., 2]
    return sums[..., 0] / sums[..., 1]


def categorical_projection(z_t: tf.Tensor, p_t: tf.Tensor, support: tf.Tensor) -> tf.Tensor:
    """Projects distributions onto the atoms of a support.

    The probability of an atom between two atoms of the support is split between them by linear interpolation.
    What lies outside the support counts for its first or last atom.

    Args:
        z_t: The atoms of each distribution, `[B, N]` float32.
        p_t: The probabilities of the atoms, `[B, N]` float32.
        support: The atoms of the support, evenly spaced and increasing, `[M]` float32.

    Returns:
        The probabilities of the support's atoms, `[B, M]` float32, with gradients stopped.

    Raises:
        ValueError: A tensor does not have the rank given above.

    Example:
        >>> support = tf.constant([0.0, 1.0, 2.0])
        >>> categorical_projection(tf.constant([[0.25, 9.0]]), tf.constant([[0.5, 0.5]]), support).numpy().tolist()
        [[0.375, 0.125, 0.5]]

    Reference:
        Bellemare, Dabney and Munos, "A Distributional Perspective on Reinforcement Learning", ICML 2017, equation 7.
    """
    check_ranks(z_t=(z_t, 2), p_t=(p_t, 2), support=(support, 1))
    last = support.shape[0] - 1.0
    # In spacings from the first atom, so that probabilities still add up to 1 far from 0, where float32 is coarse.
    place = tf.clip_by_value((z_t - support[0]) * (last / (support[-1] - support[0])), 0.0, last)
    places = tf.cast(tf.range(support.shape[0]), z_t.dtype)
    nearness = tf.maximum(1.0 - tf.abs(place[:, :, None] - places), 0.0)  # [B, N, M]
    return tf.stop_gradient(tf.reduce_sum(p_t[:, :, None] * nearness, axis=1))


def histogram_probabilities(y: tf.Tensor, edges: tf.Tensor, sigma: tf.Tensor | float) -> tf.Tensor:
    """Computes the probabilities of the bins of a histogram under normal distributions that are truncated to its range.

    The probability of bin i is `(Φ((e_{i+1} − y) / σ) − Φ((e_i − y) / σ)) / Z`, where Φ is the standard normal
    distribution function and Z makes the sum 1. Means are clipped to the range of the histogram.

    Args:
        y: The means of the normal distributions, `[B]` float32.
        edges: The edges of the bins, increasing, `[M + 1]` float32.
        sigma: The standard deviation σ of the normal distributions, in the units of y, greater than 0.

    Returns:
        The probabilities, `[B, M]` float32, with gradients stopped.

    Raises:
        ValueError: A tensor does not have the rank given above.

    Reference:
        Imani and White, "Improving Regression Performance with Distributional Losses", ICML 2018, section 3.1;
        Farebrother et al., "Stop Regressing: Training Value Functions via Classification for Scalable Deep RL", ICML
        2024, equation 4.
    """
    check_ranks(y=(y, 1), edges=(edges, 1))
    y = tf.clip_by_value(y, edges[0], edges[-1])
    scaled = (edges[None, :] - y[:, None]) / (sigma * math.sqrt(2.0))  # [B, M + 1]
    cumulative = tf.math.erf(scaled)
    mass = cumulative[:, 1:] - cumulative[:, :-1]
    return tf.stop_gradient(mass / (cumulative[:, -1:] - cumulative[:, :1]))


def cross_entropies(logits: tf.Tensor, probabilities: tf.Tensor) -> tf.Tensor:
    """Computes the cross-entropy of each row, `−Σ_i p_i log softmax(logits)_i`.

    Args:
        logits: The logits of the predicted distributions, `[B, M]` float32.
        probabilities: The probabilities p of the targets, `[B, M]` float32.

    Returns:
        The cross-entropies, `[B]` float32.

    Raises:
        ValueError: A tensor does not have the rank given above.
    """
    check_ranks(logits=(logits, 2), probabilities=(probabilities, 2))
    return -tf.reduce_sum(probabilities * tf.nn.log_softmax(logits), axis=-1)


def quantile_huber(theta: tf.Tensor, targets: tf.Tensor, kappa: float = 1.0) -> tf.Tensor:
    """Computes the quantile Huber loss of each row, summed over its quantiles.

    With `δ_ij = y_j − θ_i` it is `Σ_i mean_j |τ_i − 1{δ_ij < 0}| L_κ(δ_ij) / κ`, where L is the Huber loss and
    `τ_i = (i + ½) / N`, i from 0 to N − 1, are the quantile midpoints.

    Args:
        theta: The predicted quantiles θ, `[B, N]` float32.
        targets: The samples or quantiles y of the targets, `[B, M]` float32.
        kappa: The size κ of an error above which the loss is linear, greater than 0.

    Returns:
        The losses, `[B]` float32.

    Raises:
        ValueError: A tensor does not have the rank given above.

    Reference:
        Dabney et al., "Distributional Reinforcement Learning with Quantile Regression", AAAI 2018, equation 10 and
        algorithm 1. The division by κ is that of Dabney et al., "Implicit Quantile Networks for Distributional
        Reinforcement Learning", ICML 2018, equation 3.
    """
    check_ranks(theta=(theta, 2), targets=(targets, 2))
    number = theta.shape[1]
    tau = (tf.range(number, dtype=theta.dtype) + 0.5) / number
    delta = targets[:, None, :] - theta[:, :, None]  # [B, N, M]
    clipped = tf.clip_by_value(delta, -kappa, kappa)
    losses = clipped * (delta - 0.5 * clipped)  # ½ δ² if |δ| ≤ κ, otherwise κ (|δ| − ½ κ)
    asymmetry = tf.where(delta < 0, 1.0 - tau[None, :, None], tau[None, :, None])
    return tf.reduce_sum(tf.reduce_mean(asymmetry * losses, axis=-1), axis=-1) / kappa
