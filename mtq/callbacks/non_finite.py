"""Stopping a run whose loss is no longer a number."""

import math
from typing import Any

import keras
import tensorflow as tf

_LOSS_REMEDY = (
    "Lower the learning rate, use loss=\"huber\", or scale or clip the rewards of '{task}' (reward_scale, reward_clip)."
)
_REMEDIES = {
    "loss": _LOSS_REMEDY,
    "gradient_norm": _LOSS_REMEDY,
    "weight": "Give '{task}' another weight or schedule in loss_weights, or set_task_weights.",
}
_OF_WEIGHTS = "Check the optimizer's epsilon and learning rate, weight constraints, and callbacks that set weights."


class NonFiniteLossError(ArithmeticError):
    """A loss, gradient norm or weight became NaN or infinite. The message names the quantity and its task."""


class StopOnNonFiniteLoss(keras.callbacks.Callback):
    """Stops training by a `NonFiniteLossError` as soon as a task's loss is NaN or infinite.

    `MultiTaskDQN.fit` always has it. Checkpoints written before are left as they are. At the end of each epoch it looks
    at the network's weights too: a rectifier may make zero of NaN, so that no loss shows it.
    """

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
