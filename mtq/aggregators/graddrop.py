"""GradDrop: gradient sign dropout."""

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
    """Keeps, for each element of each variable, either the positive or the negative gradients.

    With `P = ½ (1 + Σ_i g_i / Σ_i |g_i|)` and u drawn uniformly, both for each element, the update is the sum of the
    positive `g_i` where `P > u`, and of the negative ones elsewhere. It holds every task's gradient in memory.

    Args:
        scope: The variables over which gradients are aggregated, `"shared"` or `"all"`; see `Aggregator`.
        seed: The seed of u, which is a function of the seed and the number of updates.

    Reference:
        Chen et al., "Just Pick a Sign", NeurIPS 2020, Algorithm 1, on the gradients of the weights.
    """

    def __init__(self, scope: str = "shared", seed: int = 0) -> None:
        super().__init__(scope)
        self.seed = integer("seed of GradDrop", seed, least=0)

    def __call__(
        self, gradients: TaskGradients, weights: tf.Tensor, updates: tf.Tensor | int = 0
    ) -> list[tf.Tensor | None]:
        """Returns the weighted gradients of the sign that was drawn, summed over the tasks."""
        coefficients, update = Coefficients(weights), []
        for place, part in enumerate(gradients.parts):
            if part is None or len(part.tasks) == 1:  # no choice to make for the variable of a single task
                update.append(None if part is None else part.combine(coefficients))
                continue
            weighted = [w * copy for w, copy in zip(coefficients.each(part.tasks), part.copies(), strict=True)]
            update.append(self._drop(weighted, [self.stream(self.seed, place), tf.cast(updates, tf.int64)]))
        return update

    def _drop(self, gradients: list[tf.Tensor], seed: list[Any]) -> tf.Tensor:
        positive = tf.add_n([tf.maximum(gradient, 0.0) for gradient in gradients])
        negative = tf.add_n([tf.minimum(gradient, 0.0) for gradient in gradients])
        is_positive_likely = tf.math.divide_no_nan(positive, positive - negative)  # = ½ (1 + Σ g / Σ |g|)
        # If an infinite gradient makes the probability NaN, `<=` selects `positive`, so that the infinity shows.
        return tf.where(is_positive_likely <= stateless_uniform(positive.shape, seed), negative, positive)

    def get_config(self) -> dict[str, Any]:
        """Returns the config that Keras saves."""
        return {**super().get_config(), "seed": self.seed}
