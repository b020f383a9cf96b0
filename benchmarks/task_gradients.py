"""Measures the cost of per-task gradients and their aggregation: the step time relative to a plain summed step.

    python -m benchmarks.task_gradients

The plain step is what one would write by hand: one tape over the sum of the losses, with the same targets and the same
Adam, but without gradient norms and logs. Each shared layer is called once for all tasks or once for each, whichever is
faster. XLA compiles the step if the network is dense; its code for convolutions is slow on a CPU. The table also has
the same step with the forward pass of mtq, which XLA compiles well: relative to it, the other figures are the cost of
separating the gradients alone. All steps of a network and a number of tasks take turns, and the figures are medians
over the rounds. The whole benchmark takes about half an hour.

The last line is one JSON object.
"""

import dataclasses
import json
import statistics
import sys
import time
from collections.abc import Callable
from typing import Any

import keras
import numpy as np
import simple_parsing
import tensorflow as tf

import mtq
from mtq import value_learning as vl
from mtq.tasks.spec import TaskSpec

NETWORKS: dict[str, tuple[tuple[int, ...], Callable[[], keras.Sequential]]] = {
    "mlp": ((8,), lambda: mtq.networks.mlp([256, 256])),
    "minatar": ((10, 10, 4), mtq.networks.minatar_cnn),
    "nature": ((84, 84, 4), mtq.networks.nature_cnn),
    "mlp_layer_norm": ((8,), lambda: mtq.networks.mlp([256, 256], normalization="layer")),
    "mlp_rms_norm": ((8,), lambda: mtq.networks.mlp([256, 256], normalization="rms")),
    "minatar_layer_norm": ((10, 10, 4), lambda: mtq.networks.minatar_cnn(normalization="layer")),
    "bro_net": ((8,), lambda: mtq.networks.bro_net(256, 2)),
}
_DENSE = {"mlp", "mlp_layer_norm", "mlp_rms_norm", "bro_net"}
_BY_HAND = ("plain, joined", "plain, apart")
_WITH_OUR_FORWARD_PASS = "plain sum, our pass"
_PLAIN = (*_BY_HAND, _WITH_OUR_FORWARD_PASS)


@dataclasses.dataclass
class Options:
    """Settings of the benchmark."""

    networks: str = "mlp,minatar,nature"
    """The names of the networks, separated by commas; the names in `NETWORKS` are known."""
    tasks: str = "2,5,10,20"
    """The numbers of tasks, separated by commas."""
    aggregators: str = ",".join(mtq.aggregators.names())
    """The names of the aggregators, separated by commas."""
    batch_size: int = 32
    """The batch size of each task."""
    rounds: int = 7
    """The number of rounds, in each of which every step is measured."""
    seconds: float = 0.15
    """The approximate number of seconds for which a step is repeated in one round."""


def measure(options: Options) -> dict[str, Any]:
    """Prints a table, and returns the content of the last line of the output."""
    rows = []
    aggregators = [name for name in options.aggregators.split(",") if name]
    print(f"{'network':20}{'tasks':>6}  {'aggregator':20}{'ms':>9}{'ratio':>8}{'first call':>12}")
    for network in options.networks.split(","):
        for num_tasks in map(int, options.tasks.split(",")):
            for name, milliseconds, ratio, first in _one(network, num_tasks, aggregators, options):
                print(
                    f"{network:20}{num_tasks:>6}  {name:20}{milliseconds:>9.2f}{ratio:>8.2f}{first:>10.1f} s",
                    flush=True,
                )
                rows.append(
                    {
                        "network": network,
                        "tasks": num_tasks,
                        "aggregator": name,
                        "milliseconds": milliseconds,
                        "ratio_to_sum": ratio,
                    }
                )
    return {"rows": rows}


def _one(
    network: str, num_tasks: int, aggregators: list[str], options: Options
) -> list[tuple[str, float, float, float]]:
    loops, first = {}, {}
    for name in [*_PLAIN, *aggregators]:
        print(f"[{time.strftime('%H:%M:%S')}] {network}, {num_tasks} tasks: {name} …", file=sys.stderr, flush=True)
        loops[name], _ = make_loop(network, num_tasks, name, options.batch_size)
        started = time.perf_counter()
        loops[name](1)
        first[name] = time.perf_counter() - started
    times: dict[str, list[float]] = {name: [] for name in loops}
    repeats = dict.fromkeys(loops, 1)
    for _ in range(options.rounds + 1):  # the first only determines the number of repetitions
        for name, loop in loops.items():
            started = time.perf_counter()
            loop(repeats[name])
            seconds = (time.perf_counter() - started) / repeats[name]
            times[name].append(seconds)
            repeats[name] = max(1, round(options.seconds / seconds))
    medians = {name: statistics.median(seconds[1:]) for name, seconds in times.items()}
    by_hand = min(_BY_HAND, key=lambda name: medians[name])
    plain, order = medians[by_hand], [by_hand, _WITH_OUR_FORWARD_PASS, *aggregators]
    return [
        ("plain sum" if name == by_hand else name, 1e3 * medians[name], medians[name] / plain, first[name])
        for name in order
    ]


