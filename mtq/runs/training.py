"""`train`: a training run from its options, as `mtq train` and the recipes make it."""

from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

import keras

from mtq.distribution import exit_when_lost, is_chief
from mtq.distribution import strategy as make_strategy
from mtq.experience.exploration import Exploration
from mtq.learning.train_function import steps_per_execution
from mtq.runs.models import load_best, with_masks_of_run
from mtq.runs.parts import (
    learning_rate_for,
    make_experience,
    make_exploration,
    make_model,
    make_network,
    make_optimizer,
)
from mtq.runs.replaceable import run_record
from mtq.runs.run import Run
from mtq.settings.checking import check, check_contradictions, check_effects
from mtq.settings.declaration import chosen
from mtq.settings.presets import resolved
from mtq.settings.run import RunOptions
from mtq.tasks.task import TaskSet

Options = TypeVar("Options", bound=RunOptions)


def train(
    options: Options,
    tasks: Callable[[], TaskSet],
    *,
    network: Callable[[TaskSet, Any], keras.Model] = make_network,
    optimizer: Callable[[Any], keras.optimizers.Optimizer] = make_optimizer,
    exploration: Callable[[Any], Exploration] = make_exploration,
    evaluation_tasks: Callable[[], TaskSet] | None = None,
    most_steps_per_execution: int = 50,
) -> dict[str, Any]:
    """Trains a model in a run of its own, and exports its best one if `options.export_to` is given.

    Every process of the run must call it. If another process is lost, this one ends with exit code 3.

    Args:
        options: The options: a `mtq.settings.TrainingOptions`, or options that also have its `epochs` and
            `updates_per_epoch`.
        tasks: A function that returns the tasks. It is called after the strategy was made, which must come first.
        network: A function of the tasks and the options that returns the network.
        optimizer: A function of the options that returns the optimizer.
        exploration: A function of the options that returns the exploration.
        evaluation_tasks: A function that returns the tasks in whose environments the model is evaluated before the
            training and at the end; by default those of the training.
        most_steps_per_execution: The largest number of updates per call of the train function.

    Returns:
        The content of `metrics.json`; an empty dict in processes other than the chief.

    Raises:
        ValueError: An option is out of its range, contradicts another, or is not that of the run to be resumed.
        FileExistsError: The folder of the run or of the export is occupied.
    """
    with exit_when_lost():
        check(options)
        check_contradictions(options)
        place: Any = options
        strategy = make_strategy(
            place.strategy, devices=place.devices, tpu=place.tpu, startup_timeout=place.startup_timeout
        )
        made = with_masks_of_run(tasks(), place.out) if place.resume else tasks()
        settings: Any = resolved(with_choices(options, made))
        if not has_run_to_resume(options):  # which may have been started by an earlier version
            check_effects(settings)
        with strategy.scope():
            model = make_model(
                made,
                network(made, settings),
                settings,
                optimizer=optimizer(settings),
                steps_per_execution=steps_per_execution(settings.updates_per_epoch, most=most_steps_per_execution),
            )
        experience = make_experience(model, settings, exploration(settings))
        batches = experience.batches(settings.batch_size)  # before the folder is created, because it may raise
        run = Run(
            settings.out,
            settings,
            overwrite=settings.overwrite,
            export_to=settings.export_to,
            resume=settings.resume,
            is_chief=is_chief(strategy),
        )
        metrics = run.train(
            model,
            experience,
            batches,
            epochs=settings.epochs,
            updates_per_epoch=settings.updates_per_epoch,
            episodes=settings.episodes,
            seed=settings.seed,
            tasks=None if evaluation_tasks is None else evaluation_tasks(),
            checkpoint_every=settings.checkpoint_every,
        )
        if run.is_chief and settings.export_to is not None:
            load_best(settings.out).export(settings.export_to, overwrite=settings.overwrite or settings.resume)
        return metrics


def with_choices(options: Options, tasks: TaskSet) -> Options:
    """Returns the options with those filled in that mtq chooses: from the run to be resumed, or else by the tasks.

    Args:
        options: The options.
        tasks: The tasks.
    """
    if has_run_to_resume(options):
        before = run_record(Path(options.out))["options"]
        options = options.replace(**{name: before[name] for name in chosen(options) if name in before})
    settings: Any = options
    return options if settings.learning_rate is not None else options.replace(learning_rate=learning_rate_for(tasks))


def has_run_to_resume(options: RunOptions) -> bool:
    """Whether a run is to be resumed, and there is one.

    Args:
        options: The options.
    """
    return options.resume and (Path(options.out) / "run.json").exists()
