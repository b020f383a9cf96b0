"""`Study`: an experiment that measures what sharing a network does to each task."""

import contextlib
import sys
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import keras
import tensorflow as tf

from mtq.checks import integer, is_number
from mtq.distribution.checks import check_batch_size
from mtq.errors import StudyError
from mtq.settings.checking import without_effect
from mtq.settings.declaration import chosen, defaults, given, values
from mtq.storage.files import write_json
from mtq.study.analysis.results import load_results
from mtq.study.design.arm import Arm
from mtq.study.design.fingerprint import describe_environment, fingerprint
from mtq.study.design.network import MakeNetwork, default_network, matched_width
from mtq.study.design.protocol import Protocol
from mtq.study.report.report import Report
from mtq.study.running.compiled_arm import make_model, random_scores
from mtq.study.running.folder import StudyFolder
from mtq.study.running.installed import check_installed
from mtq.study.running.memory import give_back_memory
from mtq.study.running.placement import WHOLE, Shard, check_where, default_workers
from mtq.study.running.progress import Progress
from mtq.study.running.run_maker import RunMaker
from mtq.study.running.worker_pool import ClaimedElsewhere, Job, WorkerPool
from mtq.tasks.task import TaskSet, check_tasks

_RANDOM_EVALUATIONS = 20


