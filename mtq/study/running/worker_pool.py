"""`WorkerPool`: several workers, each of which makes one run at a time."""

import collections
import concurrent.futures as futures
import contextlib
import multiprocessing
import os
import queue
import signal
import threading
from collections.abc import Callable, Iterator, Sequence
from typing import Any, NamedTuple

from mtq.storage.trust import import_environments, imported


class Job(NamedTuple):
    """A run that is to be made.

    Attributes:
        arm: The name of the arm. A worker keeps what it compiled for its last arm.
        seed: The seed of the run.
    """

    arm: str
    seed: int


# The number of runs left from which another worker compiles the same arm too: each compiled arm takes some 300 MiB.
_WORTH_COMPILING = 4


class Cancelled(Exception):  # noqa: N818
    """Raised within a run to end it, when the pool is stopped."""


class ClaimedElsewhere(Exception):  # noqa: N818
    """Raised instead of making a run that another process has made, or is making."""


Work = Callable[[Job, Callable[[int], None]], None]


class WorkerPool:
    """A pool of workers, each of which makes one run after the other.

    Runs of in-graph tasks release Python for seconds at a time, so threads suffice for them, which share the memory of
    TensorFlow and its compiler. Environments in Python need a process for each worker.

    Args:
        work: A function that makes the run of a job, and calls its second argument with the number of finished epochs.
            It must be picklable if the workers are processes.
        number: The number of workers.
        in_threads: Whether the workers are threads; otherwise they are processes.
    """

    def __init__(self, work: Work, number: int, in_threads: bool) -> None:
        self._work, self._number, self._in_threads = work, number, in_threads
        context = multiprocessing.get_context("spawn")
        self._stop = threading.Event() if in_threads else context.Event()
        self._news: Any = queue.SimpleQueue() if in_threads else context.Queue()

    def do(
        self, jobs: Sequence[Job], on_news: Callable[[Job, int], None]
    ) -> Iterator[tuple[Job, BaseException | None]]:
        """Makes the runs of all jobs. A worker keeps to the arm of its last job while that arm has jobs left.

        Args:
            jobs: The jobs.
            on_news: A function that is called with a job and the number of its finished epochs.

        Yields:
            Each job when it has ended, with the exception that ended it or None.
        """
        left = list(jobs)
        running: dict[futures.Future[None], tuple[int, Job, str | None]] = {}
        executors = {number: self._executor() for number in range(min(self._number, len(left)))}
        last_arm: dict[int, str] = {}

        def begin(worker: int) -> None:
            job = _next_job(left, last_arm, worker)
            if job is None:
                return
            left.remove(job)
            running[executors[worker].submit(_do, job)] = (worker, job, last_arm.get(worker))
            last_arm[worker] = job.arm

        try:
            for worker in executors:
                begin(worker)
            while running:
                done, _ = futures.wait(running, timeout=0.2, return_when=futures.FIRST_COMPLETED)
                self._tell(on_news)
                for future in done:
                    worker, job, arm_before = running.pop(future)
                    error = future.exception()
                    if isinstance(error, ClaimedElsewhere):  # the worker has compiled nothing for that arm
                        last_arm.pop(worker)
                        if arm_before is not None:
                            last_arm[worker] = arm_before
                    if isinstance(error, futures.BrokenExecutor):
                        executors[worker] = self._executor()
                        error = ChildProcessError("its process was killed or crashed, perhaps for lack of memory.")
                    begin(worker)
                    yield job, error
        finally:
            self._stop.set()
            for executor in executors.values():
                executor.shutdown(wait=True, cancel_futures=True)

    def _executor(self) -> futures.Executor:
        arguments = (self._work, self._news, self._stop, tuple(imported))
        if self._in_threads:
            return futures.ThreadPoolExecutor(1, initializer=_begin, initargs=arguments)
        context = multiprocessing.get_context("spawn")
        with _one_thread_each():
            executor = futures.ProcessPoolExecutor(1, mp_context=context, initializer=_begin, initargs=arguments)
            executor.submit(os.getpid)  # starts the process here, with this environment
        return executor

    def _tell(self, on_news: Callable[[Job, int], None]) -> None:
        with contextlib.suppress(queue.Empty):
            while True:
                on_news(*self._news.get(block=False))


def _next_job(left: Sequence[Job], last_arm: dict[int, str], worker: int) -> Job | None:
    """Returns the next job of a worker, or None if it has nothing to do.

    In this order: a job of the arm that the worker has compiled, of an arm that no other worker has, or of the arm with
    the most jobs left. None if the other workers would finish the rest before this one had compiled its arm.
    """
    others = {arm for number, arm in last_arm.items() if number != worker}
    for wanted in (lambda job: job.arm == last_arm.get(worker), lambda job: job.arm not in others):
        for job in left:
            if wanted(job):
                return job
    numbers = collections.Counter(job.arm for job in left)
    least = _WORTH_COMPILING if worker in last_arm else 2
    if not numbers or max(numbers.values()) < least:
        return None
    most = max(numbers, key=lambda arm: numbers[arm])
    return [job for job in left if job.arm == most][-1]


_here = threading.local()


def _begin(work: Work, news: Any, stop: Any, modules: Sequence[str]) -> None:
    _here.work, _here.news, _here.stop = work, news, stop
    parent = multiprocessing.parent_process()
    if parent is not None:
        import_environments(*modules)
        signal.signal(signal.SIGINT, signal.SIG_IGN)  # the parent process decides when to stop
        threading.Thread(target=_end_with, args=(parent,), daemon=True).start()


def _end_with(parent: Any) -> None:
    """Ends this process when its parent process has ended."""
    parent.join()
    os._exit(1)


def _do(job: Job) -> None:
    def on_epochs(epochs: int) -> None:
        if _here.stop.is_set():
            raise Cancelled
        _here.news.put((job, epochs))

    _here.work(job, on_epochs)


@contextlib.contextmanager
def _one_thread_each() -> Iterator[None]:
    """Gives TensorFlow one thread in processes that start within the context, because each core has a process."""
    names = ("TF_NUM_INTRAOP_THREADS", "TF_NUM_INTEROP_THREADS", "OMP_NUM_THREADS")
    before = {name: os.environ.get(name) for name in names}
    os.environ.update(dict.fromkeys(names, "1"))
    try:
        yield
    finally:
        for name, value in before.items():
            os.environ.pop(name) if value is None else os.environ.update({name: value})
