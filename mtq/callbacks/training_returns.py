"""`TrainingReturns`: logs the returns of the episodes that the model is trained on."""

from typing import TYPE_CHECKING, Any

import keras

if TYPE_CHECKING:
    from mtq.experience.experience import Experience  # which needs the interfaces


class TrainingReturns(keras.callbacks.Callback):
    """Adds the mean training return and the number of environment steps of each task to the epoch's logs.

    The logs are `"<task>/return"`, the mean over the episodes that finished within the epoch, exploration included
    (if none finished, the last known value), and `"<task>/env_steps"`.

    Args:
        experience: The `Experience` on which the model is trained.
    """

    adds_logs = is_unique = True

    def __init__(self, experience: "Experience") -> None:
        super().__init__()
        if not hasattr(experience, "take_mean_returns"):
            raise ValueError(
                f"experience of TrainingReturns must be an mtq.Experience. Received: {experience!r}. Give the "
                "experience whose batches fit receives."
            )
        self.experience = experience
        self.known: dict[str, float] = {}

    def on_epoch_end(self, epoch: int, logs: dict[str, Any] | None = None) -> None:
        """Adds the returns and the numbers of steps to the logs."""
        if logs is None:
            return
        finished = self.experience.take_mean_returns()
        self.known.update({name: value for name, value in finished.items() if value is not None})
        for name, steps in self.experience.env_steps.items():
            logs[f"{name}/return"] = self.known.get(name, float("nan"))
            logs[f"{name}/env_steps"] = steps
