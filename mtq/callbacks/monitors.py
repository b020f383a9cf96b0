"""Callbacks that follow one figure of the logs, which may be absent for some epochs."""

import difflib
import math
import warnings
from typing import Any

import keras

from mtq.callbacks.best_checkpoint import BestCheckpoint
from mtq.callbacks.directions import direction_of
from mtq.task_metrics import QUANTITIES

_FOLLOWING = (
    BestCheckpoint,
    keras.callbacks.EarlyStopping,
    keras.callbacks.ModelCheckpoint,
    keras.callbacks.ReduceLROnPlateau,
)


def follows(callback: keras.callbacks.Callback) -> bool:
    """Whether what this callback does depends on one figure of the logs."""
    return isinstance(callback, _FOLLOWING) and getattr(callback, "save_best_only", True)


class Monitored(keras.callbacks.Callback):
    """Calls a callback at the end of those epochs for which its monitor is known.

    Keras's callbacks take NaN for a figure: `EarlyStopping` would count an epoch without an evaluation as one without
    improvement, and none is better than a NaN that came first. So patience counts evaluations.

    Args:
        callback: The callback that follows a figure, one for which `follows` is true.
        is_known: Whether all the callbacks beside it are mtq's and Keras's, so that no other can add the monitor later.

    Raises:
        ValueError: The callback leaves open whether more or less of its monitor is better, and mtq does not know it; or
            it looks for a figure of epochs between updates.
    """

    def __init__(self, callback: Any, is_known: bool) -> None:
        super().__init__()
        self.callback, self._is_known = callback, is_known
        self._name, self._seen, self._epochs = type(callback).__name__, False, 0
        self._check_mode()
        if getattr(callback, "save_freq", "epoch") != "epoch" and not _is_of_updates(callback.monitor):
            raise ValueError(
                f"save_freq of {self._name} must be 'epoch' to keep the best by {callback.monitor!r}, which is known "
                f"at the end of epochs only. Received: {callback.save_freq!r}."
            )

    def _check_mode(self) -> None:
        if getattr(self.callback, "mode", "max") in ("min", "max"):
            return
        direction = direction_of(self.callback.monitor)
        if direction is None:
            raise ValueError(
                f"mode of {self._name} must say whether more or less of {self.callback.monitor!r} is better. Received: "
                f"{self.callback.mode!r}. Pass mode='max' or mode='min'."
            )
        self.callback.mode = direction

    def set_params(self, params: Any) -> None:
        """Hands them on."""
        super().set_params(params)
        self.callback.set_params(params)

    def set_model(self, model: Any) -> None:
        """Hands it on."""
        super().set_model(model)
        self.callback.set_model(model)

    def on_train_begin(self, logs: Any = None) -> None:
        """Begins to watch."""
        self._seen, self._epochs = False, 0
        self.callback.on_train_begin(logs)

    def on_epoch_end(self, epoch: int, logs: Any = None) -> None:
        """Calls the callback if the figure is known, and says so if it is missing in the first epoch."""
        self._epochs += 1
        value = (logs or {}).get(self.callback.monitor)
        if value is None and self._epochs == 1:
            self._tell_missing(logs or {})
        if value is not None and not _is_nan(value):
            self._seen = True
            self.callback.on_epoch_end(epoch, logs)
        elif logs is not None and isinstance(self.callback, keras.callbacks.ReduceLROnPlateau):
            logs["learning_rate"] = float(self.model.optimizer.learning_rate)  # as this callback adds in every epoch

    def on_train_end(self, logs: Any = None) -> None:
        """Says so if the figure was never known."""
        self.callback.on_train_end(logs)
        if self._epochs and not self._seen:
            warnings.warn(
                f"{self._name} has done nothing: its monitor {self.callback.monitor!r} was not a number in any of the "
                f"{self._epochs} epochs. Train for more epochs, or evaluate more often (every=… of EvaluateTasks).",
                stacklevel=2,
            )

    def _tell_missing(self, logs: dict[str, Any]) -> None:
        monitor = self.callback.monitor
        near = difflib.get_close_matches(monitor, logs, n=1, cutoff=0.5)
        text = (
            f"monitor of {self._name} must be a name in the logs. Received: {monitor!r}, which is not there at the end "
            f"of the first epoch. {f'Did you mean {near[0]!r}? ' if near else ''}There are: {sorted(logs)}. "
            "mtq.callbacks.EvaluateTasks adds 'val_score' and 'val_<task>/return', mtq.callbacks.TrainingReturns "
            "'<task>/return'; a callback of your own that adds it comes before, or says adds_logs = True."
        )
        if self._is_known:
            raise ValueError(text)
        warnings.warn(text, stacklevel=2)


def _handed_on(hook: str) -> Any:
    def method(self: Monitored, *args: Any, **kwargs: Any) -> None:
        getattr(self.callback, hook)(*args, **kwargs)

    method.__name__ = hook
    method.__doc__ = "Hands it on."
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
