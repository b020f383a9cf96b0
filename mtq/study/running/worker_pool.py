"""Running many runs at once, one per worker."""

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


class Job(NamedTuple):
    """One run.

    Attributes:
        arm: Name of the arm. A worker keeps what it compiled for the last one.
        seed: Of the run.
    """

    arm: str
    seed: int


_WORTH_COMPILING = 4  # runs left; for what is compiled besides stays in memory, some 300 MiB


class Cancelled(Exception):  # noqa: N818
    """Raised within a run that is no longer wanted."""


class ClaimedElsewhere(Exception):  # noqa: N818
    """Raised in the place of a run that another process has made, or is at."""


Work = Callable[[Job, Callable[[int], None]], None]


class WorkerPool:
    """Does jobs, each worker one after the other.

    In-graph tasks leave Python for seconds at a time, so threads serve them and share what TensorFlow and its compiler
    take of memory. Environments in Python need a process for each worker.

    Args:
        work: Does a job, and calls its second argument with how many epochs of it are done. To run in processes, it
            must be picklable.
        number: Of workers.
        in_threads: Whether they are threads, not processes.
    """

    def __init__(self, work: Work, number: int, in_threads: bool) -> None:
        self._work, self._number, self._in_threads = work, number, in_threads
        context = multiprocessing.get_context("spawn")
        self._stop = threading.Event() if in_threads else context.Event()
        self._news: Any = queue.SimpleQueue() if in_threads else context.Queue()

    def do(
        self, jobs: Sequence[Job], on_news: Callable[[Job, int], None]
    ) -> Iterator[tuple[Job, BaseException | None]]:
        """Does all jobs. A worker goes on with its last job's arm as long as there are some left.

        Args:
            jobs: What to do.
            on_news: Called with a job and how many of its epochs are done.

        Yields:
            Each job when it is done, with the exception that ended it or None.
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
                    if isinstance(error, ClaimedElsewhere):  # it has compiled nothing for that arm
                        last_arm.pop(worker)
                        if arm_before is not None:
                            last_arm[worker] = arm_before
                    if isinstance(error, futures.BrokenExecutor):
                        executors[worker] = self._executor()
                        error = ChildProcessError("its process was killed or crashed; was there memory enough?")
                    begin(worker)
                    yield job, error
        finally:
            self._stop.set()
            for executor in executors.values():
                executor.shutdown(wait=True, cancel_futures=True)

    def _executor(self) -> futures.Executor:
        given = (self._work, self._news, self._stop)
        if self._in_threads:
            return futures.ThreadPoolExecutor(1, initializer=_begin, initargs=given)
        context = multiprocessing.get_context("spawn")
        with _one_thread_each():
            executor = futures.ProcessPoolExecutor(1, mp_context=context, initializer=_begin, initargs=given)
            executor.submit(os.getpid)  # the process begins here, with this environment
        return executor

    def _tell(self, on_news: Callable[[Job, int], None]) -> None:
        with contextlib.suppress(queue.Empty):
            while True:
                on_news(*self._news.get(block=False))


def _next_job(left: Sequence[Job], last_arm: dict[int, str], worker: int) -> Job | None:
    """One of the arm that the worker knows; else of an arm that no other worker is at; else of that with most left.

    None if another worker will be done with the rest before this one could have compiled what it needs.
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


def _begin(work: Work, news: Any, stop: Any) -> None:
    _here.work, _here.news, _here.stop = work, news, stop
    parent = multiprocessing.parent_process()
    if parent is not None:
        signal.signal(signal.SIGINT, signal.SIG_IGN)  # the process that began it says when to stop
        threading.Thread(target=_end_with, args=(parent,), daemon=True).start()


def _end_with(parent: Any) -> None:
    """Ends this process when the one that began it is gone."""
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
    """TensorFlow in a process that begins meanwhile has one thread, as there is a process for each core."""
    names = ("TF_NUM_INTRAOP_THREADS", "TF_NUM_INTEROP_THREADS", "OMP_NUM_THREADS")
    before = {name: os.environ.get(name) for name in names}
    os.environ.update(dict.fromkeys(names, "1"))
    try:
        yield
    finally:
        for name, value in before.items():
            os.environ.pop(name) if value is None else os.environ.update({name: value})
