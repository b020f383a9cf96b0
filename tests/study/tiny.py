"""A study that takes seconds."""

import csv

import mtq
from mtq.dynamics import Chain
from mtq.networks import mlp, shared_q_network

TINY = {
    "epochs": 2,
    "updates_per_epoch": 20,
    "batch_size": 8,
    "warmup_steps": 8,
    "replay_capacity": 100,
    "evaluation_steps": 50,
    "cosines_every": 5,
    "loss": "huber",
}


def tiny_network(tasks, arm):
    return shared_q_network(tasks, mlp([mtq.study.scaled(8, arm.width)] * 2), shared_layers=arm.shared_layers)


def chains():
    return mtq.TaskSet([mtq.Task("a", Chain(3, 10)), mtq.Task("b", Chain(3, 12))])


def tiny_study(tasks=None, arms=None, seeds=2, **settings):
    return mtq.study.Study(
        tasks or chains(),
        arms or [mtq.study.Arm("separate", shared_layers=0), mtq.study.Arm("shared")],
        protocol=mtq.study.Protocol(**{**TINY, **settings}),
        seeds=seeds,
        make_network=tiny_network,
    )


def rows(path):
    with (path / "numbers.csv").open(newline="") as file:
        return [row for row in csv.DictReader(file) if row["section"] != "seconds"]
