"""Measures the parts of the time of mtq's compiled loop, and its growth with tasks, environments and batch size.

    python -m benchmarks.where_time_goes

The parts are measured by leaving some out: a loop that only steps the environments, one that also acts, one that also
stores, one that also samples, and the whole loop. The time of a part is the difference between its loop and the loop
before. Because XLA runs independent parts in parallel, it is less than the part would take alone. The growth is
measured through `fit`, in a separate process for each setting. `docs/where_time_goes.md` has the tables.

The last line is one JSON object.
"""

import dataclasses
import json
import statistics
import sys
import time
from collections.abc import Callable
from typing import Any

import simple_parsing

from benchmarks.in_turn import Worker
from benchmarks.systems.work import Work

_PARTS = ("step", "act", "store", "sample", "learn")


@dataclasses.dataclass
class Options:
    """Settings of the benchmark."""

    tasks: tuple[int, ...] = (1, 2, 5, 10, 20)
    """The numbers of tasks, each with 4 copies of the environment and batches of 32."""
    num_envs: tuple[int, ...] = (1, 4, 16, 64)
    """The numbers of copies of each environment, with 5 tasks, batches of 32, and one update per step of the copies."""
    batch_sizes: tuple[int, ...] = (8, 32, 128)
    """The batch sizes, with 5 tasks and 4 copies of each environment."""
    rounds: int = 7
    """The number of rounds; the figures are medians over them."""
    seconds: float = 1.0
    """The approximate number of seconds of a round in the measurement of the growth."""


def split(rounds: int, updates: int = 400) -> dict[str, float]:
    """Measures the microseconds of each part in an update of five tasks.

    Args:
        rounds: The number of rounds, in each of which every loop runs once.
        updates: The number of updates in one loop.

    Returns:
        The microseconds per update, by part.
    """
    from benchmarks.systems.mtq_fit import MtqInGraph

    loops = {}
    for number, part in enumerate(_PARTS):
        system = MtqInGraph(Work())
        system.experience.prepare()
        loops[part] = _loop(system, set(_PARTS[: number + 1]), updates)
        loops[part]()
    taken: dict[str, list[float]] = {part: [] for part in _PARTS}
    for _ in range(rounds):
        for part, loop in loops.items():
            started = time.perf_counter()
            float(loop())
            taken[part].append((time.perf_counter() - started) / updates * 1e6)
    cumulative = [statistics.median(taken[part]) for part in _PARTS]
    return {part: total - before for part, total, before in zip(_PARTS, cumulative, [0.0, *cumulative], strict=False)}


def _loop(system: Any, parts: set[str], updates: int) -> Callable[[], Any]:
    """Returns a compiled loop of some parts of an update. It sums their results, so that XLA removes none of them."""
    import tensorflow as tf

    from mtq.experience.driver import run_together

    experience = system.experience
    drivers = list(experience.replicas[0].drivers.values())
    if "store" not in parts:
        for driver in drivers:
            driver._observers = []
    actions = tf.Variable(tf.zeros([system.work.num_envs], tf.int32))

    def update() -> list[tf.Tensor]:
        if "act" in parts:
            run_together(drivers)
        else:
            stepped = [driver.env.step_and_restart(tf.convert_to_tensor(actions)) for driver in drivers]
            return [current.observation for _, current in stepped]
        batch = experience.replicas[0].sample(system.work.batch_size).batch
        if "learn" in parts:
            system.model.train_step(batch)
        return tf.nest.flatten(batch) if "sample" in parts else [drivers[-1].read().observation]

    @tf.function(autograph=False, jit_compile=True)
    def loop() -> tf.Tensor:
        def body(done: tf.Tensor, total: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
            return done + 1, total + tf.add_n([tf.reduce_sum(tf.cast(tensor, tf.float32)) for tensor in update()])

        return tf.while_loop(lambda done, _: done < updates, body, [tf.constant(0), tf.constant(0.0)])[1]

    return loop


def growth(options: Options) -> list[dict[str, float]]:
    """Returns a row for each setting: the time of an update, the speed, the time of the first call, the memory."""
    settings = [Work(tasks=tasks) for tasks in options.tasks]
    settings += [Work(num_envs=num_envs) for num_envs in options.num_envs if num_envs != 4]
    settings += [Work(batch_size=size) for size in options.batch_sizes if size != 32]
    rows = []
    for work in settings:
        print(f"[{time.strftime('%H:%M:%S')}] {work}", file=sys.stderr, flush=True)
        worker = Worker("mtq_in_graph", work, sys.executable)
        for _ in range(options.rounds):
            worker.run(options.seconds)
        worker.close()
        rows.append(
            {
                "tasks": work.tasks,
                "num_envs": work.num_envs,
                "batch_size": work.batch_size,
                "microseconds_per_update": 1e6 / worker.median("updates"),
                "env_steps_per_second": worker.median("env_steps"),
                "first_call_seconds": worker.first["first_call_seconds"],
                "peak_gib": worker.rounds[-1]["peak_gib"],
            }
        )
    return rows


def main(options: Options) -> dict[str, Any]:
    """Measures the parts and the growth, and prints them as Markdown tables."""
    parts = split(options.rounds)
    print("| part | µs per update | share |\n|---|---|---|")
    for part, microseconds in parts.items():
        print(f"| {part} | {microseconds:.0f} | {microseconds / sum(parts.values()):.0%} |")
    print(f"| all | {sum(parts.values()):.0f} | |\n")
    rows = growth(options)
    print(
        "| tasks | environments | batch | µs per update | steps/s | first call | GiB |\n|---|---|---|---|---|---|---|"
    )
    for row in rows:
        print(
            f"| {row['tasks']} | {row['num_envs']} | {row['batch_size']} | {row['microseconds_per_update']:,.0f} | "
            f"{row['env_steps_per_second']:,.0f} | {row['first_call_seconds']:.0f} s | {row['peak_gib']:.2f} |"
        )
    return {"microseconds": parts, "rows": rows}


if __name__ == "__main__":
    print(json.dumps(main(simple_parsing.parse(Options))))
