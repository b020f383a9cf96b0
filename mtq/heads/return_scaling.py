"""Scalings of returns, which bring the returns of all tasks to a similar size."""

import abc
from collections.abc import Mapping
from typing import Any, ClassVar

import keras
import tensorflow as tf

from mtq.checks import real
from mtq.storage.deserialization import deserialize

Statistics = Mapping[str, tf.Tensor]


class ReturnScaling(abc.ABC):
    """A scaling of returns: a head computes returns divided by a scale.

    The statistics from which the scale follows are non-trainable weights of the head. They are updated by means over
    the rows of a batch, so that N replicas see what one would see on the whole batch.

    Attributes:
        initial_statistics: The statistics before the first update, numbers by name.
        num_moments: The number K of numbers that are averaged over the rows of a batch.
        uses_running_returns: Whether the statistics are those of the running returns of the sampled rows. Otherwise
            they are those of the targets.
        preserves_values: Whether the weights of the layer before the head are changed whenever the statistics change,
            so that the action values stay as they are.
    """

    initial_statistics: ClassVar[Mapping[str, float]]
    num_moments: ClassVar[int]
    uses_running_returns: ClassVar[bool]
    preserves_values: ClassVar[bool]

    @abc.abstractmethod
    def moments(self, statistics: Statistics, values: tf.Tensor) -> tf.Tensor:
        """Computes the K numbers of each row, whose means over the batch `updated` receives.

        Args:
            statistics: The statistics before the batch, float32 scalars by name.
            values: The running returns or the targets, `[B]` float32, in the units of rewards.

        Returns:
            The numbers of each row, `[B, K]` float32.
        """

    @abc.abstractmethod
    def updated(self, statistics: Statistics, means: tf.Tensor, largest: tf.Tensor) -> dict[str, tf.Tensor]:
        """Computes the statistics after a batch.

        Args:
            statistics: The statistics before the batch, float32 scalars by name.
            means: The means of `moments` over the rows, `[K]` float32.
            largest: The largest magnitude of a value among the rows, a float32 scalar.

        Returns:
            The new statistics, float32 scalars by name.
        """

    @abc.abstractmethod
    def scale(self, statistics: Statistics) -> tf.Tensor:
        """Returns the scale, a float32 scalar greater than 0.

        Args:
            statistics: The statistics, float32 scalars by name.
        """

    def check_head(self, head: Any) -> None:  # noqa: B027
        """Raises a ValueError if the scaling does not fit a head. The default implementation accepts all heads.

        Args:
            head: The head.
        """

    def get_config(self) -> dict[str, Any]:
        """Returns the arguments of the constructor."""
        return {}

    @classmethod
    def from_config(cls, config: dict[str, Any]) -> "ReturnScaling":
        """Creates a scaling from its config."""
        return cls(**config)

    def __eq__(self, other: object) -> bool:
        return type(self) is type(other) and self.get_config() == other.get_config()  # type: ignore[attr-defined]

    def __hash__(self) -> int:
        return hash((type(self), tuple(self.get_config().items())))

    def __repr__(self) -> str:
        return f"{type(self).__name__}({', '.join(f'{key}={value!r}' for key, value in self.get_config().items())})"


@keras.saving.register_keras_serializable("mtq")
class RunningScale(ReturnScaling):
    """Divides rewards by a running scale of the task's returns when they are sampled.

    The scale is the root mean square of the running returns `G_t = r_t + γ G_{t−1}` of the rows of the sampled batches,
    averaged exponentially, but at least the largest magnitude of a running return so far divided by `limit`.
    Rewards are stored as they are, so no stored reward was scaled by old statistics. Until the first reward other than
    0 the scale is 1.

    Values are bootstrapped at a time limit, but a running return ends there. The last one of a truncated episode of t
    steps is therefore divided by `1 − γ^t`, as if rewards of the same average went on forever. Where episodes also
    terminate often and the limit is shorter than `1 / (1 − γ)`, this makes the scale larger than the returns, by up to
    a factor of about 4.

    Args:
        rate: The rate of the exponential moving average of squared returns, which has Adam's bias correction.
        limit: The largest magnitude of a normalized return.

    Reference:
        Lee et al., "Hyperspherical Normalization for Scalable Deep Reinforcement Learning", ICML 2025, section 4.3,
        with the root mean square in place of the standard deviation; Nauman et al., "Bigger, Regularized, Categorical",
        NeurIPS 2025, which scales each task's rewards like this.
    """

    initial_statistics: ClassVar[Mapping[str, float]] = {"second_moment": 0.0, "largest_return": 0.0, "correction": 0.0}
    num_moments = 1
    uses_running_returns = True
    preserves_values = False

    def __init__(self, rate: float = 1e-3, limit: float = 5.0) -> None:
        self.rate = real("rate of RunningScale", rate, above=0, most=1)
        self.limit = real("limit of RunningScale", limit, above=0)

    def moments(self, statistics: Statistics, values: tf.Tensor) -> tf.Tensor:
        """Returns the squares of the returns, `[B, 1]`."""
        return tf.square(values)[:, None]

    def updated(self, statistics: Statistics, means: tf.Tensor, largest: tf.Tensor) -> dict[str, tf.Tensor]:
        """Computes the statistics after a batch; see `ReturnScaling.updated`."""
        return {
            "second_moment": statistics["second_moment"] + self.rate * (means[0] - statistics["second_moment"]),
            "largest_return": tf.maximum(statistics["largest_return"], largest),
            "correction": _next_correction(statistics, self.rate),
        }

    def scale(self, statistics: Statistics) -> tf.Tensor:
        """Returns the scale."""
        mean_square = tf.math.divide_no_nan(statistics["second_moment"], statistics["correction"])
        scale = tf.maximum(tf.sqrt(mean_square), statistics["largest_return"] / self.limit)
        return tf.where(scale > 0, scale, tf.ones_like(scale))

    def get_config(self) -> dict[str, Any]:
        """Returns the arguments of the constructor."""
        return {"rate": self.rate, "limit": self.limit}