def make_loop(
    network: str, num_tasks: int, name: str, batch_size: int
) -> tuple[Callable[[int], float], mtq.MultiTaskDQN]:
    """Creates a function that repeats one step within one graph, always on the same batch.

    Args:
        network: The name of the network.
        num_tasks: The number of tasks T.
        name: The name of an aggregator, or of one of the plain steps.
        batch_size: The batch size of each task.

    Returns:
        A function of the number of steps, and the model that it trains.
    """
    shape, backbone = NETWORKS[network]
    tasks = mtq.TaskSet(
        [mtq.Task(f"task_{i}", None, spec=TaskSpec(shape, "float32", None, 6)) for i in range(num_tasks)]
    )
    model = mtq.MultiTaskDQN(mtq.networks.shared_q_network(tasks, backbone(), seed=0), tasks)
    aggregator = "sum" if name in _PLAIN else name
    model.compile(keras.optimizers.Adam(1e-4), loss="huber", aggregator=aggregator)
    batch = _batch(tasks, batch_size)
    model.prepare_update()  # as fit does; fit also checks the batches, which is not part of a step
    if name in _PLAIN:
        step = lambda: _plain_step(model, batch, name)  # noqa: E731
    else:
        step = lambda: model.train_step(tf.nest.map_structure(tf.convert_to_tensor, batch))["loss"]  # noqa: E731

    uses_xla = network in _DENSE if name in _BY_HAND else model.uses_xla

    @tf.function(jit_compile=uses_xla or None, autograph=False)
    def loop(times: tf.Tensor) -> tf.Tensor:
        body = lambda done, _: (done + 1, step())  # noqa: E731
        return tf.while_loop(lambda done, _: done < times, body, [tf.constant(0), tf.constant(0.0)])[1]

    return lambda times: float(loop(tf.constant(times))), model


def _plain_step(model: mtq.MultiTaskDQN, batch: dict[str, vl.Transition], way: str) -> tf.Tensor:
    transitions = tf.nest.map_structure(tf.convert_to_tensor, batch)
    variables = model.network.trainable_variables
    targets = {}
    for name, q_t in _forward(model, model.target_network, transitions, "next_observation", way).items():
        targets[name] = vl.q_targets(transitions[name].reward, transitions[name].discount, q_t)
    with tf.GradientTape() as tape:
        q_tm1 = _forward(model, model.network, transitions, "observation", way)
        losses = [
            model.td_loss.of_values(targets[name], vl.select_actions(q_tm1[name], transition.action))
            for name, transition in transitions.items()
        ]
        loss = tf.add_n(losses)
    model.optimizer.apply(tape.gradient(loss, [v.value for v in variables]), variables)
    model.updates.assign_add(1)
    model.update_target_network()
    return loss


def _forward(
    model: mtq.MultiTaskDQN, network: keras.Model, transitions: dict[str, vl.Transition], field: str, way: str
) -> dict[str, Any]:
    """Computes the action values; the networks consist only of a backbone and heads."""
    observations = {task: getattr(transition, field) for task, transition in transitions.items()}
    if way == _WITH_OUR_FORWARD_PASS:
        is_target = network is model.target_network
        return model.q_learning.outputs(observations, of_target=is_target, use_im2col=model.uses_xla)
    backbone, inputs = network.get_layer("backbone"), list(observations.values())
    if way == "plain, joined":
        features = tf.split(backbone(tf.concat(inputs, axis=0)), len(inputs))
    else:
        features = [backbone(observation) for observation in inputs]
    heads = [network.get_layer(f"{task}_q_values") for task in transitions]
    return {task: head(x) for task, head, x in zip(transitions, heads, features, strict=True)}


def _batch(tasks: mtq.TaskSet, size: int) -> dict[str, vl.Transition]:
    """Creates a batch of variables, so that no part of a step can be computed when the graph is built."""
    random = np.random.default_rng(0)

    def numbers(*shape: int) -> tf.Variable:
        return tf.Variable(random.normal(size=(size, *shape)).astype(np.float32))

    return {
        name: vl.Transition(
            numbers(*task.spec.observation_shape),
            tf.Variable(random.integers(task.num_actions, size=size).astype(np.int32)),
            numbers(),
            tf.Variable(np.full(size, 0.99, np.float32)),
            numbers(*task.spec.observation_shape),
        )
        for name, task in tasks.items()
    }


if __name__ == "__main__":
    print(json.dumps(measure(simple_parsing.parse(Options))))
