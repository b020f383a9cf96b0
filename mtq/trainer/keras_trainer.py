"""The parts of Keras's trainer that have no meaning in Q-learning, refused with a pointer to what to use instead."""

import inspect
import os
import sys
from collections.abc import Mapping, Sequence
from typing import Any

import keras
import tensorflow as tf

from mtq.keras_internals import BuiltModel, flatten_layers

_SPLIT = (
    "Give validation_data batches of its own; or play the tasks: mtq.callbacks.EvaluateTasks in fit's callbacks, or "
    "mtq.evaluation.evaluate(model, episodes=10)."
)
_WEIGH = "Weigh tasks by compile(loss_weights=…), and transitions by how often they are sampled into the batches."
_TARGETS = "Batches are {task: mtq.Transition}; the targets follow from their rewards and next observations."
_METRICS = (
    "Losses, values and gradient norms of every task are always logged; add others to the logs in a callback, or use "
    "mtq.callbacks.EvaluateTasks."
)
# The arguments of fit that are refused: the value that each must have, and the remedy.
_OF_FIT = {
    "y": (None, _TARGETS),
    "validation_split": (0.0, _SPLIT),
    "validation_batch_size": (None, "The batches have the size that validation_data gives them."),
    "class_weight": (None, _WEIGH),
    "sample_weight": (None, _WEIGH),
}
# The same for arguments that Keras ignores when x is a dataset of batches.
_OF_ARRAYS = {
    "batch_size": (None, "The batches have the size that Experience.batches(batch_size) or your dataset gives them."),
    "shuffle": (False, "Experience draws at random; shuffle another dataset before it is batched."),
}
# Methods that Keras's train_step calls and MultiTaskDQN's does not.
_NOT_CALLED = ("compute_loss", "compute_metrics")


class KerasTrainer(BuiltModel):
    """A Keras model that refuses the trainer methods and arguments that have no meaning in Q-learning."""

    def compute_loss(self, *args: Any, **kwargs: Any) -> Any:
        """Not supported: each task has its own loss, which is computed from transitions.

        Raises:
            ValueError: Always.
        """
        raise _unsupported(self, "compute_loss", "The loss of TD errors is compile(loss=…); see train_step.")

    def compute_metrics(self, *args: Any, **kwargs: Any) -> Any:
        """Not supported: there are no labels to compare predictions with.

        Raises:
            ValueError: Always.
        """
        raise _unsupported(self, "compute_metrics", _METRICS)

    def predict_step(self, data: Any) -> Any:
        """Computes the action values of one batch of observations, for `predict`.

        Args:
            data: The observations of all tasks, `{task: observation [B, …]}`.

        Returns:
            The action values, `{task: q_values [B, num_actions]}`.

        Raises:
            ValueError: The data are not the observations of every task.
        """
        observations = keras.utils.unpack_x_y_sample_weight(data)[0]
        is_by_task = isinstance(observations, Mapping) and set(observations) == set(self.tasks)
        if not is_by_task or any(isinstance(value, tuple | Mapping) for value in observations.values()):
            shape = sorted(observations) if isinstance(observations, Mapping) else type(observations).__name__
            raise ValueError(
                f"x of predict must be {{task: observations}} for the tasks {list(self.tasks)}. Received: {shape}"
                f"{', with transitions' if is_by_task else ''}. For one task, call model.paths[task](observations)."
            )
        return self(observations, training=False)

    @property
    def metrics_names(self) -> list[str]:
        """The names of the values in the list that `train_on_batch` returns, in the same order."""
        return sorted(self.get_metrics_result()) if self.compiled else []


def fit_arguments(x: Any, args: Sequence[Any], kwargs: Mapping[str, Any]) -> dict[str, Any]:
    """Collects the arguments of `fit` by name, and refuses those that would have no effect.

    Args:
        x: The batches.
        args: The positional arguments after x.
        kwargs: The keyword arguments.

    Returns:
        All arguments except x, by name.

    Raises:
        TypeError: `keras.Model.fit` has no such argument.
        ValueError: An argument would have no effect.
    """
    arguments = _by_name(keras.Model.fit, x, args, kwargs)
    del arguments["x"]
    refused = _OF_FIT if isinstance(x, Mapping) else {**_OF_FIT, **_OF_ARRAYS}
    for name, (expected, remedy) in refused.items():
        _check_unused("fit", name, arguments.get(name, expected), expected, remedy)
    return arguments


