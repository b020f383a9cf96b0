"""What a Keras model's trainer offers and Q-learning has no meaning for: refused by name, with what to use instead."""

import inspect
from collections.abc import Mapping, Sequence
from typing import Any

import keras
import tensorflow as tf

_EVALUATE = (
    "Play the tasks instead: mtq.callbacks.EvaluateTasks in fit's callbacks, or mtq.evaluation.evaluate(model, "
    "episodes=10)."
)
_WEIGH = "Weigh tasks by compile(loss_weights=…), and rows by what is sampled into the batches."
_TARGETS = "Batches are {task: mtq.Transition}; the targets follow from their rewards and next observations."
_METRICS = (
    "Losses, values and gradient norms of every task are logged anyway; add others to the logs in a callback, or use "
    "mtq.callbacks.EvaluateTasks."
)
# Of each argument of fit that is refused: what it must be, and the remedy.
_OF_FIT = {
    "y": (None, _TARGETS),
    "validation_split": (0.0, _EVALUATE),
    "validation_data": (None, _EVALUATE),
    "validation_steps": (None, _EVALUATE),
    "validation_batch_size": (None, _EVALUATE),
    "validation_freq": (1, _EVALUATE),
    "class_weight": (None, _WEIGH),
    "sample_weight": (None, _WEIGH),
}
# Of each that Keras would ignore where batches are made already.
_OF_ARRAYS = {
    "batch_size": (None, "The batches have the size that Experience.dataset(batch_size) or your dataset gives them."),
    "shuffle": (False, "Experience draws at random; shuffle another dataset before it is batched."),
}
# Methods that Keras's own train_step calls and that of MultiTaskDQN does not.
_NOT_CALLED = ("compute_loss", "compute_metrics", "test_step")


class KerasTrainer(keras.Model):
    """A Keras model whose methods that cannot mean anything in Q-learning say so at once."""

    def evaluate(self, *args: Any, **kwargs: Any) -> Any:
        """Is refused: of batches there is no score of a policy.

        Raises:
            ValueError: Always.
        """
        raise _unsupported(self, "evaluate", _EVALUATE)

    def test_on_batch(self, *args: Any, **kwargs: Any) -> Any:
        """Is refused, as `evaluate`.

        Raises:
            ValueError: Always.
        """
        raise _unsupported(self, "test_on_batch", _EVALUATE)

    def test_step(self, data: Any) -> Any:
        """Is refused, as `evaluate`.

        Raises:
            ValueError: Always.
        """
        raise _unsupported(self, "test_step", _EVALUATE)

    def compute_loss(self, *args: Any, **kwargs: Any) -> Any:
        """Is refused: losses are the tasks', and follow from transitions.

        Raises:
            ValueError: Always.
        """
        raise _unsupported(self, "compute_loss", "The loss of TD errors is compile(loss=…); see train_step.")

    def compute_metrics(self, *args: Any, **kwargs: Any) -> Any:
        """Is refused: there are no targets to measure by.

        Raises:
            ValueError: Always.
        """
        raise _unsupported(self, "compute_metrics", _METRICS)

    def predict_step(self, data: Any) -> Any:
        """Action values of one batch of observations, for `predict`.

        Args:
            data: `{task: observation [B, …]}`.

        Raises:
            ValueError: They are not the observations of every task.
        """
        observations = keras.utils.unpack_x_y_sample_weight(data)[0]
        is_by_task = isinstance(observations, Mapping) and set(observations) == set(self.tasks)
        if not is_by_task or any(isinstance(value, tuple | Mapping) for value in observations.values()):
            shape = sorted(observations) if isinstance(observations, Mapping) else type(observations).__name__
            raise ValueError(
                f"x of predict must be {{task: observations}} for the tasks {list(self.tasks)}. Received: {shape}"
                f"{', with transitions' if is_by_task else ''}. Of one task, call model.paths[task](observations)."
            )
        return self(observations, training=False)

    @property
    def metrics_names(self) -> list[str]:
        """The names of what `train_on_batch` returns in a list, in its order."""
        return sorted(self.get_metrics_result()) if self.compiled else []


def fit_arguments(x: Any, args: Sequence[Any], kwargs: Mapping[str, Any]) -> dict[str, Any]:
    """The arguments of `fit` but for x by name, after those were refused that cannot be honoured.

    Args:
        x: The batches.
        args: Positional ones after x.
        kwargs: Those by name.

    Raises:
        TypeError: There is no such argument.
        ValueError: An argument cannot be honoured.
    """
    given = inspect.signature(keras.Model.fit).bind(None, x, *args, **kwargs).arguments
    given = {name: value for name, value in given.items() if name not in ("self", "x")}
    refused = _OF_FIT if isinstance(x, Mapping) else {**_OF_FIT, **_OF_ARRAYS}
    for name, (expected, remedy) in refused.items():
        _check_unused("fit", name, given.get(name, expected), expected, remedy)
    return given


def check_batch_arguments(y: Any, sample_weight: Any, class_weight: Any = None, method: str = "train_on_batch") -> None:
    """Raises a ValueError if anything comes beside a batch that would have no effect.

    Args:
        y: Must be None.
        sample_weight: Must be None.
        class_weight: Must be None.
        method: Which was given them.
    """
    _check_unused(method, "y", y, None, _TARGETS)
    _check_unused(method, "sample_weight", sample_weight, None, _WEIGH)
    _check_unused(method, "class_weight", class_weight, None, _WEIGH)


def check_compile(model: keras.Model, metrics: Any, weighted_metrics: Any) -> None:
    """Raises a ValueError if a model was made, or is compiled, with what its train step leaves out.

    Args:
        model: A `MultiTaskDQN`.
        metrics: Must be None or empty.
        weighted_metrics: Must be None or empty.
    """
    for name, value in (("metrics", metrics), ("weighted_metrics", weighted_metrics)):
        _check_unused("compile", name, value or None, None, _METRICS)
    kind = type(model)
    if _defines_own_step(kind):
        return
    for name in _NOT_CALLED:
        if getattr(kind, name) is not getattr(KerasTrainer, name):
            raise ValueError(
                f"{kind.__name__}.{name} must not be overridden unless train_step is. Received: a class that does, "
                "whose method would never be called. Override train_step, or give compile the loss and a callback "
                "the metrics."
            )
    for layer in model.network._flatten_layers():
        if not isinstance(layer, keras.Model) and layer.metrics:
            raise ValueError(
                f"Layer '{layer.name}' must have no metrics. Received: {[m.name for m in layer.metrics]}, which would "
                "also count what acting, evaluation and other tasks call the layer for. Compute them in a callback."
            )


def _defines_own_step(kind: type) -> bool:
    """Whether a class between the user's and `MultiTaskDQN` brings a train step of its own."""
    owner = next(base for base in kind.__mro__ if "train_step" in vars(base))
    return not owner.__module__.startswith("mtq.")


def _check_unused(method: str, name: str, value: Any, expected: Any, remedy: str) -> None:
    is_none = value is None or isinstance(value, tf.experimental.Optional)  # Keras puts one in the place of None
    if is_none or (isinstance(value, int | float) and value == expected):
        return
    text = repr(value)
    text = text if len(text) <= 80 else f"{text[:77]}…"
    raise ValueError(f"{name} of {method} must be {expected!r}. Received: {text}. {remedy}")


def _unsupported(model: keras.Model, method: str, remedy: str) -> ValueError:
    return ValueError(f"{method} must not be called of a {type(model).__name__}. Received: a call. {remedy}")
