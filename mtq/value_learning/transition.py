"""The transitions on which a model is trained."""

from typing import Any, NamedTuple

import tensorflow as tf

from mtq.named_tuples import class_with, extended, is_extended


class Transition(NamedTuple):
    """A batch of transitions of one task, as `Experience` yields and `MultiTaskDQN` trains on.

    `with_fields` adds further fields, which are listed in `OPTIONAL_FIELDS`.

    Attributes:
        observation: The observations, `[B, ...]`, in the task's own dtype.
        action: The actions, `[B]` int32.
        reward: The rewards, `[B]` float32, scaled and clipped as the task specifies; with n-step returns, their
            discounted sums.
        discount: The discounts, `[B]` float32: γ, or the product of the discounts of the steps that the return spans; 0
            only at a true terminal.
        next_observation: The observations that the actions led to, `[B, ...]`. Where an episode ended, this is its
            last observation.
    """

    observation: tf.Tensor
    action: tf.Tensor
    reward: tf.Tensor
    discount: tf.Tensor
    next_observation: tf.Tensor


OPTIONAL_FIELDS = ("weight", "action_mask", "next_action_mask", "running_return")
"""The fields that a batch may have in addition to those of a `Transition`.

`weight`: the factors of the rows' losses, `[B]` float32, such as the importance weights of prioritized replay.
`action_mask`, `next_action_mask`: whether each action is legal at the observations and at the next observations,
`[B, num_actions]` bool.
`running_return`: the running returns `G_t = r_t + γ G_{t−1}` since the start of each row's episode, `[B]` float32, at
the last step that the row's return spans. `mtq.heads.RunningScale` computes the scale of returns from them, and says
how they are corrected at time limits.
"""


def with_fields(transition: Any, **fields: Any) -> Any:
    """Returns a transition with further fields.

    Args:
        transition: The transition.
        **fields: The fields by name, those of `OPTIONAL_FIELDS`.

    Returns:
        A named tuple of the fields of `Transition` and the others. Transitions with the same fields have the same
        class.

    Raises:
        ValueError: A field is unknown.

    Example:
        >>> x = tf.zeros([2, 4])
        >>> rows = Transition(x, tf.zeros([2], tf.int32), tf.zeros([2]), tf.ones([2]), x)
        >>> with_fields(rows, weight=tf.ones([2])).weight.numpy().tolist()
        [1.0, 1.0]
    """
    return extended(Transition, OPTIONAL_FIELDS, transition, **fields)


def is_transition(value: Any) -> bool:
    """Whether a value is a `Transition`, or one with further fields.

    Args:
        value: Any value.
    """
    return is_extended(Transition, OPTIONAL_FIELDS, value)


WeightedTransition = class_with(Transition, ("weight",))
"""The class of transitions that have weights."""
