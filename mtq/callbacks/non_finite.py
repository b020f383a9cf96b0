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
        for task in self.model.tasks:
            for quantity in ("loss", "gradient_norm"):
                value = logs.get(f"{task}/{quantity}", 0.0)
                if not math.isfinite(value):
                    raise NonFiniteLossError(
                        f"The {quantity.replace('_', ' ')} of task '{task}' must stay finite. Received: {value} by "
                        f'update {int(self.model.updates)}. Lower the learning rate, use loss="huber", or scale or '
                        f"clip the rewards of '{task}' (reward_scale, reward_clip). Checkpoints written before are as "
                        "they were, and no update was made from what is not finite."
                    )
