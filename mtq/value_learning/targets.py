"""Targets and losses of Q-learning with scalar values, and n-step returns."""

import tensorflow as tf

from mtq.value_learning.ranks import check_ranks

_LEAST = -3.0e38  # below any action value; finite, so that its product with a discount of 0 is 0


def legal_values(q: tf.Tensor, mask: tf.Tensor | None) -> tf.Tensor:
    """Returns action values in which those of illegal actions are below all others.

    Args:
        q: The action values, `[..., A]` float32.
        mask: Whether each action is legal, `[..., A]` bool; None if all are.

    Returns:
        The action values, `[..., A]` float32.
    """
    return q if mask is None else tf.where(mask, q, tf.cast(_LEAST, q.dtype))


def q_targets(r_t: tf.Tensor, discount_t: tf.Tensor, q_t: tf.Tensor, mask_t: tf.Tensor | None = None) -> tf.Tensor:
    """Computes the targets of deep Q-learning, `y = r + γ · max_a q(s', a)`, with gradients stopped.

    Args:
        r_t: The rewards, `[B]` float32.
        discount_t: The discounts, `[B]` float32.
        q_t: The action values of the target network at the next observations, `[B, A]` float32.
        mask_t: The legal actions at the next observations, over which the maximum is taken, `[B, A]` bool; None if all
            are legal.

    Returns:
        The targets, `[B]` float32.

    Raises:
        ValueError: A tensor does not have the rank given above.

    Example:
        >>> q_targets(tf.constant([1.0]), tf.constant([0.5]), tf.constant([[2.0, 4.0]])).numpy().tolist()
        [3.0]

    Reference:
        Mnih et al., "Human-level control through deep reinforcement learning", Nature 2015, Algorithm 1.
    """
    check_ranks(r_t=(r_t, 1), discount_t=(discount_t, 1), q_t=(q_t, 2))
    return tf.stop_gradient(r_t + discount_t * tf.reduce_max(legal_values(q_t, mask_t), axis=-1))


def double_q_targets(
    r_t: tf.Tensor,
    discount_t: tf.Tensor,
    q_t_value: tf.Tensor,
    q_t_selector: tf.Tensor,
    mask_t: tf.Tensor | None = None,
) -> tf.Tensor:
    """Computes the targets of Double DQN: the online network selects the next action, the target network evaluates it.

    Args:
        r_t: The rewards, `[B]` float32.
        discount_t: The discounts, `[B]` float32.
        q_t_value: The action values of the target network at the next observations, `[B, A]` float32.
        q_t_selector: The action values of the online network at the next observations, `[B, A]` float32.
        mask_t: The legal actions at the next observations, from which one is selected, `[B, A]` bool; None if all are
            legal.

    Returns:
        The targets, `[B]` float32, with gradients stopped.

    Raises:
        ValueError: A tensor does not have the rank given above.

    Example:
        >>> value, selector = tf.constant([[2.0, 4.0]]), tf.constant([[9.0, 1.0]])
        >>> double_q_targets(tf.constant([1.0]), tf.constant([0.5]), value, selector).numpy().tolist()
        [2.0]

    Reference:
        van Hasselt, Guez and Silver, "Deep Reinforcement Learning with Double Q-learning", AAAI 2016, section 3.
    """
    check_ranks(r_t=(r_t, 1), discount_t=(discount_t, 1), q_t_value=(q_t_value, 2), q_t_selector=(q_t_selector, 2))
    a_t = greedy_actions(q_t_selector, mask_t)
    return tf.stop_gradient(r_t + discount_t * select_actions(q_t_value, a_t))


def greedy_actions(q: tf.Tensor, mask: tf.Tensor | None = None) -> tf.Tensor:
    """Returns the legal action with the largest value of each row.

    Args:
        q: The action values, `[B, A]` float32.
        mask: Whether each action is legal, `[B, A]` bool; None if all are.

    Returns:
        The actions, `[B]` int32.
    """
    return tf.argmax(legal_values(q, mask), axis=-1, output_type=tf.int32)


