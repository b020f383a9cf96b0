"""`EvaluateTasks`: evaluates every task during the training."""

import dataclasses
import math
import warnings
from typing import Any

import keras

from mtq.checks import integer
from mtq.evaluation.evaluator import EpisodeReturns, Evaluator
from mtq.tasks.task import Task, TaskSet, check_tasks


class EvaluateTasks(keras.callbacks.Callback):
    """Evaluates the greedy policy in separate environments at the end of epochs, and a random policy at the start.

    For each task it adds `"val_<task>/return"`, `"val_<task>/return_std"` and `"val_<task>/return_random"` to the logs.
    For all tasks together it adds `"val_score"`, the mean of the normalized returns: 0 for a random policy, 1 for the
    tasks' `reference_return`. The part of a normalized return above 1 is multiplied by 0.1. If the
    reference is no better than a random policy, the return is normalized as if there were no reference.
    `BestCheckpoint` monitors `"val_score"` by default. In epochs without an evaluation these logs are NaN, so that all
    epochs have the same keys; callbacks that monitor one of them skip those epochs.

    Args:
        episodes: The number of episodes of each task in each evaluation.
        every: The number of epochs from one evaluation to the next.
        seed: The seed of the environments.
        tasks: The tasks; by default the model's own. Pass them if their environments were left out of a saved model.
        verbose: The verbosity: 1 prints a line for each evaluation, 0 prints nothing.
    """

    adds_logs = is_unique = True

    def __init__(
        self, episodes: int = 20, every: int = 1, seed: int = 0, tasks: TaskSet | None = None, verbose: int = 1
    ) -> None:
        super().__init__()
        self.episodes = integer("episodes of EvaluateTasks", episodes)
        self.every = integer("every of EvaluateTasks", every)
        self.seed = integer("seed of EvaluateTasks", seed, least=0)
        self.verbose = integer("verbose of EvaluateTasks", int(verbose) if isinstance(verbose, bool) else verbose, 0)
        if tasks is not None:
            check_tasks("tasks of EvaluateTasks", tasks)
        self.tasks, self._given = tasks, tasks
        self._evaluator: Evaluator | None = None
        self.random: dict[str, EpisodeReturns] = {}
        self.last: dict[str, EpisodeReturns] = {}

    def on_train_begin(self, logs: dict[str, Any] | None = None) -> None:
        """Evaluates the random policy."""
        if self._evaluator is None or self._evaluator.model is not self.model:
            self.tasks = self.model.tasks if self._given is None else self._given
            self._evaluator = Evaluator(self.model, self.tasks, episodes=self.episodes)
            self.random = self._evaluator.random(self.seed)
            unknown = [name for name, task in self.tasks.items() if task.reference_return is None]
            if self.verbose and unknown:
                print(
                    f"No reference return of {', '.join(unknown)}: val_score normalizes their returns by the random "
                    "policy's return."
                )
            useless = [
                name
                for name, task in self.tasks.items()
                if task.reference_return is not None and not self._has_scale(task)
            ]
            if useless:
                warnings.warn(
                    f"The reference return of {', '.join(useless)} is no better than a random policy's return: "
                    "val_score normalizes by the random policy's return instead. Give the task another "
                    "reference_return.",
                    stacklevel=2,
                )

    def on_epoch_end(self, epoch: int, logs: dict[str, Any] | None = None) -> None:
        """Evaluates the greedy policy and adds the results to the logs."""
        if logs is None or self._evaluator is None:
            return
        if (epoch + 1) % self.every:
            names = [f"val_{name}/return{what}" for name in self.random for what in ("", "_std", "_random")]
            logs.update(dict.fromkeys([*names, "val_score"], math.nan))
            return
        self.last = self._evaluator.greedy(self.seed)
        for name, played in self.last.items():
            logs[f"val_{name}/return"] = played.mean
            logs[f"val_{name}/return_std"] = played.std
            logs[f"val_{name}/return_random"] = self.random[name].mean
        logs["val_score"] = self.score(self.last)
        if self.verbose:
            figures = ", ".join(
                f"{name} {played.mean:.1f} ± {played.std:.1f} (random {self.random[name].mean:.1f})"
                for name, played in self.last.items()
            )
            print(f"\nEvaluation over {self.episodes} episodes: {figures}", flush=True)

    def score(self, played: dict[str, EpisodeReturns]) -> float:
        """Computes the mean over the tasks of the normalized returns, whose parts above 1 are multiplied by 0.1.

        Thus the surplus of one task hardly compensates for the deficit of another, but of two models that reach all
        references the better one still scores higher.

        Args:
            played: The returns of each task, by name.
        """
        assert self.tasks is not None
        scores = []
        for name, task in self.tasks.items():
            has_scale = self._has_scale(task)
            scored_task = task if has_scale else dataclasses.replace(task, reference_return=None)
            score = normalized_return(scored_task, played[name].mean, self.random[name].mean)
            surplus = max(score - 1.0, 0.0) if has_scale else 0.0
            scores.append(score - 0.9 * surplus)
        return sum(scores) / len(scores)

    def _has_scale(self, task: Task) -> bool:
        """Whether the reference return exceeds the random policy's return by more than its noise."""
        random = self.random[task.name]
        noise = 2 * random.std / math.sqrt(self.episodes)
        return task.reference_return is not None and task.reference_return - random.mean > noise


def normalized_return(task: Task, mean: float, random: float) -> float:
    """Normalizes a return: `(mean − random) / (reference − random)`.

    Args:
        task: The task. Without a `reference_return` the denominator is the absolute value of the random return, at
            least 1.
        mean: The mean return to be normalized.
        random: The mean return of a random policy.
    """
    scale = max(abs(random), 1.0) if task.reference_return is None else abs(task.reference_return - random)
    return (mean - random) / max(scale, 1e-8)
