"""Stopping a run whose loss is no longer a number."""

import math
from typing import Any

import keras


class NonFiniteLossError(ArithmeticError):
    """A task's loss became NaN or infinite. The message names the task."""


class StopOnNonFiniteLoss(keras.callbacks.Callback):
    """Stops training by a `NonFiniteLossError` as soon as a task's loss is NaN or infinite.

    `MultiTaskDQN.fit` always has it. Checkpoints written before are left as they are.
    """

    def on_train_batch_end(self, batch: int, logs: dict[str, Any] | None = None) -> None:
        """Looks at the losses."""
        logs = logs or {}
        if "loss" not in logs or math.isfinite(logs["loss"]):
            return
        losses = {task: float(logs[f"{task}/loss"]) for task in self.model.tasks}
        broken = [task for task, loss in losses.items() if not math.isfinite(loss)] or list(losses)
        raise NonFiniteLossError(
            f"The loss of task '{broken[0]}' must stay finite. Received: {losses} by update "
            f'{int(self.model.updates)}. Lower the learning rate, use loss="huber", or scale or clip the rewards of '
            f"'{broken[0]}' (reward_scale, reward_clip). Checkpoints written before are as they were."
        )
