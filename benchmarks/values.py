"""Measures what parts of value learning cost: the in-graph loop with each part, relative to the loop without it.

    python -m benchmarks.values
    python -m benchmarks.values --networks mlp --parts prioritized

Five tasks are learned in one network with a batch of 32 for each, through `fit`: those of the classic suite with 2×256
units, or MinAtar's games with a convolution of 16 filters of 3×3 and 128 units. All loops are compiled in one process,
and take turns for several rounds. The figures are medians over the rounds: of the durations, and of the ratios within a
round. A new part is an entry of `PARTS`.

The last line is one JSON object.
"""

import dataclasses
import json
import statistics
import sys
import time
from collections.abc import Mapping
from typing import Any

import keras
import simple_parsing

import mtq


@dataclasses.dataclass(frozen=True)
class Part:
    """How a loop differs from the others.

    Attributes:
        title: The title of its row in the table.
        experience: Further arguments of `Experience`.
        network: Further arguments of `shared_q_network`.
        backbone: Further arguments of the backbone.
        model: Further arguments of `MultiTaskDQN`.
        compile: Further arguments of `compile`.
        base: The name of the part with which it is compared.
    """

    title: str
    experience: Mapping[str, Any] = dataclasses.field(default_factory=dict)
    network: Mapping[str, Any] = dataclasses.field(default_factory=dict)
    backbone: Mapping[str, Any] = dataclasses.field(default_factory=dict)
    model: Mapping[str, Any] = dataclasses.field(default_factory=dict)
    compile: Mapping[str, Any] = dataclasses.field(default_factory=dict)
    base: str = "uniform"


PARTS = {
    "uniform": Part("scalar heads, uniform replay"),
    "prioritized": Part("prioritized replay", experience={"sampler": "prioritized"}),
    "popart": Part("PopArt", network={"return_scaling": "popart"}),
    "running": Part("running scale", network={"return_scaling": "running"}),
    "layer_norm": Part("layer normalization", backbone={"normalization": "layer"}),
    "hl_gauss": Part("HL-Gauss, 51 bins", network={"heads": mtq.heads.HLGauss(-100, 100)}, compile={"loss": None}),
    "categorical": Part("C51, 51 atoms", network={"heads": mtq.heads.Categorical(-100, 100)}, compile={"loss": None}),
    "quantile": Part("51 quantiles", network={"heads": "quantile"}, compile={"loss": None}),
    "dueling": Part("dueling", network={"dueling": True}),
    "noisy": Part("noisy heads", network={"noisy": True}),
    "munchausen": Part("Munchausen targets", model={"munchausen": True}),
}


NETWORKS = ("mlp", "minatar")


@dataclasses.dataclass
class Options:
    """Settings of the benchmark."""

    networks: str = "mlp,minatar"
    """The networks, separated by commas."""
    parts: str = ",".join(PARTS)
    """The parts to measure, separated by commas. Those with which they are compared are measured too."""
    num_envs: int = 4
    """The number of copies of each task's environment, and of environment steps of each task per update."""
    batch_size: int = 32
    """The batch size of each task."""
    replay_capacity: int = 100_000
    """The capacity of each task's replay, in environment steps."""
    warmup_steps: int = 5_000
    """The number of random environment steps of each task before the first update."""
    rounds: int = 9
    """The number of rounds, in each of which every loop runs once."""
    seconds: float = 2.0
    """The approximate number of seconds for which a loop runs in one round."""
    steps_per_execution: int = 100
    """The number of updates per execution of `fit`."""


class Loop:
    """A loop of acting, storing, sampling and learning, compiled and ready to run.

    Args:
        network: The name of the network.
        part: The part in which it differs from the others.
        options: The settings of the benchmark.
    """

    def __init__(self, network: str, part: Part, options: Options) -> None:
        self._unit, self.seconds = options.steps_per_execution, []
        suite = mtq.suites.classic if network == "mlp" else mtq.suites.minatar
        tasks = suite(num_envs=options.num_envs)
        backbone = (
            mtq.networks.mlp([256, 256], **part.backbone)
            if network == "mlp"
            else mtq.networks.minatar_cnn(**part.backbone)
        )
        made = mtq.networks.shared_q_network(tasks, backbone, seed=0, **part.network)
        model = mtq.MultiTaskDQN(made, tasks, **part.model)
        settings = {"loss": "huber", "aggregator": "normalized_sum", **part.compile}
        model.compile(keras.optimizers.Adam(2.5e-4), steps_per_execution=self._unit, **settings)
        experience = mtq.Experience(
            model,
            exploration=0.1,
            warmup_steps=options.warmup_steps,
            steps_per_update=options.num_envs,
            **{"replay_capacity": options.replay_capacity, **part.experience},
        )
        self._model, self._batches = model, experience.batches(options.batch_size)
        started = time.perf_counter()
        self._fit(self._unit)
        self.first_call_seconds = time.perf_counter() - started
        self._updates = self._rounded(options.seconds / self._fit(10 * self._unit))

    def run(self) -> None:
        """Runs for one round."""
        self.seconds.append(self._fit(self._updates))

    @property
    def median(self) -> float:
        """The median over the rounds of the number of seconds per update."""
        return statistics.median(self.seconds)

    def _fit(self, updates: int) -> float:
        started = time.perf_counter()
        self._model.fit(self._batches, steps_per_epoch=updates, verbose=0)
        return (time.perf_counter() - started) / updates

    def _rounded(self, updates: float) -> int:
        return max(round(updates / self._unit), 1) * self._unit


def measure(options: Options) -> dict[str, Any]:
    """Runs the loops in turn, and prints the table.

    Args:
        options: The settings of the benchmark.

    Returns:
        The content of the last line of the program's output.
    """
    for role, text, known in (("networks", options.networks, NETWORKS), ("parts", options.parts, PARTS)):
        for name in text.split(","):
            if name not in known:
                raise SystemExit(f"{role} must be among {', '.join(known)}. Received: {name!r}.")
    names = options.parts.split(",")
    names = list(dict.fromkeys([PARTS[name].base for name in names] + names))
    results: dict[str, Any] = {}
    for network in options.networks.split(","):
        loops = {}
        for name in names:
            _say(f"compiling {network} with {PARTS[name].title} …")
            loops[name] = Loop(network, PARTS[name], options)
        for number in range(options.rounds):
            _say(f"{network}: round {number + 1} of {options.rounds}")
            for loop in loops.values():
                loop.run()
        results[network] = _results(network, loops)
    return {"networks": results, "options": dataclasses.asdict(options)}


def _results(network: str, loops: Mapping[str, Loop]) -> dict[str, Any]:
    """Prints the rows of a network, and returns their figures."""
    print(f"\n{network:28}{'µs/update':>11}{'ratio':>8}{'first call':>12}")
    figures = {}
    for name, loop in loops.items():
        pairs = zip(loop.seconds, loops[PARTS[name].base].seconds, strict=True)
        ratio = statistics.median(one / other for one, other in pairs)
        print(f"{PARTS[name].title:28}{1e6 * loop.median:>11,.0f}{ratio:>8.3f}{loop.first_call_seconds:>10.1f} s")
        figures[name] = {
            "seconds_per_update": loop.median,
            "ratio": ratio,
            "first_call_seconds": loop.first_call_seconds,
        }
    return figures


def _say(text: str) -> None:
    print(f"[{time.strftime('%H:%M:%S')}] {text}", file=sys.stderr, flush=True)


if __name__ == "__main__":
    print(json.dumps(measure(simple_parsing.parse(Options))))
