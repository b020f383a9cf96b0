"""The target of a task's values, as heads compute it and losses compare it."""

from typing import Any, NamedTuple

import tensorflow as tf


class Target(NamedTuple):
    """The targets of a batch, in the units in which the head computes.

    Attributes:
        encoded: What the head's loss compares the outputs with: values `[B]`, probabilities `[B, N]` or quantiles
            `[B, N]`, with gradients stopped.
        value: The targets as values, `[B]` float32, not limited to a head's support.
    """

    encoded: Any
    value: tf.Tensor
