"""The order in which callbacks are called: those that add to an epoch's logs before those that read them."""

import os
from collections.abc import Iterator, Sequence
from typing import Any

import keras

from mtq.checks import check_keras
from mtq.storage.saving import check_saveable
from mtq.trainer.csv_columns import CheckColumns
from mtq.trainer.monitors import Monitored, follows
from mtq.trainer.save_frequency import TellNothingSaved
from mtq.trainer.stages import ADDS_LOGS, RECORDS_LOGS, USES_LOGS

_RECORDING = (
    keras.callbacks.CSVLogger,
    keras.callbacks.History,
    keras.callbacks.ProgbarLogger,
    keras.callbacks.RemoteMonitor,
    keras.callbacks.TensorBoard,
)


def in_order(callbacks: Sequence[keras.callbacks.Callback], model: keras.Model) -> list[keras.callbacks.Callback]:
    """Sorts callbacks into calling order, and wraps those that have a monitor in `Monitored`.

    Callbacks with `adds_logs = True`, such as `EvaluateTasks` and `TrainingReturns`, come first; those that only record
    the logs, such as `TensorBoard` and `CSVLogger`, come late; `SaveCheckpoint` comes last. Callbacks of the same kind
    keep their order.

    Args:
        callbacks: The callbacks in the user's order.
        model: The model that is trained.

    Returns:
        The callbacks in calling order.

    Raises:
        ValueError: Two callbacks would write the same logs, the direction of a monitor is unknown, or a callback saves
            the model and the saved file could not be loaded.
    """
    for kind in {base for callback in callbacks for base in type(callback).__mro__ if "is_unique" in vars(base)}:
        if sum(isinstance(callback, kind) for callback in callbacks) > 1:
            raise ValueError(
                f"fit takes one {kind.__name__} among its callbacks, because several would write the same logs. "
                "Received: several. Remove all but one."
            )
    if any(_saves(callback) for callback in callbacks):
        check_saveable(model)
    loggers = [callback for callback in callbacks if isinstance(callback, keras.callbacks.CSVLogger)]
    callbacks = [*callbacks, CheckColumns(loggers)] if loggers else callbacks
    by_updates = [callback for callback in callbacks if _saves_by_updates(callback)]
    callbacks = [*callbacks, TellNothingSaved(by_updates)] if by_updates else callbacks
    is_known = all(_is_known(callback) for callback in callbacks)
    return [
        Monitored(callback, is_known) if follows(callback) else callback for callback in sorted(callbacks, key=_stage)
    ]


def check_callbacks(callbacks: Sequence[Any]) -> None:
    """Raises a ValueError unless these are different Keras callbacks that write different files.

    Args:
        callbacks: The callbacks that the user gave.
    """
    for number, callback in enumerate(callbacks):
        check_keras("A callback of fit", callback)
        if not isinstance(callback, keras.callbacks.Callback):
            raise ValueError(
                f"callbacks of fit must be objects of keras.callbacks.Callback. Received: {callback!r}. Create an "
                "object of a class, and put several objects into a list."
            )
        if any(callback is other for other in callbacks[:number]):
            raise ValueError(
                f"callbacks of fit must be different objects. Received: the same {type(callback).__name__} twice. "
                "Remove one of them."
            )
    _check_files(callbacks)


def _stage(callback: keras.callbacks.Callback) -> int:
    stage = getattr(callback, "mtq_stage", None)
    if isinstance(stage, int):
        return stage
    if getattr(callback, "adds_logs", False):
        return ADDS_LOGS
    return RECORDS_LOGS if isinstance(callback, _RECORDING) else USES_LOGS


def _check_files(callbacks: Sequence[keras.callbacks.Callback]) -> None:
    """Raises a ValueError if two callbacks would write the same file."""
    writing = dict[str, str]()
    for callback in callbacks:
        for path in _files(callback):
            kind, other = type(callback).__name__, writing.get(os.path.realpath(path))
            if other is not None:
                raise ValueError(
                    f"Each callback of fit must write its own file. Received: {path!r}, which {other} and {kind} "
                    "would both write. Give one of them another path."
                )
            writing[os.path.realpath(path)] = kind


def _files(callback: keras.callbacks.Callback) -> Iterator[str]:
    if isinstance(callback, keras.callbacks.ModelCheckpoint) or getattr(callback, "writes_filepath", False):
        yield str(callback.filepath)
    if isinstance(callback, keras.callbacks.CSVLogger):
        yield str(callback.filename)


def _saves(callback: keras.callbacks.Callback) -> bool:
    """Whether this callback saves the whole model, including its config."""
    if isinstance(callback, keras.callbacks.ModelCheckpoint):
        return not callback.save_weights_only
    return getattr(callback, "saves_model", False)


def _saves_by_updates(callback: keras.callbacks.Callback) -> bool:
    return isinstance(callback, keras.callbacks.ModelCheckpoint) and callback.save_freq != "epoch"


def _is_known(callback: keras.callbacks.Callback) -> bool:
    """Whether mtq knows what this callback logs: it belongs to mtq or Keras, and calls no user code."""
    is_ours = type(callback).__module__.split(".")[0] in ("mtq", "keras")
    return is_ours and not isinstance(callback, keras.callbacks.LambdaCallback)
