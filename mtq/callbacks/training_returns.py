"""`TrainingReturns`: logs the returns of the episodes that the model is trained on."""

from typing import TYPE_CHECKING, Any

import keras

if TYPE_CHECKING:
    from mtq.experience.experience import Experience  # which needs the interfaces

_EPISODES = 100  # those of a training return, as Young and Tian (2019) report it


class TrainingReturns(keras.callbacks.Callback):
    """Adds the mean training return and the number of environment steps of each task to the epoch's logs.

    The logs are `"<task>/return"`, the mean over the episodes that finished within the epoch, exploration included
    (if none finished, the last known value), and `"<task>/env_steps"`.

    Args:
        experience: The `Experience` on which the model is trained.

    Attributes:
        known: The last known value of each `"<task>/return"`, by task.
        latest: The numbers of episodes and the sums of their returns in the latest epochs, by task: as many epochs as
            are needed for at least 100 episodes.
    """

    adds_logs = is_unique = True

    def __init__(self, experience: "Experience") -> None:
        super().__init__()
        if not hasattr(experience, "take_finished"):
            raise ValueError(
                f"experience of TrainingReturns must be an mtq.Experience. Received: {experience!r}. Give the "
                "experience whose batches fit receives."
            )
        self.experience = experience
        self.known: dict[str, float] = {}
        self.latest: dict[str, list[list[float]]] = {}

    def on_epoch_end(self, epoch: int, logs: dict[str, Any] | None = None) -> None:
        """Adds the returns and the numbers of steps to the logs."""
        if logs is None:
            return
        for name, (number, total) in self.experience.take_finished().items():
            if number:
                self.known[name] = total / number
                self.latest[name] = _latest([*self.latest.get(name, []), [number, total]])
        for name, steps in self.experience.env_steps.items():
            logs[f"{name}/return"] = self.known.get(name, float("nan"))
            logs[f"{name}/env_steps"] = steps

    def latest_mean(self, task: str) -> tuple[float | None, int]:
        """Returns the mean return of a task's latest training episodes, and their number.

        These are the episodes of the latest epochs that together have at least 100, or of all epochs. The mean is None
        if no episode has finished.

        Args:
            task: The name of the task.
        """
        epochs = self.latest.get(task, [])
        number = sum(number for number, _ in epochs)
        return (sum(total for _, total in epochs) / number if number else None), int(number)


def _latest(epochs: list[list[float]]) -> list[list[float]]:
    """Returns the latest of some epochs, as few as have the wanted number of episodes."""
    while sum(number for number, _ in epochs[1:]) >= _EPISODES:
        epochs = epochs[1:]
    return epochs
