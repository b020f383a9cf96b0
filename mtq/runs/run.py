"""`Run`: a training run and its folder."""

import sys
import time
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import keras

from mtq.callbacks import BestCheckpoint, EvaluateTasks, LearningCurves, SaveCheckpoint, TrainingReturns
from mtq.checks import flag, integer
from mtq.distribution.failure import worker_errors
from mtq.distribution.replicas import draws_on_host
from mtq.evaluation.evaluator import EpisodeReturns, evaluate, evaluate_random
from mtq.export import check_exportable, check_free
from mtq.learning.model import MultiTaskDQN
from mtq.runs.checkpoint import Checkpoint
from mtq.runs.log import cut_log, read_log
from mtq.runs.models import check_same_tasks, save_tasks
from mtq.runs.options import Options, as_json, check_same_options
from mtq.runs.replaceable import check_replaceable
from mtq.runs.results import results_table
from mtq.runs.versions import versions
from mtq.storage.files import as_path, write_json
from mtq.storage.folders import check_folder_place, remove
from mtq.storage.saving import check_saveable, save_whole
from mtq.tasks.task import TaskSet

if TYPE_CHECKING:
    from mtq.experience.experience import Experience  # which needs the interfaces

_FRESH = 1_000_003  # added to the seed for episodes that did not take part in choosing the best checkpoint


