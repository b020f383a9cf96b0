"""What a weighting that follows the returns is told of them."""

from typing import Any

import keras


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
