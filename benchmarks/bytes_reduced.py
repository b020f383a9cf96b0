"""Counts the bytes that each replica puts into all-reduces in every update, by network, number of tasks and aggregator.

    python -m benchmarks.bytes_reduced

`tests/distribution/shards_test.py` compares these numbers with those in the graph of a train step. In a ring of N
replicas, 2 (N − 1) / N times as many bytes go over the wire of each replica. The last line is one JSON object.
"""

import dataclasses
import json
import sys
import time
from typing import Any

import simple_parsing

import mtq
from benchmarks.task_gradients import NETWORKS
from mtq.tasks.spec import TaskSpec

_WAYS: dict[str, dict[str, Any]] = {
    "sum": {"aggregator": "sum"},
    "sum, famo": {"aggregator": "sum", "loss_weights": "famo"},
    "normalized_sum": {"aggregator": "normalized_sum"},
    "upgrad": {"aggregator": "upgrad"},
}


@dataclasses.dataclass
class Options:
    """Settings of the benchmark."""

    networks: str = ",".join(NETWORKS)
    """The names of the networks, separated by commas."""
    tasks: str = "1,5,20,57"
    """The numbers of tasks, separated by commas."""


def count(network: str, num_tasks: int, way: str) -> tuple[int, int]:
    """Creates a model on two replicas and counts its bytes.

    Args:
        network: The name of the network.
        num_tasks: The number of tasks T.
        way: The name of the way in which the tasks are combined.

    Returns:
        The number of bytes that one replica puts into all-reduces in an update, and the network's parameters.
    """
    shape, backbone = NETWORKS[network]
    tasks = mtq.TaskSet(
        [mtq.Task(f"task_{i}", None, spec=TaskSpec(shape, "float32", None, 6)) for i in range(num_tasks)]
    )
    with mtq.distribution.strategy("mirrored", devices=2).scope():
        model = mtq.MultiTaskDQN(mtq.networks.shared_q_network(tasks, backbone(), seed=0), tasks)
        model.compile("sgd", **_WAYS[way])
    return model.make_update().bytes_reduced(model.paths, model.distribute_strategy), model.network.count_params()


def main(options: Options) -> dict[str, Any]:
    """Prints a table, and returns the content of the last line of the output."""
    rows = []
    print(f"{'network':10}{'tasks':>6}{'parameters':>12}  " + "".join(f"{way + ', MB':>20}" for way in _WAYS))
    for network in options.networks.split(","):
        for num_tasks in map(int, options.tasks.split(",")):
            print(f"[{time.strftime('%H:%M:%S')}] {network}, {num_tasks} tasks …", file=sys.stderr, flush=True)
            counts = {way: count(network, num_tasks, way) for way in _WAYS}
            parameters = next(iter(counts.values()))[1]
            cells = "".join(f"{bytes_ / 1e6:>20.3f}" for bytes_, _ in counts.values())
            print(f"{network:10}{num_tasks:>6}{parameters:>12,}  {cells}", flush=True)
            rows += [
                {"network": network, "tasks": num_tasks, "parameters": parameters, "way": way, "bytes": bytes_}
                for way, (bytes_, _) in counts.items()
            ]
    return {"rows": rows}


if __name__ == "__main__":
    print(json.dumps(main(simple_parsing.parse(Options))))
