"""How the tasks do while they are trained on."""

from typing import Any

import keras


class TrainingReturns(keras.callbacks.Callback):
    """Adds to each epoch's logs the tasks' mean training returns and how many steps their environments have taken.

    The logs are `"<task>/return"` (of the episodes that finished within the epoch, exploration included; the last known
    one where none did) and `"<task>/env_steps"`.

    Args:
        experience: The `Experience` that is trained on.
    """

    adds_logs = is_unique = True

    def __init__(self, experience: Any) -> None:
        super().__init__()
        if not hasattr(experience, "take_mean_returns"):
            raise ValueError(f"experience of TrainingReturns must be an mtq.Experience. Received: {experience!r}.")
        self.experience = experience
        self.known: dict[str, float] = {}

    def on_epoch_end(self, epoch: int, logs: dict[str, Any] | None = None) -> None:
        """Adds the figures."""
        if logs is None:
            return
        finished = self.experience.take_mean_returns()
        self.known.update({name: value for name, value in finished.items() if value is not None})
        for name, steps in self.experience.env_steps.items():
            logs[f"{name}/return"] = self.known.get(name, float("nan"))
            logs[f"{name}/env_steps"] = steps
