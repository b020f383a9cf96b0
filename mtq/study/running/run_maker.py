"""`RunMaker`: makes the runs of a study, in a thread or a process."""

import contextlib
import threading
import time
from collections.abc import Callable, Mapping

import tensorflow as tf

from mtq.study.design.arm import Arm
from mtq.study.design.network import MakeNetwork
from mtq.study.design.protocol import Protocol
from mtq.study.running.compiled_arm import CompiledArm
from mtq.study.running.folder import StudyFolder
from mtq.study.running.memory import giving_back_memory
from mtq.study.running.worker_pool import ClaimedElsewhere, Job
from mtq.tasks.task import TaskSet

_SECONDS_BETWEEN_ATTEMPTS = 0.5
_compiling = threading.Lock()
_here = threading.local()


class RunMaker:
    """A function that makes a run and writes its record. Each worker keeps the `CompiledArm` of its last run.

    Args:
        tasks: The tasks.
        arms: The arms, by name.
        protocol: The study's protocol.
        make_network: A function of the tasks and an arm that returns the arm's network.
        place: The folder of the study.
        strategy: The strategy on whose replicas each run is made. With a strategy, the runs cannot be made in other
            processes.
        waits: Whether to wait while another process makes the run, and to make it here if that process is killed.
    """

    def __init__(
        self,
        tasks: TaskSet,
        arms: Mapping[str, Arm],
        protocol: Protocol,
        make_network: MakeNetwork,
        place: StudyFolder,
        strategy: tf.distribute.Strategy | None = None,
        waits: bool = False,
    ) -> None:
        self._tasks, self._arms, self._protocol = tasks, dict(arms), protocol
        self._make_network, self._place, self._strategy = make_network, place, strategy
        self._waits = waits

    def __call__(self, job: Job, on_epochs: Callable[[int], None]) -> None:
        """Makes a run and writes its record.

        Args:
            job: The arm and the seed of the run.
            on_epochs: A function that is called with the number of finished epochs, between executions and while
                waiting. It may raise an exception to end the run.

        Raises:
            ClaimedElsewhere: Another process has made the run, or is making it.
        """
        while True:
            with self._place.claimed(job.arm, job.seed) as is_ours:
                if is_ours:
                    self._make(job, on_epochs)
                    return
            if not self._waits or self._place.has(job.arm, job.seed):
                raise ClaimedElsewhere
            on_epochs(0)
            time.sleep(_SECONDS_BETWEEN_ATTEMPTS)

    def _make(self, job: Job, on_epochs: Callable[[int], None]) -> None:
        compiled = getattr(_here, "compiled", None)
        if compiled is not None and compiled.arm is self._arms[job.arm]:
            self._run(compiled, job, on_epochs)
            return
        _here.compiled = compiled = None
        with contextlib.ExitStack() as until_compiled:
            until_compiled.enter_context(_compiling)  # one at a time: compiling needs a few hundred MiB while it lasts
            until_compiled.enter_context(giving_back_memory())

            def on_execution(epochs: int) -> None:
                until_compiled.close()  # has an effect after the first execution only
                on_epochs(epochs)

            arm = self._arms[job.arm]
            compiled = CompiledArm(self._tasks, arm, self._protocol, self._make_network, self._strategy)
            self._run(compiled, job, on_execution)
        _here.compiled = compiled

    def _run(self, compiled: CompiledArm, job: Job, on_epochs: Callable[[int], None]) -> None:
        record = compiled.run(job.seed, on_epochs)
        record.save(self._place.place(job.arm, job.seed), compiled.evaluated_network)
