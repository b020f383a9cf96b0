"""The callbacks of every `fit`: the progress bar, and checks that stop a run whose numbers are not finite."""

import copy
import math
import warnings
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import keras
import tensorflow as tf

from mtq.errors import NonFiniteLossError
from mtq.learning.validation import FillValidationLogs
from mtq.trainer.callback_order import check_callbacks, in_order
from mtq.trainer.keras_trainer import shows_bars
from mtq.trainer.stages import CHECKS_RUN
from mtq.trainer.task_metrics import clipped_name

_LOSS_REMEDY = (
    "Lower the learning rate, use loss=\"huber\", or scale or clip the rewards of '{task}' (reward_scale, reward_clip)."
)
_REMEDIES = {
    "loss": _LOSS_REMEDY,
    "gradient_norm": _LOSS_REMEDY,
    "weight": "Give '{task}' another weight or schedule in loss_weights, or set_task_weights.",
}
_OF_WEIGHTS = "Check the optimizer's epsilon and learning rate, weight constraints, and callbacks that set weights."
_SHOWN = ("loss", "return")
_MOST_CLIPPED = 0.05  # the share of targets outside a head's limits above which fit warns


class TaskProgress(keras.callbacks.ProgbarLogger):
    """Keras's progress bar, with each task's loss and, if a callback has added it to the logs, its return.

    `MultiTaskDQN.fit` shows it unless `verbose=0`. With `verbose="auto"`, the default, it is a bar (`verbose=1`) in a
    terminal or a notebook. Elsewhere, such as in a file, it is a line at the end of each epoch (`verbose=2`).
    """

    def set_params(self, params: dict[str, Any]) -> None:
        """Stores the parameters, and resolves `verbose="auto"` to a bar or a line per epoch.

        Args:
            params: The parameters of `fit`, a dict with `"verbose"`, `"epochs"` and `"steps"`.
        """
        is_auto = params["verbose"] == "auto"
        super().set_params({**params, "verbose": 1 if shows_bars() else 2} if is_auto else params)

    def on_epoch_begin(self, epoch: int, logs: dict[str, Any] | None = None) -> None:
        """Creates a new bar for the epoch."""
        super().on_epoch_begin(epoch, logs)
        # The logs are already means over the epoch; the bar must not average them again.
        self.progbar = keras.utils.Progbar(self.target, verbose=self.verbose, stateful_metrics=self._names())

    def on_train_batch_end(self, batch: int, logs: dict[str, Any] | None = None) -> None:
        """Updates the bar."""
        super().on_train_batch_end(batch, self._shown(logs))

    def on_epoch_end(self, epoch: int, logs: dict[str, Any] | None = None) -> None:
        """Completes the bar, or prints the line of the epoch."""
        super().on_epoch_end(epoch, self._shown(logs))

    def _shown(self, logs: dict[str, Any] | None) -> dict[str, Any]:
        return {name: logs[name] for name in self._names() if logs and name in logs}

    def _names(self) -> list[str]:
        return [f"{task}/{quantity}" for quantity in _SHOWN for task in self.model.tasks]


def with_defaults(callbacks: Any, verbose: Any, model: keras.Model, validated: Sequence[str] | None = None) -> Any:
    """Adds the callbacks of every `MultiTaskDQN.fit`: the progress bar and the checks.

    The order of the given callbacks does not matter. Those that add to the logs are called first, those that record the
    logs later, and `SaveCheckpoint` last.

    Args:
        callbacks: The user's callbacks: None, a callback, several, or a `keras.callbacks.CallbackList`.
        verbose: The `verbose` of `fit`: `"auto"`, 0, 1 or 2.
        model: The model that is being trained.
        validated: The names of the quantities that `validation_data` adds to the logs in some epochs only, as far as
            they are known; None if it adds them in all epochs.

    Returns:
        The callbacks in the order in which they are called: a list, or a `CallbackList` if one was given.

    Raises:
        ValueError: Two callbacks would write the same logs or file, the direction of a monitor is unknown, or a
            callback saves the model but the saved file could not be loaded again.
    """
    if not (verbose == "auto" if isinstance(verbose, str) else verbose in (0, 1, 2)):
        raise ValueError(f"verbose of fit must be 'auto', 0, 1 or 2. Received: {verbose!r}.")
    if isinstance(callbacks, keras.callbacks.CallbackList):
        check_callbacks(callbacks.callbacks)
        added = [*_checks(model), *_log_callbacks(model, validated, callbacks.callbacks)]
        extended = copy.copy(callbacks)  # the user's own list is left unchanged
        extended.callbacks = in_order([*callbacks.callbacks, *added], model)
        for callback in extended.callbacks:
            if callback.model is not model:
                callback.set_model(model)
        return extended
    is_many = isinstance(callbacks, Iterable) and not isinstance(callbacks, str | bytes | Mapping)
    given = list(callbacks) if is_many else [] if callbacks is None else [callbacks]
    check_callbacks(given)
    has_bar = not verbose or any(isinstance(callback, keras.callbacks.ProgbarLogger) for callback in given)
    bar = [] if has_bar else [TaskProgress()]
    return in_order([*_checks(model), *given, *_log_callbacks(model, validated, given), *bar], model)


def _checks(model: keras.Model) -> list[keras.callbacks.Callback]:
    has_limits = bool(getattr(getattr(model, "q_learning", None), "limited", ()))
    return [StopOnNonFiniteLoss(), CheckTrainableWeights(), *([WarnAboutClippedTargets()] if has_limits else [])]


