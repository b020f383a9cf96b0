"""Random weighting of losses."""

from typing import Any

import keras
import tensorflow as tf

from mtq.checks import integer
from mtq.random_numbers import stateless_normal
from mtq.task_gradients import TaskGradients
from mtq.weightings.adaptive import Adaptive


@keras.saving.register_keras_serializable("mtq")
class RandomLossWeighting(Adaptive):
    """Weights `w = T · softmax(z)`, where z is drawn from a normal distribution at each update.

    The paper's weights sum to one. Here they are multiplied by T, so that they are one on average like those of other
    weightings.

    Args:
        seed: The seed of z, which is a function of the seed and the number of updates.

    Reference:
        Lin et al., "Reasonable Effectiveness of Random Weighting", TMLR 2022, section 3.
    """

    needs_losses = False
    needs_gradients = False

    def __init__(self, seed: int = 0) -> None:
        self.seed = integer("seed of RandomLossWeighting", seed, least=0)

    def weigh(self, losses: tf.Tensor, updates: tf.Tensor, gradients: TaskGradients) -> tf.Tensor:
        """Draws the weights of one update."""
        return losses.shape[0] * tf.nn.softmax(stateless_normal(losses.shape, [self.stream(self.seed), updates]))

    def get_config(self) -> dict[str, Any]:
        """Returns the config that Keras saves."""
        return {"seed": self.seed}