def evaluate_arguments(x: Any, args: Sequence[Any], kwargs: Mapping[str, Any]) -> dict[str, Any]:
    """Collects the arguments of `evaluate` by name, and refuses those that would have no effect.

    Args:
        x: The batches.
        args: The positional arguments after x.
        kwargs: The keyword arguments.

    Returns:
        All arguments, by name. `verbose="auto"` is resolved as `TaskProgress` does.

    Raises:
        TypeError: `keras.Model.evaluate` has no such argument.
        ValueError: An argument would have no effect.
    """
    arguments = _by_name(keras.Model.evaluate, x, args, kwargs)
    check_batch_arguments(arguments.get("y"), arguments.get("sample_weight"), method="evaluate")
    is_of_fit = "_use_cached_eval_dataset" in arguments  # which passes its own batch_size
    if not isinstance(x, Mapping) and not is_of_fit:
        _check_unused("evaluate", "batch_size", arguments.get("batch_size"), *_OF_ARRAYS["batch_size"])
    if arguments.get("verbose", "auto") == "auto":
        arguments["verbose"] = 1 if shows_bars() else 2
    return arguments


def _by_name(method: Any, x: Any, args: Sequence[Any], kwargs: Mapping[str, Any]) -> dict[str, Any]:
    """Returns the arguments of a call of a method of `keras.Model` by name."""
    arguments = dict(inspect.signature(method).bind(None, x, *args, **kwargs).arguments)
    arguments.update(arguments.pop("kwargs", {}))
    del arguments["self"]
    return arguments


def shows_bars() -> bool:
    """Whether standard output can show a line that is overwritten: in a terminal, a notebook or PyCharm."""
    is_terminal = sys.stdout is not None and sys.stdout.isatty()
    return is_terminal or "ipykernel" in sys.modules or "PYCHARM_HOSTED" in os.environ


def check_batch_arguments(y: Any, sample_weight: Any, class_weight: Any = None, method: str = "train_on_batch") -> None:
    """Raises a ValueError if a batch has labels or weights, which would have no effect.

    Args:
        y: The labels, which must be None.
        sample_weight: The sample weights, which must be None.
        class_weight: The class weights, which must be None.
        method: The name of the method that was given them, for the message.
    """
    _check_unused(method, "y", y, None, _TARGETS)
    _check_unused(method, "sample_weight", sample_weight, None, _WEIGH)
    _check_unused(method, "class_weight", class_weight, None, _WEIGH)


def check_compile(model: keras.Model, metrics: Any, weighted_metrics: Any) -> None:
    """Raises a ValueError if a model has, or is compiled with, something that its train step ignores.

    Args:
        model: A `MultiTaskDQN`.
        metrics: The argument of `compile`, which must be None or empty.
        weighted_metrics: The argument of `compile`, which must be None or empty.
    """
    for name, value in (("metrics", metrics), ("weighted_metrics", weighted_metrics)):
        _check_unused("compile", name, value or None, None, _METRICS)
    kind = type(model)
    if defines_own_step(kind):
        return
    for name in _NOT_CALLED:
        if getattr(kind, name) is not getattr(KerasTrainer, name):
            raise ValueError(
                f"{kind.__name__}.{name} must not be overridden unless train_step is. Received: a class that overrides "
                "it, whose method would never be called. Override train_step, or pass the loss to compile and compute "
                "metrics in a callback."
            )
    for layer in flatten_layers(model.network):
        if not isinstance(layer, keras.Model) and layer.metrics:
            raise ValueError(
                f"Layer '{layer.name}' must have no metrics. Received: {[m.name for m in layer.metrics]}, which would "
                "also count the calls for acting, evaluation and other tasks. Compute them in a callback."
            )


def defines_own_step(kind: type) -> bool:
    """Whether a class, or a base class of it below `MultiTaskDQN`, overrides `train_step`."""
    owner = next(base for base in kind.__mro__ if "train_step" in vars(base))
    return not owner.__module__.startswith("mtq.")


def _check_unused(method: str, name: str, value: Any, expected: Any, remedy: str) -> None:
    # Keras passes an Optional in place of None.
    is_none = value is None or isinstance(value, tf.experimental.Optional)
    if is_none or (isinstance(value, int | float) and value == expected):
        return
    text = repr(value)
    text = text if len(text) <= 80 else f"{text[:77]}…"
    raise ValueError(f"{name} of {method} must be {expected!r}. Received: {text}. {remedy}")


def _unsupported(model: keras.Model, method: str, remedy: str) -> ValueError:
    return ValueError(f"{method} of a {type(model).__name__} must not be called. Received: a call. {remedy}")
