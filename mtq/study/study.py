"""`Study`: what a shared network does, as an experiment."""

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
    """Arms × seeds on one set of tasks.

    Args:
        tasks: The tasks.
        arms: What is to be compared.
        protocol: What the arms have in common.
        seeds: How many runs each arm has, from seeds 0, 1, …; or the seeds. With fewer than ten little can be told.
        reference: The arm that others are compared to: by default the first in which nothing is shared, or else the
            first.
        comparisons: Further pairs of arms, by name, that the report compares in addition to each arm with the
            reference; for example, an arm without an ingredient and the arm with it.
        make_network: Makes the network of an arm. It must respect `arm.shared_layers` and, if arms differ in width or
            are matched by parameters, `arm.width`. For studies that run in processes it must be a function of a module.

    Raises:
        ValueError: Two arms have one name, an arm refers to one that is not there, or there are no seeds.

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
        self.tasks, self.protocol, self.make_network = tasks, protocol or Protocol(), make_network
        check_tasks("tasks of a study", tasks)
        if isinstance(arms, Arm) or not all(isinstance(arm, Arm) for arm in arms):
            raise ValueError(f"arms of a study must be a list of mtq.study.Arm. Received: {arms!r}.")
        if not isinstance(self.protocol, Protocol):
            raise ValueError(f"protocol of a study must be an mtq.study.Protocol. Received: {protocol!r}.")
        names = [arm.name for arm in arms]
        if not names or len({name.casefold() for name in names}) < len(names):
            raise ValueError(f"The arms of a study must be one or more, with names of their own. Received: {names}.")
        self.seeds = _seeds(seeds)
        separate = [arm.name for arm in arms if arm.shared_layers == 0]
        self.reference = reference if reference is not None else [*separate, names[0]][0]
        for role, name in [
            ("reference", self.reference),
            *((f"parameters_of of {a!r}", a.parameters_of) for a in arms),
        ]:
            if name is not None and name not in names:
                raise ValueError(f"{role} must name an arm of the study. Received: {name!r}. There are: {names}.")
        self.comparisons = [tuple(pair) for pair in comparisons]
        for pair in self.comparisons:
            if len(pair) != 2 or pair[0] == pair[1] or not set(pair) <= set(names):
                raise ValueError(
                    f"comparisons must be pairs of two arms of the study. Received: {pair!r}. There are: {names}."
                )
        for arm in arms:
            arm.protocol(self.protocol)
        matched = {arm.name: arm.parameters_of for arm in arms if arm.parameters_of is not None}
        for name, other in matched.items():
            if other in matched:
                raise ValueError(
                    f"parameters_of must name an arm with a width of its own. Received: {other!r} for arm {name!r}, "
                    f"which itself has parameters_of={matched[other]!r}."
                )
        self.arms = self._with_widths({arm.name: arm for arm in arms})

    def run(
        self,
        folder: str | Path,
        *,
        workers: int | None = None,
        strategy: tf.distribute.Strategy | None = None,
        verbose: int = 1,
    ) -> Report:
        """Makes the runs that the folder does not hold yet.

        A run that is finished is never made again, and one that was cut off is begun anew. Runs may be added later: by
        more seeds, or more arms, and the same protocol.

        Args:
            folder: Of the study; made if need be.
            workers: How many runs are made at once; by default as many as there are cores, or one if there is a
                strategy.
            strategy: On whose replicas, all of this process, each run is made.
            verbose: 0 for no progress bar.

        Returns:
            The report, of all the runs in the folder.

        Raises:
            StudyError: Runs failed; the others are kept.
            ImportError: A package is missing that only studies need.
            ValueError: The folder holds a study of another kind, or is in use.
            FileNotFoundError: It holds runs without their `study.json`.
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
        """Makes a part of the runs, while other machines make the others.

        Args:
            folder: Of the study, that all of them can write to.
            shard: Which part, from 0, and how many there are; (0, 1) is the whole.
            workers: As of `run`.
            strategy: Likewise.
            verbose: Likewise.

        Returns:
            The report, if all runs of the study are there; None, and a line that says so, if others have still to be
            made.

        Raises:
            StudyError: As `run` does.
            ImportError: Likewise.
            ValueError: Likewise, or there is no such part.
            FileNotFoundError: As `run` does.
        """
        place = StudyFolder(folder)
        self._make_missing(place, shard, workers, strategy, verbose)
        every = self._jobs(WHOLE)
        missing = [job for job in every if not place.has(job.arm, job.seed)]
        if missing:
            if verbose:
                print(
                    f"Shard {shard[0]} of {shard[1]} is made; {len(missing)} of {len(every)} runs are missing. The "
                    "shard that makes the last of them writes the report. "
                    f"`mtq report {place.path}` writes one of what there is."
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
        plan = {**self._plan(), "replicas": replicas}
        for arm in self.arms.values():
            check_batch_size(arm.protocol(self.protocol).batch_size, strategy or tf.distribute.get_strategy())
        with contextlib.ExitStack() as until_done:
            with place.planning():
                is_alone = place.is_free()
                until_done.enter_context(place.held(shard))
                place.begin(plan, sys.argv, is_alone)
                self._play_random(place)
            for waits in (False, True):  # at last what was left to other processes, which may have been killed
                jobs = [job for job in self._jobs(shard) if not place.has(job.arm, job.seed)]
                if waits and jobs and verbose:
                    print(f"Runs of this part that other processes are at: {len(jobs)}. Waiting for them.")
                self._make(jobs, place, strategy, workers or default_workers(strategy), verbose, waits)

    def _jobs(self, shard: Shard) -> list[Job]:
        """Those of a shard lie beside each other, so that few of its arms are others' too, which would compile them."""
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
        work = RunMaker(self.tasks, self.arms, self.protocol, self.make_network, place, strategy, waits)
        in_graph = all(task.spec.in_graph for task in self.tasks.values())
        in_threads = in_graph or strategy is not None
        failures: dict[Job, BaseException] = {}
        with Progress(len(jobs), self.protocol.epochs, bool(verbose)) as progress:
            for job, error in WorkerPool(work, number, in_threads).do(jobs, progress.at):
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
                f"The others are kept in {place.path}. Run the study again to make only these, or "
                f"`mtq report {place.path}` to see what there is."
            )

    def _plan(self) -> dict[str, Any]:
        return {
            "tasks": keras.saving.serialize_keras_object(self.tasks),
            "environments": {name: describe_environment(task) for name, task in self.tasks.items()},
            "seeds": self.seeds,
            "protocol": {**vars(self.protocol), "score": self.protocol.score},
            "reference": self.reference,
            "comparisons": self.comparisons,
            "arms": {name: self._plan_of(arm) for name, arm in self.arms.items()},
        }

    def _plan_of(self, arm: Arm) -> dict[str, Any]:
        network = self.make_network(self.tasks, arm)
        make_model(self.tasks, arm, arm.protocol(self.protocol), network)  # what is wrong with it is said now
        return {
            **arm.get_config(),
            "parameters": network.count_params(),
            "network": fingerprint(network),
        }

    def _with_widths(self, arms: dict[str, Arm]) -> dict[str, Arm]:
        """The arms, with the widths of those that are to have as many parameters as another."""
        for name, arm in arms.items():
            if arm.parameters_of is not None:
                wanted = self.make_network(self.tasks, arms[arm.parameters_of]).count_params()
                width = matched_width(self.make_network, self.tasks, arm, wanted)
                arms = {**arms, name: arm.with_width(width)}
        return arms

    def _play_random(self, place: StudyFolder) -> None:
        """The scores of a random policy, which count as 0."""
        path = place.path / "random.json"
        if path.exists():
            return
        write_json(path, random_scores(self.tasks, self.protocol, _RANDOM_EVALUATIONS))
        give_back_memory()


def _seeds(seeds: Any) -> list[int]:
    """The seeds of a study, from their number or a list of them."""
    wrong = f"seeds must be how many there are, or different integers of at least 0. Received: {seeds!r}."
    try:
        if is_number(seeds):
            return list(range(integer("seeds", seeds)))
        found = [integer("A seed", seed, least=0) for seed in seeds]
    except (TypeError, ValueError) as error:
        raise ValueError(wrong) from error
    if not found or len(set(found)) < len(found):
        raise ValueError(wrong)
    return found
