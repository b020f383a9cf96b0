"""The callbacks that every `fit` has: the progress bar, and checks that stop a run that has gone wrong."""

import copy
import math
import os
import sys
from collections.abc import Iterable, Mapping
from typing import Any

import keras
import tensorflow as tf

from mtq.errors import NonFiniteLossError
from mtq.trainer.callback_order import check_callbacks, in_order
from mtq.trainer.stages import CHECKS_RUN

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


class TaskProgress(keras.callbacks.ProgbarLogger):
    """Keras's progress bar with each task's loss, and its return where a callback put it into the logs.

    `MultiTaskDQN.fit` shows it unless `verbose=0`. With `verbose="auto"`, the default, it is a bar (`verbose=1`) in a
    terminal or a notebook. Elsewhere, as in a file, it is a line at the end of each epoch (`verbose=2`).
    """

    def set_params(self, params: dict[str, Any]) -> None:
        """Chooses what is printed.

        Args:
            params: The parameters of `fit`: `"verbose"`, `"epochs"` and `"steps"`.
        """
        is_auto = params["verbose"] == "auto"
        super().set_params({**params, "verbose": 1 if _shows_bars() else 2} if is_auto else params)

    def on_epoch_begin(self, epoch: int, logs: dict[str, Any] | None = None) -> None:
        """Makes a new bar."""
        super().on_epoch_begin(epoch, logs)
        # The logs are means over the epoch already; the bar must not average them once more.
        self.progbar = keras.utils.Progbar(self.target, verbose=self.verbose, stateful_metrics=self._names())

    def on_train_batch_end(self, batch: int, logs: dict[str, Any] | None = None) -> None:
        """Moves the bar."""
        super().on_train_batch_end(batch, self._shown(logs))

    def on_epoch_end(self, epoch: int, logs: dict[str, Any] | None = None) -> None:
        """Completes the bar, or prints the line."""
        super().on_epoch_end(epoch, self._shown(logs))

    def _shown(self, logs: dict[str, Any] | None) -> dict[str, Any]:
        return {name: logs[name] for name in self._names() if logs and name in logs}

    def _names(self) -> list[str]:
        return [f"{task}/{quantity}" for quantity in _SHOWN for task in self.model.tasks]


def _shows_bars() -> bool:
    """Whether standard output shows a line that is written again and again: a terminal, a notebook, or PyCharm."""
    is_terminal = sys.stdout is not None and sys.stdout.isatty()
    return is_terminal or "ipykernel" in sys.modules or "PYCHARM_HOSTED" in os.environ


def with_defaults(callbacks: Any, verbose: Any, model: keras.Model) -> Any:
    """Adds what every run of `MultiTaskDQN.fit` has: the progress bar, and the stop on losses that are not finite.

    The order in which callbacks are given does not matter: those that add to the logs are called first, those that
    record the logs late, and `SaveCheckpoint` last.

    Args:
        callbacks: What the user gave: None, a callback, several, or a `keras.callbacks.CallbackList`.
        verbose: As in `fit`.
        model: The model that is trained.

    Raises:
        ValueError: Two callbacks would write the same logs or file, the direction of a monitor is not known, or a
            callback saves the model and a saved file could not be loaded again.
    """
    if not (verbose == "auto" if isinstance(verbose, str) else verbose in (0, 1, 2)):
        raise ValueError(f"verbose of fit must be 'auto', 0, 1 or 2. Received: {verbose!r}.")
    if isinstance(callbacks, keras.callbacks.CallbackList):
        check_callbacks(callbacks.callbacks)
        added = [StopOnNonFiniteLoss(), CheckTrainableWeights(), *_of_weighting(model)]
        whole = copy.copy(callbacks)  # the user's own list is left unchanged
        whole.callbacks = in_order([*callbacks.callbacks, *added], model)
        for callback in whole.callbacks:
            if callback.model is not model:
                callback.set_model(model)
        return whole
    is_many = isinstance(callbacks, Iterable) and not isinstance(callbacks, str | bytes | Mapping)
    given = list(callbacks) if is_many else [] if callbacks is None else [callbacks]
    check_callbacks(given)
    has_bar = not verbose or any(isinstance(callback, keras.callbacks.ProgbarLogger) for callback in given)
    bar = [] if has_bar else [TaskProgress()]
    return in_order([StopOnNonFiniteLoss(), CheckTrainableWeights(), *given, *_of_weighting(model), *bar], model)