@keras.saving.register_keras_serializable("mtq")
class PopArt(ReturnScaling):
    """Divides targets by their running standard deviation, and preserves the action values (PopArt).

    The mean μ and the variance σ² of the targets are averaged exponentially, with the rate `β_t = β / (1 − (1 − β)^t)`
    at update t, which gives the first updates nearly equal weight. Whenever σ changes, the weights of the layer before
    the head are multiplied by `σ_old / σ_new`, in the online and in the target network, so that the action values stay
    the same. Before the first update σ is 1.

    In the papers, μ is also subtracted from the targets and, to preserve the outputs, `μ / σ` from the bias of that
    layer. The two cancel: errors, losses and gradients are the same without them. Here both are left out, which avoids
    rounding errors in values much smaller than μ.

    Args:
        rate: The rate β of the exponential averages.
        least_scale: The lower bound of σ.
        largest_scale: The upper bound of σ.

    Reference:
        van Hasselt et al., "Learning values across many orders of magnitude", NeurIPS 2016, section 2; Hessel et al.,
        "Multi-task Deep Reinforcement Learning with PopArt", AAAI 2019, which has statistics for each task.
    """

    initial_statistics: ClassVar[Mapping[str, float]] = {"mean": 0.0, "variance": 1.0, "correction": 0.0}
    num_moments = 2
    uses_running_returns = False
    preserves_values = True

    def __init__(self, rate: float = 3e-4, least_scale: float = 1e-4, largest_scale: float = 1e6) -> None:
        self.rate = real("rate of PopArt", rate, above=0, most=1)
        self.least_scale = real("least_scale of PopArt", least_scale, above=0)
        self.largest_scale = real("largest_scale of PopArt", largest_scale, least=self.least_scale)

    def moments(self, statistics: Statistics, values: tf.Tensor) -> tf.Tensor:
        """Returns the deviations of the targets from the mean, and their squares, `[B, 2]`.

        The variance ν − μ² of the papers is computed from deviations, because the difference of two large numbers would
        lose all digits of a small variance.
        """
        deviations = values - statistics["mean"]
        return tf.stack([deviations, tf.square(deviations)], axis=-1)

    def updated(self, statistics: Statistics, means: tf.Tensor, largest: tf.Tensor) -> dict[str, tf.Tensor]:
        """Computes the statistics after a batch; see `ReturnScaling.updated`."""
        correction = _next_correction(statistics, self.rate)
        rate = self.rate / correction
        step = rate * means[0]
        variance = statistics["variance"] + rate * (means[1] - statistics["variance"]) - tf.square(step)
        return {
            "mean": statistics["mean"] + step,
            "variance": tf.maximum(variance, 0.0),
            "correction": correction,
        }

    def scale(self, statistics: Statistics) -> tf.Tensor:
        """Returns the standard deviation within its bounds."""
        return tf.clip_by_value(tf.sqrt(statistics["variance"]), self.least_scale, self.largest_scale)

    def check_head(self, head: Any) -> None:
        """Raises a ValueError if the head's values are not linear in its outputs: they could not be preserved."""
        if not head.is_linear:
            raise ValueError(
                f"return_scaling of {type(head).__name__} must be 'running' or None, because PopArt preserves the "
                "values of heads that are linear in their outputs, and these are not. Received: PopArt. Use "
                "return_scaling='running', or heads='scalar' or 'quantile'."
            )

    def get_config(self) -> dict[str, Any]:
        """Returns the arguments of the constructor."""
        return {"rate": self.rate, "least_scale": self.least_scale, "largest_scale": self.largest_scale}


def _next_correction(statistics: Statistics, rate: float) -> tf.Tensor:
    """Returns `1 − (1 − β)^t`, the weight of t values in an exponential average, from that of t − 1 values."""
    return statistics["correction"] + rate * (1.0 - statistics["correction"])


_BY_NAME = {"running": RunningScale, "popart": PopArt}


def get_return_scaling(scaling: Any) -> ReturnScaling | None:
    """Returns a return scaling.

    Args:
        scaling: None, the name `"running"` or `"popart"`, a `ReturnScaling` or its Keras config.

    Raises:
        ValueError: The scaling is none of these.
    """
    if scaling is None or isinstance(scaling, ReturnScaling):
        return scaling
    if isinstance(scaling, str) and scaling in _BY_NAME:
        return _BY_NAME[scaling]()
    if isinstance(scaling, Mapping) and "class_name" in scaling:
        return deserialize("return_scaling", scaling, ReturnScaling)
    raise ValueError(
        f"return_scaling must be None, one of {sorted(_BY_NAME)}, or an mtq.heads.ReturnScaling. Received: {scaling!r}."
    )
