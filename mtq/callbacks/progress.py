"""A progress bar that says what matters."""

import copy
from collections.abc import Iterable, Mapping
from typing import Any

import keras

from mtq.callbacks.non_finite import StopOnNonFiniteLoss
from mtq.callbacks.order import check_callbacks, in_order
from mtq.callbacks.tell_returns import TellReturns
from mtq.callbacks.trainable_weights import CheckTrainableWeights

_SHOWN = ("loss", "return")


class TaskProgress(keras.callbacks.ProgbarLogger):
    """Keras's progress bar with each task's loss, and its return where a callback put it into the logs.

    `MultiTaskDQN.fit` shows it unless `verbose=0`.
    """

    def _update_progbar(self, batch: int, logs: dict[str, Any] | None = None) -> None:
        super()._update_progbar(batch, self._shown(logs))

    def _finalize_progbar(self, logs: dict[str, Any] | None) -> None:
        super()._finalize_progbar(self._shown(logs))

    def _maybe_init_progbar(self) -> None:
        if self.progbar is None:
            super()._maybe_init_progbar()
            assert self.progbar is not None
            # The logs are means over the epoch already; the bar must not average them once more.
            self.progbar.stateful_metrics = set(self._names())

    def _shown(self, logs: dict[str, Any] | None) -> dict[str, Any]:
        return {name: logs[name] for name in self._names() if logs and name in logs}

    def _names(self) -> list[str]:
        return [f"{task}/{quantity}" for quantity in _SHOWN for task in self.model.tasks]


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
