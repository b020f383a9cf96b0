"""Who does which run."""

import threading

import pytest

from mtq.study.running.worker_pool import ClaimedElsewhere, Job, WorkerPool, _next_job


def test_workers_keep_to_their_arm():
    left = [Job("a", 1), Job("b", 0), Job("b", 1)]
    assert _next_job(left, {0: "a", 1: "b"}, 0) == Job("a", 1)
    assert _next_job(left, {0: "a", 1: "b"}, 1) == Job("b", 0)
    assert _next_job(left, {0: "a"}, 1) == Job("b", 0)  # nobody is at b


def test_an_arm_is_compiled_twice_only_where_it_pays():
    left = [Job("b", seed) for seed in range(4)]
    assert _next_job(left, {0: "a", 1: "b"}, 0) == Job("b", 3)
    assert _next_job(left[:3], {0: "a", 1: "b"}, 0) is None
    assert _next_job(left[:2], {1: "b"}, 0) == Job("b", 1)  # at the beginning there is nothing yet to be kept beside it
    assert _next_job(left[:1], {1: "b"}, 0) is None
    assert _next_job([], {0: "a", 1: "b"}, 0) is None


@pytest.mark.parametrize("number", [1, 2, 3])
def test_every_job_is_done_once_and_errors_are_given_back(number):
    done, lock = [], threading.Lock()

    def work(job, on_epochs):
        on_epochs(1)
        with lock:
            done.append(job)
        if job == Job("b", 1):
            raise ValueError("no")

    jobs = [Job(arm, seed) for arm in "abc" for seed in range(4)]
    news = []
    given = dict(WorkerPool(work, number, in_threads=True).do(jobs, lambda job, epochs: news.append(job)))
    assert sorted(done) == sorted(jobs) == sorted(given)
    assert {job for job, error in given.items() if error is not None} == {Job("b", 1)}


def test_a_worker_whose_run_is_left_to_another_process_helps_with_the_rest():
    both_at_once = threading.Barrier(2, timeout=20)

    def work(job, on_epochs):
        if job.arm == "a":
            raise ClaimedElsewhere
        if job.seed in (0, 3):
            both_at_once.wait()

    jobs = [Job("a", 0), *(Job("b", seed) for seed in range(4))]
    given = dict(WorkerPool(work, 2, in_threads=True).do(jobs, lambda job, epochs: None))
    assert [type(given[job]) for job in jobs] == [ClaimedElsewhere, *[type(None)] * 4]


def test_jobs_that_run_are_stopped_when_nobody_waits_for_them():
    begun, ended = threading.Event(), threading.Event()

    def work(job, on_epochs):
        if job.seed == 0:
            begun.wait(10)
            return
        begun.set()
        try:
            while True:
                on_epochs(0)
        finally:
            ended.set()

    for _ in WorkerPool(work, 2, in_threads=True).do([Job("a", 0), Job("b", 1)], lambda job, epochs: None):
        break  # as an interrupt would
    assert ended.wait(10)
