"""Measures the cost of sampling the tasks' gradients during the training.

    python -m benchmarks.telemetry

Two models take turns in learning the classic suite of in-graph tasks: one with `mtq.callbacks.GradientTelemetry` at its
default period, one without. The figures are medians over the rounds. The last line is one JSON object.
"""

import dataclasses
import json
import statistics
import sys
import tempfile
import time
from collections.abc import Callable

import keras
import simple_parsing

import mtq


@dataclasses.dataclass
class Options:
    """Settings of the benchmark."""

    rounds: int = 9
    """The number of rounds, in each of which both models train."""
    updates: int = 10_000
    """The number of updates of each model in a round."""
    epochs: int = 5
    """The number of epochs into which the updates of a round are divided; the callback writes after each epoch."""
    update_freq: int = 100
    """The number of updates from one sample to the next."""


def measure(options: Options) -> dict[str, float]:
    """Prints the figures, and returns them."""
    with tempfile.TemporaryDirectory() as directory:
        telemetry = mtq.callbacks.GradientTelemetry(directory, update_freq=options.update_freq)
        arms = {"without": _trainer([], options), "with": _trainer([telemetry], options)}
        seconds: dict[str, list[float]] = {name: [] for name in arms}
        for train in arms.values():  # traces and compiles
            train()
        for number in range(options.rounds):
            print(f"[{time.strftime('%H:%M:%S')}] round {number + 1} of {options.rounds}", file=sys.stderr, flush=True)
            for name, train in arms.items():
                started = time.perf_counter()
                train()
                seconds[name].append(time.perf_counter() - started)
    medians = {f"{name}_seconds": statistics.median(times) for name, times in seconds.items()}
    figures = {**medians, "cost": medians["with_seconds"] / medians["without_seconds"] - 1}
    print(f"{options.updates:,} updates without samples: {figures['without_seconds']:.2f} s")
    print(f"with a sample every {options.update_freq} updates: {figures['with_seconds']:.2f} s, {figures['cost']:+.1%}")
    return figures


def _trainer(callbacks: list[keras.callbacks.Callback], options: Options) -> Callable[[], None]:
    tasks = mtq.suites.classic(num_envs=4)
    model = mtq.MultiTaskDQN(mtq.networks.shared_q_network(tasks, mtq.networks.mlp([128, 128]), seed=0), tasks)
    model.compile("adam", steps_per_execution=100)
    dataset = mtq.Experience(model, warmup_steps=200).dataset(32)
    steps = options.updates // options.epochs

    def train() -> None:
        model.fit(dataset, steps_per_epoch=steps, epochs=options.epochs, verbose=0, callbacks=list(callbacks))

    return train


if __name__ == "__main__":
    print(json.dumps(measure(simple_parsing.parse(Options))))
