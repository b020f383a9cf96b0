"""Random weights of losses."""

from typing import Any

import keras
import tensorflow as tf

from mtq.checks import integer
from mtq.random_numbers import stateless_normal
from mtq.task_gradients import TaskGradients
from mtq.weightings.adaptive import Adaptive


@keras.saving.register_keras_serializable("mtq")
class RandomLossWeighting(Adaptive):
    """`w = T · softmax(z)`, z drawn anew from a normal distribution at every update.

    The paper's weights sum to one; times T they are one on average, as other weightings' are.

    Args:
        seed: Of the numbers, which are a function of it and of the number of updates.

    Reference:
        Lin et al., "Reasonable Effectiveness of Random Weighting", TMLR 2022, section 3.
    """

    needs_losses = False
    needs_gradients = False

    def __init__(self, seed: int = 0) -> None:
        self.seed = integer("seed of RandomLossWeighting", seed, least=0)

    def weigh(self, losses: tf.Tensor, updates: tf.Tensor, gradients: TaskGradients) -> tf.Tensor:
        """Drawn anew."""
        return losses.shape[0] * tf.nn.softmax(stateless_normal(losses.shape, [self.stream(self.seed), updates]))

    def get_config(self) -> dict[str, Any]:
        """The settings as Keras saves them."""
        return {"seed": self.seed}
