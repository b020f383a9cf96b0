"""Gradient sign dropout."""

from typing import Any

import keras
import tensorflow as tf

from mtq.aggregators.aggregator import Aggregator
from mtq.checks import integer
from mtq.random_numbers import stateless_uniform
from mtq.task_gradients import TaskGradients
from mtq.task_gradients.variable_gradients import Coefficients


@keras.saving.register_keras_serializable("mtq")
class GradDrop(Aggregator):
    """For every single number of the network lets through either the positive or the negative gradients.

    With `P = ½ (1 + Σ_i g_i / Σ_i |g_i|)` and u drawn uniformly, both for each number, the update is the sum of the
    positive `g_i` where `P > u`, and of the negative ones elsewhere. Needs every task's gradient held.

    Args:
        scope: Over which variables.
        seed: Of the numbers drawn, which are a function of it and of the number of updates.

    Reference:
        Chen et al., "Just Pick a Sign", NeurIPS 2020, Algorithm 1, on the gradients of the weights.
    """

    def __init__(self, scope: str = "shared", seed: int = 0) -> None:
        super().__init__(scope)
        self.seed = integer("seed of GradDrop", seed, least=0)

    def __call__(
        self, gradients: TaskGradients, weights: tf.Tensor, updates: tf.Tensor | int = 0
    ) -> list[tf.Tensor | None]:
        """Aggregates."""
        coefficients, update = Coefficients(weights), []
        for place, part in enumerate(gradients.parts):
            if part is None or len(part.tasks) == 1:  # where a variable is one task's alone there is nothing to choose
                update.append(None if part is None else part.combine(coefficients))
                continue
            weighted = [w * copy for w, copy in zip(coefficients.each(part.tasks), part.copies(), strict=True)]
            update.append(self._drop(weighted, [self.stream(self.seed, place), tf.cast(updates, tf.int64)]))
        return update

    def _drop(self, gradients: list[tf.Tensor], seed: list[Any]) -> tf.Tensor:
        positive = tf.add_n([tf.maximum(gradient, 0.0) for gradient in gradients])
        negative = tf.add_n([tf.minimum(gradient, 0.0) for gradient in gradients])
        is_positive_likely = tf.math.divide_no_nan(positive, positive - negative)  # = ½ (1 + Σ g / Σ |g|)
        # By `<=`, a probability of NaN, as of an infinite gradient, takes `positive`, and the infinity is seen.
        return tf.where(is_positive_likely <= stateless_uniform(positive.shape, seed), negative, positive)

    def get_config(self) -> dict[str, Any]:
        """The settings as Keras saves them."""
        return {**super().get_config(), "seed": self.seed}