class Run:
    """A training run and its folder.

    The folder holds `run.json` (options, command, versions), `tasks.json`, `best.keras`, `last.keras`, `checkpoint/`
    (from which an interrupted run is resumed), `log.csv` (a row for each epoch), `learning_curves.png`, `tensorboard/`
    and, after the training, `metrics.json`.

    Args:
        folder: The folder of the run; it is created if it does not exist.
        options: The options that the run is started with, for the record: JSON values by name, or a
            `mtq.settings.Declaration`, whose options may become more before the run is resumed.
        overwrite: Whether a run that is already in the folder is replaced. Other files in the folder are never removed.
        resume: Whether a run that is already in the folder is resumed from its last checkpoint.
        export_to: The folder to which the model will be exported, so that an occupied path is reported before the
            training.
        is_chief: Whether this process is the chief of the run. The other processes write only their part of the
            checkpoints.

    Raises:
        FileExistsError: The folder holds a run; with `overwrite`, it holds files of the same names that no run wrote;
            or the path of the export is occupied, or is one that the run itself writes to.
        ValueError: The run to be resumed was started with other options; both `overwrite` and `resume` are True; or the
            options are not JSON values.
    """

    def __init__(
        self,
        folder: str | Path,
        options: Options,
        overwrite: bool = False,
        export_to: str | Path | None = None,
        resume: bool = False,
        is_chief: bool = True,
    ) -> None:
        self.folder = as_path("folder of a run", folder)
        self.is_chief, self._notes = is_chief, dict[str, Any]()
        self._resumes, self._export_to = False, export_to
        self._returns: TrainingReturns | None = None  # those of the last call of `callbacks`
        self._best: BestCheckpoint | None = None
        self.started = time.monotonic()
        overwrite, resume = flag("overwrite", overwrite), flag("resume", resume)
        if overwrite and resume:
            raise ValueError(
                "overwrite and resume must not both be True: a run in the folder is either replaced or resumed. "
                "Received: both. Leave one of them out."
            )
        if not flag("is_chief", is_chief):
            return
        check_folder_place(self.folder, "folder of a run")
        self._resumes = resume and (self.folder / "run.json").exists()
        if export_to is not None:
            self._check_export_place(as_path("export_to", export_to))
            check_free(export_to, overwrite or self._resumes)
        if self._resumes:
            check_same_options(self.folder, options)
            return
        record = {"options": as_json(options), "command": sys.argv, "versions": versions()}
        present = [path for path in self._files() if path.exists() or path.is_symlink()]
        if present and not overwrite:
            raise FileExistsError(
                f"The folder for a run must not hold one already. Received: {str(folder)!r}, which has "
                f"{present[0].name}. Choose another folder, or pass --resume (resume=True) to resume that run, or "
                "--overwrite (overwrite=True) to replace it."
            )
        if present:
            check_replaceable(self.folder, present)
        for path in present:
            remove(path)
        self.folder.mkdir(parents=True, exist_ok=True)
        write_json(self.folder / "run.json", record)

    @property
    def best(self) -> Path:
        """The path of the model with the best evaluation."""
        return self.folder / "best.keras"

    @property
    def last(self) -> Path:
        """The path of the model at the end of the training."""
        return self.folder / "last.keras"

    def train(
        self,
        model: MultiTaskDQN,
        experience: "Experience",
        batches: Any,
        *,
        epochs: int,
        updates_per_epoch: int,
        episodes: int = 20,
        seed: int = 0,
        tasks: TaskSet | None = None,
        checkpoint_every: int = 1,
    ) -> dict[str, Any]:
        """Trains the model from the start or from the last checkpoint, and finishes the run.

        Every process of the run must call it; only the chief evaluates and writes results.

        Args:
            model: The compiled model.
            experience: The experience on which the model is trained.
            batches: The batches, `experience.batches(batch_size)`. Create them before the run, because errors should be
                raised before the folder is created.
            epochs: The number of epochs, each of which ends with an evaluation.
            updates_per_epoch: The number of updates of the network in each epoch.
            episodes: The number of episodes of each task in each evaluation.
            seed: The seed of the run.
            tasks: The tasks in whose environments the model is evaluated before training and at the end; by default the
                experience's tasks.
            checkpoint_every: The number of epochs from one checkpoint to the next, or 0 for none. A checkpoint holds
                the whole replay buffers, compressed.

        Returns:
            The content of `metrics.json`; an empty dict in processes other than the chief.
        """
        epochs, updates_per_epoch = integer("epochs", epochs), integer("updates_per_epoch", updates_per_epoch)
        episodes, seed = integer("episodes", episodes), integer("seed", seed, least=0)
        checkpoint_every = integer("checkpoint_every", checkpoint_every, least=0)
        check_saveable(model)
        strategy = model.distribute_strategy
        if self._export_to is not None and strategy.num_replicas_in_sync == 1 and not draws_on_host(strategy):
            check_exportable(model)
        with worker_errors(model.distribute_strategy):
            checkpoint = Checkpoint(self.folder / "checkpoint", model, experience)
            if checkpoint_every:
                checkpoint.check_shared()
            before = evaluate(model, tasks, episodes=episodes, seed=seed) if self.is_chief else {}
            done = self.resume(checkpoint)
            if done and self.is_chief:
                print(f"Resuming after epoch {done} of {epochs}, from {checkpoint.folder}.")
            model.fit(
                batches,
                initial_epoch=done,
                epochs=epochs,
                steps_per_epoch=updates_per_epoch,
                verbose="auto" if self.is_chief else 0,
                callbacks=self.callbacks(
                    experience, episodes, seed, checkpoint if checkpoint_every else None, checkpoint_every
                ),
            )
            metrics = {}
            if self.is_chief:
                metrics = self.finish(model, experience, before, episodes=episodes, seed=seed, tasks=tasks)
            checkpoint.wait()  # otherwise the first process to end would look like a lost one
            return metrics

    def resume(self, checkpoint: Checkpoint) -> int:
        """Restores the last checkpoint, if there is one. Every process of the run must call it, before `callbacks`.

        Args:
            checkpoint: The checkpoint of the run.

        Returns:
            The number of finished epochs.
        """
        self._notes = checkpoint.load(self._resumes) or {}
        self.started -= self._notes.get("seconds", 0.0)
        done = int(self._notes.get("epoch", 0))
        if self.is_chief:
            cut_log(self.folder / "log.csv", done)
        return done

    def callbacks(
        self,
        experience: "Experience",
        episodes: int = 20,
        seed: int = 0,
        checkpoint: Checkpoint | None = None,
        checkpoint_every: int = 1,
    ) -> list[keras.callbacks.Callback]:
        """Returns the callbacks that write the files of the folder during the training.

        Args:
            experience: The experience on which the model is trained.
            episodes: The number of episodes of each task in the evaluation after each epoch.
            seed: The seed of the evaluations.
            checkpoint: The checkpoint of the run; None to save none.
            checkpoint_every: The number of epochs from one checkpoint to the next.
        """
        returns, best = TrainingReturns(experience), BestCheckpoint(self.best)
        curves = LearningCurves(self.folder / "learning_curves.png")
        returns.known.update(self._notes.get("returns", {}))
        returns.latest.update(self._notes.get("latest", {}))
        self._returns, self._best = returns, best
        best.best, best.best_epoch = self._notes.get("best", best.best), self._notes.get("best_epoch")

        def notes() -> dict[str, Any]:
            seconds = time.monotonic() - self.started
            return {
                "returns": returns.known,
                "latest": returns.latest,
                "best": best.best,
                "best_epoch": best.best_epoch,
                "seconds": seconds,
            }

        saving = [] if checkpoint is None else [SaveCheckpoint(checkpoint, notes, checkpoint_every)]
        if not self.is_chief:
            return [returns, *saving]
        tasks = self.folder / "tasks.json"
        if self._notes and tasks.exists():
            check_same_tasks(tasks, experience.tasks)
        save_tasks(experience.tasks, tasks)
        log = self.folder / "log.csv"
        curves.rows = read_log(log) if self._notes else []
        return [
            returns,
            EvaluateTasks(episodes, seed=seed, tasks=experience.tasks, verbose=1),
            best,
            curves,
            keras.callbacks.TensorBoard(str(self.folder / "tensorboard"), write_graph=False),
            keras.callbacks.CSVLogger(str(log), append=bool(self._notes)),
            *saving,
        ]

    def finish(
        self,
        model: MultiTaskDQN,
        experience: "Experience",
        before: Mapping[str, EpisodeReturns],
        episodes: int = 20,
        seed: int = 0,
        tasks: TaskSet | None = None,
    ) -> dict[str, Any]:
        """Saves the last model, evaluates the best one on fresh episodes, and prints a table of the results.

        The episodes are different from those by which the best model was chosen.

        Args:
            model: The model at the end of the training.
            experience: The experience on which it was trained.
            before: The results of the evaluation before the training.
            episodes: The number of fresh episodes of each task.
            seed: The seed of the run.
            tasks: The tasks in whose environments the episodes are played; by default the experience's tasks.

        Returns:
            The content of `metrics.json`: for each task the mean returns of a random policy, before and after the
            training, and of at least the last 100 episodes of the training itself, which explore; the number of
            environment steps and updates in total; the epoch of the best checkpoint, counted from 1; and the duration
            of the run in seconds.
        """
        save_whole(model, self.last)
        best = keras.models.load_model(self.best if self.best.exists() else self.last)
        tasks = experience.tasks if tasks is None else tasks
        random = evaluate_random(tasks, episodes=episodes, seed=seed + _FRESH)
        after = evaluate(best, tasks, episodes=episodes, seed=seed + _FRESH)
        metrics: dict[str, Any] = {
            "tasks": {
                name: {
                    "random": random[name].mean,
                    "before": before[name].mean,
                    "after": after[name].mean,
                    "after_std": after[name].std,
                    **self._training(name),
                }
                for name in experience.tasks
            },
            "episodes": episodes,
            "best_epoch": None if self._best is None else self._best.best_epoch,
            "env_steps": sum(experience.env_steps.values()),
            "updates": int(model.updates.numpy()),
            "seconds": round(time.monotonic() - self.started, 1),
        }
        write_json(self.folder / "metrics.json", metrics)
        epoch = metrics["best_epoch"]
        print(
            f"\nMean return over {episodes} fresh episodes, greedy, of the best checkpoint"
            f"{'' if epoch is None else f' (that of epoch {epoch})'}; and over the last episodes of the training, "
            "which explore:"
        )
        print(results_table(metrics["tasks"]))
        print(
            f"{metrics['env_steps']:,} environment steps, {metrics['updates']:,} updates, {metrics['seconds']:.0f} s. "
            f"Everything is in {self.folder}/ (learning_curves.png, log.csv, tensorboard/)."
        )
        return metrics

    def _training(self, task: str) -> dict[str, Any]:
        """Returns the figures of the training episodes; none if the run's callbacks were not used."""
        if self._returns is None:
            return {}
        mean, number = self._returns.latest_mean(task)
        return {"training": mean, "training_episodes": number}

    def _files(self) -> list[Path]:
        names = ("tasks.json", "best.keras", "last.keras", "log.csv", "learning_curves.png", "metrics.json")
        return [self.folder / name for name in (*names, "tensorboard", "checkpoint", "run.json")]

    def _check_export_place(self, place: Path) -> None:
        """Raises a FileExistsError if the run would write to the folder of its export, which must be empty."""
        place = place.resolve()
        folder, files = self.folder.resolve(), [path.resolve() for path in self._files()]
        if folder.is_relative_to(place) or any(place.is_relative_to(path) for path in files):
            raise FileExistsError(
                f"The folder to export to must not be one that the run itself writes to. Received: {str(place)!r}, for "
                f"the run in {str(self.folder)!r}. Choose another folder, such as {str(self.folder / 'export')!r}."
            )
