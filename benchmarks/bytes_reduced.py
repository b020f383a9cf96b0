"""How many bytes each replica puts into all-reduces at every update, by network, number of tasks and aggregator.

    python -m benchmarks.bytes_reduced

`tests/distribution/shards_test.py` holds these numbers to those counted in a step's graph. Over the wire of each of N
replicas go 2 (N − 1) / N times as many in a ring. The last line is one JSON object.
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
    """What is counted."""

    networks: str = ",".join(NETWORKS)
    """By name."""
    tasks: str = "1,5,20,57"
    """Numbers of tasks."""


def count(network: str, num_tasks: int, way: str) -> tuple[int, int]:
    """Makes a model of two replicas.

    Returns:
        Bytes that one replica puts into all-reduces, and the network's parameters.
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
    """Prints a table and returns what the last line of the output holds."""
    rows = []
    print(f"{'network':10}{'tasks':>6}{'parameters':>12}  " + "".join(f"{way + ', MB':>20}" for way in _WAYS))
    for network in options.networks.split(","):
        for num_tasks in map(int, options.tasks.split(",")):
            print(f"[{time.strftime('%H:%M:%S')}] {network}, {num_tasks} tasks …", file=sys.stderr, flush=True)
            found = {way: count(network, num_tasks, way) for way in _WAYS}
            parameters = next(iter(found.values()))[1]
            cells = "".join(f"{bytes_ / 1e6:>20.3f}" for bytes_, _ in found.values())
            print(f"{network:10}{num_tasks:>6}{parameters:>12,}  {cells}", flush=True)
            rows += [
                {"network": network, "tasks": num_tasks, "parameters": parameters, "way": way, "bytes": bytes_}
                for way, (bytes_, _) in found.items()
            ]
    return {"rows": rows}


if __name__ == "__main__":
    print(json.dumps(main(simple_parsing.parse(Options))))