class Study:
    """A study that trains several arms from several seeds on one set of tasks, and compares their scores.

    Args:
        tasks: The tasks.
        arms: The arms to compare.
        protocol: The settings that all arms have in common; by default `Protocol()`.
        seeds: The number of runs of each arm, from the seeds 0, 1, …; or the seeds themselves. Fewer than ten runs
            rarely show a difference.
        reference: The name of the arm that the others are compared to. By default the first arm that shares no layer;
            if all arms share layers, the first arm.
        comparisons: Further pairs of arms, by name, that the report compares in addition to each arm with the
            reference; for example, an arm without an ingredient and the arm with it.
        make_network: A function of the tasks and an arm that returns the arm's network. It must respect
            `arm.shared_layers`; `arm.width`, if arms differ in width or are matched by parameters; and
            `arm.network_settings` and `arm.backbone_settings`, if the protocol or arms have settings such as
            `dueling=True` or `normalization="layer"`. It must be defined at the top level of a module if the runs are
            made in processes.

    Raises:
        ValueError: Two arms have the same name, an arm refers to one that does not exist, or there are no seeds.

    Example:
        ```python
        study = mtq.study.Study(
            mtq.suites.classic(),
            arms=[
                mtq.study.Arm("separate", shared_layers=0),
                mtq.study.Arm("shared"),
                mtq.study.Arm("normalized", aggregator="normalized_sum"),
            ],
            protocol=mtq.study.Protocol(epochs=20, updates_per_epoch=1_000),
            seeds=10,
        )
        study.run("runs/sharing").write()  # report.html, report.md, numbers.csv
        ```
    """

    def __init__(
        self,
        tasks: TaskSet,
        arms: Sequence[Arm],
        *,
        protocol: Protocol | None = None,
        seeds: int | Iterable[int] = 10,
        reference: str | None = None,
        comparisons: Iterable[tuple[str, str]] = (),
        make_network: MakeNetwork = default_network,
    ) -> None:
        self.tasks, self.make_network = tasks, make_network
        check_tasks("tasks of a study", tasks)
        if not isinstance(protocol, Protocol | None):
            raise ValueError(f"protocol of a study must be an mtq.study.Protocol. Received: {protocol!r}.")
        self._given = protocol or Protocol()
        self.protocol = self._given.for_tasks(tasks)
        names = _names(arms)
        self.seeds = _seeds(seeds)
        separate = [arm.name for arm in arms if arm.shared_layers == 0]
        self.reference = reference if reference is not None else [*separate, names[0]][0]
        _check_named("reference", self.reference, names)
        self.comparisons = _pairs(comparisons, names)
        _check_matched(arms, names)
        for arm in arms:
            arm.protocol(self.protocol)
        self.arms = self._with_widths({arm.name: arm.with_network_settings(self.protocol) for arm in arms})

    def run(
        self,
        folder: str | Path,
        *,
        workers: int | None = None,
        strategy: tf.distribute.Strategy | None = None,
        verbose: int = 1,
    ) -> Report:
        """Makes the runs that the folder does not hold yet.

        A finished run is never made again, and an interrupted one is started again. More seeds or more arms with the
        same protocol can be added later.

        Args:
            folder: The folder of the study; it is created if it does not exist.
            workers: The number of runs that are made at once; by default the number of cores, or 1 if there is a
                strategy.
            strategy: The strategy on whose replicas each run is made. All of them must belong to this process.
            verbose: The verbosity: 1 shows a progress bar, 0 shows nothing.

        Returns:
            The report of all runs in the folder.

        Raises:
            StudyError: Some runs failed; the others are kept.
            ImportError: A package that only studies need is not installed.
            ValueError: The folder holds a study with another plan, or another process uses it.
            FileNotFoundError: The folder holds runs without their `study.json`.
        """
        place = StudyFolder(folder)
        self._make_missing(place, WHOLE, workers, strategy, verbose)
        return Report(load_results(place.path), place.path)

    def run_shard(
        self,
        folder: str | Path,
        shard: Shard,
        *,
        workers: int | None = None,
        strategy: tf.distribute.Strategy | None = None,
        verbose: int = 1,
    ) -> Report | None:
        """Makes one shard of the runs, while other machines make the other shards.

        Args:
            folder: The folder of the study, to which all machines can write.
            shard: The index of the shard, from 0, and the number of shards; (0, 1) is the whole study.
            workers: The number of runs that are made at once; see `run`.
            strategy: The strategy on whose replicas each run is made; see `run`.
            verbose: The verbosity; see `run`.

        Returns:
            The report if all runs of the study are finished; otherwise None, and a line is printed that says how many
            are missing.

        Raises:
            StudyError: Some runs failed; the others are kept.
            ImportError: A package that only studies need is not installed.
            ValueError: The folder holds a study with another plan, another process makes this shard, or the shard
                does not exist.
            FileNotFoundError: The folder holds runs without their `study.json`.
        """
        place = StudyFolder(folder)
        self._make_missing(place, shard, workers, strategy, verbose)
        jobs = self._jobs(WHOLE)
        missing = [job for job in jobs if not place.has(job.arm, job.seed)]
        if missing:
            if verbose:
                print(
                    f"Shard {shard[0]} of {shard[1]} is finished; {len(missing)} of {len(jobs)} runs are missing. The "
                    "shard that makes the last of them writes the report. "
                    f"`mtq report {place.path}` writes a report of the finished runs."
                )
            return None
        return Report(load_results(place.path), place.path)

    def _make_missing(
        self,
        place: StudyFolder,
        shard: Shard,
        workers: int | None,
        strategy: tf.distribute.Strategy | None,
        verbose: int,
    ) -> None:
        check_installed()
        check_where(workers, strategy, shard)
        replicas = 1 if strategy is None else strategy.num_replicas_in_sync
        before = place.protocol_before(chosen(self._given))
        self.protocol = self._given.replace(**before).for_tasks(self.tasks)
        if place.is_new:  # others may be added to a study whose first arms the protocol was made for
            self._check_effects()
        plan = {**self._plan(), "replicas": replicas}
        for arm in self.arms.values():
            check_batch_size(arm.protocol(self.protocol).batch_size, strategy or tf.distribute.get_strategy())
        with contextlib.ExitStack() as until_done:
            with place.planning():
                is_alone = place.is_free()
                until_done.enter_context(place.held(shard))
                place.begin(plan, sys.argv, is_alone)
                self._play_random(place)
            # The second pass waits for the runs that other processes claimed, and makes those whose process was killed.
            for waits in (False, True):
                jobs = [job for job in self._jobs(shard) if not place.has(job.arm, job.seed)]
                if waits and jobs and verbose:
                    print(f"Waiting for runs of this shard that other processes are making: {len(jobs)}.")
                self._make(jobs, place, strategy, workers or default_workers(strategy), verbose, waits)

    def _jobs(self, shard: Shard) -> list[Job]:
        """Returns the jobs of a shard: consecutive ones, so that few arms are compiled by more than one shard."""
        index, number = shard
        jobs = [Job(arm, seed) for arm in self.arms for seed in self.seeds]
        return jobs[index * len(jobs) // number : (index + 1) * len(jobs) // number]

    def _make(
        self,
        jobs: list[Job],
        place: StudyFolder,
        strategy: tf.distribute.Strategy | None,
        number: int,
        verbose: int,
        waits: bool,
    ) -> None:
        if not jobs:
            return
        run_maker = RunMaker(self.tasks, self.arms, self.protocol, self.make_network, place, strategy, waits)
        in_graph = all(task.spec.in_graph for task in self.tasks.values())
        in_threads = in_graph or strategy is not None
        failures: dict[Job, BaseException] = {}
        with Progress(len(jobs), self.protocol.epochs, bool(verbose)) as progress:
            for job, error in WorkerPool(run_maker, number, in_threads).do(jobs, progress.at):
                if isinstance(error, ClaimedElsewhere):
                    progress.claimed_elsewhere(job)
                    continue
                progress.finished(job, error)
                place.note_failure(job.arm, job.seed, error)
                if error is not None:
                    failures[job] = error
        if failures:
            lines = [f"  {job.arm}, seed {job.seed}: {error}" for job, error in failures.items()]
            raise StudyError(
                f"{len(failures)} of {len(jobs)} runs could not be finished:\n" + "\n".join(lines) + "\n"
                f"The others are kept in {place.path}. Run the study again to make only the failed ones, or "
                f"`mtq report {place.path}` for a report of the finished ones."
            )

    def _plan(self) -> dict[str, Any]:
        return {
            "tasks": keras.saving.serialize_keras_object(self.tasks),
            "environments": {name: describe_environment(task) for name, task in self.tasks.items()},
            "seeds": self.seeds,
            "protocol": {**values(self.protocol), "score": self.protocol.score},
            "reference": self.reference,
            "comparisons": self.comparisons,
            "arms": {name: self._plan_of(arm) for name, arm in self.arms.items()},
        }

    def _plan_of(self, arm: Arm) -> dict[str, Any]:
        network = self.make_network(self.tasks, arm)
        self._check_network_settings(arm, network)
        own, common = arm.protocol(self.protocol), values(self.protocol)
        make_model(self.tasks, arm, own, network)  # raises the arm's errors before any run
        return {
            **arm.get_config(),
            "resolved": {name: value for name, value in values(own).items() if value != common[name]},
            "parameters": network.count_params(),
            "network": fingerprint(network),
        }

    def _check_effects(self) -> None:
        """Raises a ValueError if a setting that the protocol was given has no effect in any arm."""
        arms = [arm.protocol(self.protocol) for arm in self.arms.values()]
        for name, value in given(self._given).items():
            reasons = [without_effect(arm).get(name, "") for arm in arms]
            if name == "loss" and value is not None:
                reasons = ["it fits the heads of no arm" if arm.loss is None else "" for arm in arms]
            if all(reasons):
                raise ValueError(
                    f"{name} of a study must have an effect in some arm. Received: {value!r}, where {reasons[0]}. "
                    "Leave it out."
                )

    def _check_network_settings(self, arm: Arm, network: keras.Model) -> None:
        """Raises a ValueError if `make_network` ignores settings of an arm that concern the network."""
        usual = defaults(Protocol)
        settings = {**arm.network_settings, **arm.backbone_settings}
        changed = [name for name, value in settings.items() if value != usual[name]]
        for name in changed:
            without = self.make_network(self.tasks, arm.without(name))
            if fingerprint(network) == fingerprint(without):
                raise ValueError(
                    "make_network of a study must follow the settings of arms and the protocol that concern networks. "
                    f"Received: {name}={arm.settings[name]!r} of arm '{arm.name}', which made no difference. Pass it "
                    "to mtq.networks.shared_q_network, or leave it out."
                )

    def _with_widths(self, arms: dict[str, Arm]) -> dict[str, Arm]:
        """Returns the arms, where those with `parameters_of` have the width that matches the other's parameters."""
        for name, arm in arms.items():
            if arm.parameters_of is not None:
                num_parameters = self.make_network(self.tasks, arms[arm.parameters_of]).count_params()
                width = matched_width(self.make_network, self.tasks, arm, num_parameters)
                arms = {**arms, name: arm.with_width(width)}
        return arms

    def _play_random(self, place: StudyFolder) -> None:
        """Writes the scores of a random policy, which are 0 on the normalized scale, unless they are written."""
        path = place.path / "random.json"
        if path.exists():
            return
        write_json(path, random_scores(self.tasks, self.protocol, _RANDOM_EVALUATIONS))
        give_back_memory()


def _names(arms: Any) -> list[str]:
    """Returns the names of a study's arms, after checking that they are arms with different names."""
    if isinstance(arms, Arm) or not all(isinstance(arm, Arm) for arm in arms):
        raise ValueError(f"arms of a study must be a list of mtq.study.Arm. Received: {arms!r}.")
    names = [arm.name for arm in arms]
    if not names or len({name.casefold() for name in names}) < len(names):
        raise ValueError(
            "The arms of a study must be at least one, with different names (upper and lower case count as the "
            f"same). Received: {names}."
        )
    return names


def _check_named(role: str, name: str, names: list[str]) -> None:
    """Raises a ValueError unless a name is that of an arm of the study."""
    if name not in names:
        raise ValueError(f"{role} must name an arm of the study. Received: {name!r}. The arms are: {names}.")


def _pairs(comparisons: Iterable[tuple[str, str]], names: list[str]) -> list[tuple[str, ...]]:
    """Returns the pairs of arms to compare, after checking that each names two different arms."""
    pairs = [tuple(pair) for pair in comparisons]
    for pair in pairs:
        if len(pair) != 2 or pair[0] == pair[1] or not set(pair) <= set(names):
            raise ValueError(
                f"comparisons must be pairs of two arms of the study. Received: {pair!r}. The arms are: {names}."
            )
    return pairs


def _check_matched(arms: Sequence[Arm], names: list[str]) -> None:
    """Raises a ValueError unless every `parameters_of` names an arm with a width of its own."""
    matched = {arm.name: arm.parameters_of for arm in arms if arm.parameters_of is not None}
    for name, other in matched.items():
        _check_named(f"parameters_of of {name!r}", other, names)
        if other in matched:
            raise ValueError(
                f"parameters_of must name an arm that has no parameters_of itself. Received: {other!r} for arm "
                f"{name!r}, where {other!r} has parameters_of={matched[other]!r}."
            )


def _seeds(seeds: Any) -> list[int]:
    """Returns the seeds of a study, given their number or the seeds themselves."""
    message = f"seeds must be their number, or different integers of at least 0. Received: {seeds!r}."
    try:
        if is_number(seeds):
            return list(range(integer("seeds", seeds)))
        numbers = [integer("A seed", seed, least=0) for seed in seeds]
    except (TypeError, ValueError) as error:
        raise ValueError(message) from error
    if not numbers or len(set(numbers)) < len(numbers):
        raise ValueError(message)
    return numbers