def _of_weighting(model: keras.Model) -> list[keras.callbacks.Callback]:
    return [TellReturns()] if hasattr(getattr(model, "weighting", None), "observe_returns") else []


class StopOnNonFiniteLoss(keras.callbacks.Callback):
    """Stops training by a `NonFiniteLossError` as soon as a task's loss is NaN or infinite.

    `MultiTaskDQN.fit` always has it. Checkpoints written before are left as they are. At the end of each epoch it looks
    at the network's weights too: a rectifier may make zero of NaN, so that no loss shows it.
    """

    stage = CHECKS_RUN

    def on_train_batch_end(self, batch: int, logs: dict[str, Any] | None = None) -> None:
        """Looks at the losses."""
        logs = logs or {}
        for task in self.model.tasks:
            for quantity in ("weight", "loss", "gradient_norm"):
                value = logs.get(f"{task}/{quantity}", 0.0)
                if not math.isfinite(value):
                    wanted = "finite, and a schedule's weights 0 or more" if quantity == "weight" else "finite"
                    raise NonFiniteLossError(
                        f"The {quantity.replace('_', ' ')} of task '{task}' must stay {wanted}. Received: {value} by "
                        f"update {int(self.model.updates.numpy())}. {_REMEDIES[quantity].format(task=task)} "
                        f"{self._what_became_of_weights()}"
                    )
        for quantity in ("regularization_loss", "regularization_gradient_norm"):
            if not math.isfinite(value := logs.get(quantity, 0.0)):
                raise NonFiniteLossError(
                    f"The {quantity.replace('_', ' ')} of the network must stay finite. Received: {value} by update "
                    f"{int(self.model.updates.numpy())}. Look at the layers' regularizers, activity regularizers and "
                    f"add_loss. {self._what_became_of_weights()}"
                )

    def on_epoch_end(self, epoch: int, logs: dict[str, Any] | None = None) -> None:
        """Looks at the weights that are trained."""
        spoilt = self._spoilt_weight()
        if spoilt is not None:
            raise NonFiniteLossError(
                f"The weights of the network must stay finite. Received: NaN or Inf in '{spoilt}' by update "
                f"{int(self.model.updates.numpy())}. {_OF_WEIGHTS} Go on from a checkpoint of an earlier epoch."
            )

    def _what_became_of_weights(self) -> str:
        spoilt = self._spoilt_weight()
        if spoilt is None:
            return "What is not finite was kept out of the network, and checkpoints written before are as they were."
        return f"The network's weight '{spoilt}' is not finite either. {_OF_WEIGHTS}"

    def _spoilt_weight(self) -> str | None:
        """The path of a trained variable that holds NaN or Inf; None if there is none."""
        for variable in self.model.network.trainable_variables:
            if not bool(tf.reduce_all(tf.math.is_finite(tf.convert_to_tensor(variable)))):
                return str(variable.path)
        return None


class TellReturns(keras.callbacks.Callback):
    """Tells the model's weighting the mean training returns of each epoch, which `TrainingReturns` puts into the logs.

    `fit` adds it where it is needed.
    """

    def on_epoch_end(self, epoch: int, logs: dict[str, Any] | None = None) -> None:
        """Looks for the returns in the logs."""
        returns = {name: (logs or {}).get(f"{name}/return") for name in self.model.tasks}
        missing = [name for name, value in returns.items() if value is None]
        if missing:
            raise ValueError(
                f"{type(self.model.weighting).__name__} must be told the tasks' returns. Received: none of task "
                f"'{missing[0]}'. Pass fit callbacks=[mtq.callbacks.TrainingReturns(experience), …]."
            )
        self.model.weighting.observe_returns(returns)


class CheckTrainableWeights(keras.callbacks.Callback):
    """Raises a ValueError at the start of an epoch if `compile` has to be called again, as after layers were frozen.

    Such a change would have no effect. `MultiTaskDQN.fit` always adds this callback.
    """

    def on_epoch_begin(self, epoch: int, logs: dict[str, Any] | None = None) -> None:
        """Compares the model with what it was at the time of `compile`."""
        self.model.compiled_state.check()