def select_actions(q: tf.Tensor, a: tf.Tensor) -> tf.Tensor:
    """Returns the value of one action per row, `q[b, a[b]]`.

    Args:
        q: The action values, `[B, A]` float32.
        a: The actions, `[B]` int32.

    Returns:
        The values of the actions, `[B]` float32.

    Raises:
        ValueError: A tensor does not have the rank given above.
    """
    check_ranks(q=(q, 2), a=(a, 1))
    return tf.reduce_sum(q * tf.one_hot(a, q.shape[-1], dtype=q.dtype), axis=-1)


def td_errors(q_tm1: tf.Tensor, a_tm1: tf.Tensor, target_tm1: tf.Tensor) -> tf.Tensor:
    """Computes the temporal-difference errors `δ = y − q(s, a)`.

    Args:
        q_tm1: The action values of the online network, `[B, A]` float32.
        a_tm1: The actions taken, `[B]` int32.
        target_tm1: The targets y, `[B]` float32.

    Returns:
        The errors, `[B]` float32.

    Raises:
        ValueError: A tensor does not have the rank given above.
    """
    return target_tm1 - select_actions(q_tm1, a_tm1)


def squared(td_error: tf.Tensor) -> tf.Tensor:
    """Computes the squared error `δ²` of equation 1 in README.md, without a factor of one half.

    Args:
        td_error: The temporal-difference errors, of any shape.

    Returns:
        The losses, in the shape of `td_error`.
    """
    return tf.square(td_error)


def huber(td_error: tf.Tensor, delta: float = 1.0) -> tf.Tensor:
    """Computes the Huber loss: `½ δ²` up to `|δ| = delta`, linear with slope `delta` beyond.

    Args:
        td_error: The temporal-difference errors, of any shape.
        delta: The size of an error above which the loss is linear, greater than 0.

    Returns:
        The losses, in the shape of `td_error`.

    Reference:
        Huber, "Robust Estimation of a Location Parameter", 1964.
    """
    magnitude = tf.abs(td_error)
    quadratic = tf.minimum(magnitude, delta)
    return 0.5 * tf.square(quadratic) + delta * (magnitude - quadratic)


def n_step_returns(r_t: tf.Tensor, discount_t: tf.Tensor, is_last_t: tf.Tensor) -> tuple[tf.Tensor, ...]:
    """Computes the n-step returns of windows of n consecutive steps, cut at the end of the episode.

    With m steps up to the end of the window or of the episode, whichever comes first, the return is
    `r_1 + γ_1 r_2 + … + γ_1 ⋯ γ_{m−1} r_m` and the discount is `γ_1 ⋯ γ_m`.

    Args:
        r_t: The rewards, `[B, n]` float32.
        discount_t: The discounts, `[B, n]` float32, 0 at a true terminal.
        is_last_t: Whether an episode ended at each step, by a terminal or by a time limit, `[B, n]` bool.

    Returns:
        The returns, `[B]` float32; the discounts, `[B]` float32; and the positions m − 1, within the windows, of the
        steps from whose next observations to bootstrap, `[B]` int32.

    Raises:
        ValueError: A tensor does not have the rank given above.

    Example:
        >>> r, γ = tf.constant([[1.0, 2.0, 4.0]]), tf.constant([[0.5, 0.5, 0.5]])
        >>> returns, discounts, position = n_step_returns(r, γ, tf.constant([[False, True, False]]))
        >>> float(returns[0]), float(discounts[0]), int(position[0])
        (2.0, 0.25, 1)

    Reference:
        Sutton and Barto, "Reinforcement Learning", 2nd edition, equation 7.1.
    """
    check_ranks(r_t=(r_t, 2), discount_t=(discount_t, 2), is_last_t=(is_last_t, 2))
    ended_before = tf.cumsum(tf.cast(is_last_t, tf.int32), axis=1, exclusive=True) > 0  # [B, n]
    alive = tf.cast(~ended_before, r_t.dtype)
    discounts = tf.where(ended_before, tf.ones_like(discount_t), discount_t)
    before = tf.math.cumprod(discounts, axis=1, exclusive=True)  # γ_1 ⋯ γ_{k−1}
    returns = tf.reduce_sum(r_t * before * alive, axis=1)
    position = tf.reduce_sum(tf.cast(~ended_before, tf.int32), axis=1) - 1
    return returns, tf.reduce_prod(discounts, axis=1), position
