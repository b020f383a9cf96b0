"""Callbacks that monitor one logged quantity, which may be missing in some epochs."""

import difflib
import math
import warnings
from typing import Any

import keras

from mtq.trainer.directions import checked_direction
from mtq.trainer.task_metrics import QUANTITIES

_FOLLOWING = (
    keras.callbacks.EarlyStopping,
    keras.callbacks.ModelCheckpoint,
    keras.callbacks.ReduceLROnPlateau,
)


def follows(callback: keras.callbacks.Callback) -> bool:
    """Whether the behavior of this callback depends on one logged quantity, its monitor.

    Args:
        callback: A Keras callback.
    """
    if getattr(callback, "follows_monitor", False):
        return True
    return isinstance(callback, _FOLLOWING) and getattr(callback, "save_best_only", True)


class Monitored(keras.callbacks.Callback):
    """Wraps a callback so that its `on_epoch_end` runs only in epochs in which its monitor is known.

    Keras's callbacks treat NaN as a value: `EarlyStopping` counts an epoch without an evaluation as one without
    improvement, and no later value improves on an initial NaN. With this wrapper, patience counts evaluations.

    Args:
        callback: The callback to wrap, for which `follows` is True.
        is_known: Whether all other callbacks belong to mtq or Keras, so that a missing monitor is an error. If False,
            a user's callback may add the monitor later, and a missing monitor only causes a warning.

    Raises:
        ValueError: The callback's monitor is not a text; its mode is `"auto"` and mtq does not know whether higher or
            lower values of the monitor are better; or the callback saves between epochs, when the monitor is unknown.
    """

    def __init__(self, callback: Any, is_known: bool) -> None:
        super().__init__()
        self.callback, self._is_known = callback, is_known
        self._name, self._seen, self._epochs = type(callback).__name__, False, 0
        self._check_mode()
        if getattr(callback, "save_freq", "epoch") != "epoch" and not _is_of_updates(callback.monitor):
            raise ValueError(
                f"save_freq of {self._name} must be 'epoch' to keep the best by {callback.monitor!r}, which is known "
                f"only at the end of epochs. Received: {callback.save_freq!r}. Pass save_freq='epoch'."
            )

    def _check_mode(self) -> None:
        self.callback.mode = checked_direction(self._name, self.callback.monitor, self.callback.mode)

    def set_params(self, params: Any) -> None:
        """Sets the parameters of the wrapped callback too."""
        super().set_params(params)
        self.callback.set_params(params)

    def set_model(self, model: keras.Model) -> None:
        """Sets the model of the wrapped callback too."""
        super().set_model(model)
        self.callback.set_model(model)

    def on_train_begin(self, logs: Any = None) -> None:
        """Resets the count of epochs and the record of whether the monitor was logged."""
        self._seen, self._epochs = False, 0
        self.callback.on_train_begin(logs)

    def on_epoch_end(self, epoch: int, logs: Any = None) -> None:
        """Calls the callback if the monitor is known; warns or raises if it is missing after the first epoch."""
        self._epochs += 1
        value = (logs or {}).get(self.callback.monitor)
        if value is None and self._epochs == 1:
            self._tell_missing(logs or {})
        if value is not None and not _is_nan(value):
            self._seen = True
            self.callback.on_epoch_end(epoch, logs)
        elif logs is not None and isinstance(self.callback, keras.callbacks.ReduceLROnPlateau):
            logs["learning_rate"] = float(self.model.optimizer.learning_rate)  # as the callback does in each epoch

    def on_train_end(self, logs: Any = None) -> None:
        """Warns if the monitor was never known."""
        self.callback.on_train_end(logs)
        if self._epochs and not self._seen:
            warnings.warn(
                f"{self._name} has done nothing: its monitor {self.callback.monitor!r} was not a number in any of the "
                f"{self._epochs} epochs. Train for more epochs, or evaluate more often (every=… of EvaluateTasks, "
                "validation_freq of fit).",
                stacklevel=2,
            )

    def _tell_missing(self, logs: dict[str, Any]) -> None:
        monitor = self.callback.monitor
        near = difflib.get_close_matches(monitor, logs, n=1, cutoff=0.5)
        text = (
            f"monitor of {self._name} must be a name in the logs. Received: {monitor!r}, which is missing at the end "
            f"of the first epoch. {f'Did you mean {near[0]!r}? ' if near else ''}The logs have: {sorted(logs)}. "
            "mtq.callbacks.EvaluateTasks adds 'val_score' and 'val_<task>/return', mtq.callbacks.TrainingReturns "
            "'<task>/return', and fit(validation_data=…) 'val_loss'. A callback of your own that adds it must come "
            "before, or set adds_logs = True."
        )
        if self._is_known:
            raise ValueError(text)
        warnings.warn(text, stacklevel=2)


def _handed_on(hook: str) -> Any:
    def method(self: Monitored, *args: Any, **kwargs: Any) -> None:
        getattr(self.callback, hook)(*args, **kwargs)

    method.__name__ = hook
    method.__doc__ = "Calls the wrapped callback."
    return method


for _hook in dir(keras.callbacks.Callback):
    if _hook.startswith("on_") and _hook not in vars(Monitored):
        setattr(Monitored, _hook, _handed_on(_hook))


def _is_nan(value: Any) -> bool:
    try:
        return math.isnan(value)
    except TypeError:
        return False


def _is_of_updates(monitor: str) -> bool:
    return monitor == "loss" or (monitor.rpartition("/")[2] in QUANTITIES and not monitor.startswith("val_"))