def _log_callbacks(
    model: keras.Model, validated: Sequence[str] | None, given: Sequence[keras.callbacks.Callback]
) -> list[keras.callbacks.Callback]:
    has_returns = hasattr(getattr(model, "weighting", None), "observe_returns")
    added: list[keras.callbacks.Callback] = [TellReturns()] if has_returns else []
    if validated is None:
        return added
    monitors = [str(getattr(callback, "monitor", "")) for callback in given]
    return [FillValidationLogs([*validated, *(name for name in monitors if name.startswith("val_"))]), *added]


class WarnAboutClippedTargets(keras.callbacks.Callback):
    """Warns once for each task if many of its targets lie outside the limits of what its head can learn."""

    def __init__(self) -> None:
        super().__init__()
        self._warned: set[str] = set()

    def on_epoch_end(self, epoch: int, logs: dict[str, Any] | None = None) -> None:
        """Checks the share of clipped targets in the epoch."""
        for task in self.model.tasks:
            share = (logs or {}).get(clipped_name(task), 0.0)
            if share > _MOST_CLIPPED and task not in self._warned:
                self._warned.add(task)
                head = self.model.q_learning.heads[task]
                low, high = head.limits
                remedy = f"Give the {type(head).__name__} a wider support (low, high"
                remedy += ", in normalized units)." if head.return_scaling else "), or use return_scaling='running'."
                warnings.warn(
                    f"The support of the head of task '{task}' must contain its returns. Received: {share:.0%} of the "
                    f"targets of epoch {epoch + 1} outside of {low:.4g} to {high:.4g}, and cut off there. {remedy}",
                    stacklevel=2,
                )


class StopOnNonFiniteLoss(keras.callbacks.Callback):
    """Stops training with a `NonFiniteLossError` as soon as a loss, a gradient norm or a weight is not finite.

    `MultiTaskDQN.fit` always adds this callback. Earlier checkpoints are left unchanged. At the end of each epoch, the
    callback also checks the network's weights, because a rectifier may turn NaN into zero, so that no loss shows it.
    """

    mtq_stage = CHECKS_RUN

    def on_train_batch_end(self, batch: int, logs: dict[str, Any] | None = None) -> None:
        """Checks the weights, losses and gradient norms of the tasks, and the regularization loss."""
        logs = logs or {}
        for task in self.model.tasks:
            for quantity in ("weight", "loss", "gradient_norm"):
                value = logs.get(f"{task}/{quantity}", 0.0)
                if not math.isfinite(value):
                    expected = "finite, and a schedule's weights 0 or more" if quantity == "weight" else "finite"
                    raise NonFiniteLossError(
                        f"The {quantity.replace('_', ' ')} of task '{task}' must stay {expected}. Received: {value} by "
                        f"update {int(self.model.updates.numpy())}. {_REMEDIES[quantity].format(task=task)} "
                        f"{self._state_of_weights()}"
                    )
        for quantity in ("regularization_loss", "regularization_gradient_norm"):
            if not math.isfinite(value := logs.get(quantity, 0.0)):
                raise NonFiniteLossError(
                    f"The {quantity.replace('_', ' ')} of the network must stay finite. Received: {value} by update "
                    f"{int(self.model.updates.numpy())}. Check the layers' regularizers, activity regularizers and "
                    f"add_loss. {self._state_of_weights()}"
                )

    def on_epoch_end(self, epoch: int, logs: dict[str, Any] | None = None) -> None:
        """Checks the trainable weights of the network."""
        path = self._non_finite_weight()
        if path is not None:
            raise NonFiniteLossError(
                f"The weights of the network must stay finite. Received: NaN or Inf in '{path}' by update "
                f"{int(self.model.updates.numpy())}. {_OF_WEIGHTS} Resume from a checkpoint of an earlier epoch."
            )

    def _state_of_weights(self) -> str:
        """Returns the part of the message that says whether the network's weights are finite."""
        path = self._non_finite_weight()
        if path is None:
            return "The network's weights are still finite, and earlier checkpoints are unchanged."
        return f"The network's weight '{path}' is not finite either. {_OF_WEIGHTS}"

    def _non_finite_weight(self) -> str | None:
        """Returns the path of a trainable variable that holds NaN or Inf, or None if all are finite."""
        for variable in self.model.network.trainable_variables:
            if not bool(tf.reduce_all(tf.math.is_finite(tf.convert_to_tensor(variable)))):
                return str(variable.path)
        return None


class TellReturns(keras.callbacks.Callback):
    """Passes the mean training returns of each epoch, which `TrainingReturns` adds to the logs, to the weighting.

    `fit` adds this callback if the model's weighting has a method `observe_returns`.
    """

    def on_epoch_end(self, epoch: int, logs: dict[str, Any] | None = None) -> None:
        """Passes the returns in the logs to the weighting."""
        returns = {name: (logs or {}).get(f"{name}/return") for name in self.model.tasks}
        missing = [name for name, value in returns.items() if value is None]
        if missing:
            raise ValueError(
                f"{type(self.model.weighting).__name__} must receive the tasks' returns. Received: none of task "
                f"'{missing[0]}'. Pass callbacks=[mtq.callbacks.TrainingReturns(experience), …] to fit."
            )
        self.model.weighting.observe_returns(returns)


class CheckTrainableWeights(keras.callbacks.Callback):
    """Raises a ValueError at the start of an epoch if `compile` has to be called again, such as after freezing layers.

    Otherwise such a change would have no effect. `MultiTaskDQN.fit` always adds this callback.
    """

    def on_epoch_begin(self, epoch: int, logs: dict[str, Any] | None = None) -> None:
        """Checks that the model has not changed since `compile` in a way that requires compiling again."""
        self.model.compiled_state.check()
