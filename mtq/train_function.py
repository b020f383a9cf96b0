"""The function that `fit` calls for every `steps_per_execution` updates."""

from collections.abc import Callable, Iterator
from typing import Any

import keras
import tensorflow as tf
from keras.src.backend.tensorflow.trainer import reduce_per_replica

Logs = dict[str, tf.Tensor]


def make_train_function(model: keras.Model) -> Callable[[Any], Logs]:
    """Makes a train function in which drawing a batch and updating the weights strictly take turns.

    Experience reads the weights that the update writes. Keras's own loop over `steps_per_execution` leaves TensorFlow
    free to draw the next batch while the update is still being written; here control dependencies forbid it, so that
    the same seed gives the same bits however many steps one execution has.

    Args:
        model: A compiled model with a `train_step`.

    Returns:
        `iterator` → logs of the last step.
    """
    strategy = model.distribute_strategy

    def step(batch: Any) -> Logs:
        return reduce_per_replica(strategy.run(model.train_step, args=(batch,)), strategy, reduction="auto")

    if not model.run_eagerly:
        step = tf.function(step, jit_compile=model.jit_compile)

    def one_by_one(iterator: Iterator[Any]) -> Logs:
        return [step(next(iterator)) for _ in range(model.steps_per_execution)][-1]

    @tf.function
    def steps(iterator: tf.data.Iterator) -> Logs:
        logs = step(iterator.get_next())

        def another(done: tf.Tensor, logs: Logs) -> tuple[tf.Tensor, Logs]:
            with tf.control_dependencies([done, *tf.nest.flatten(logs)]):
                batch = iterator.get_next()
            return done + 1, step(batch)

        if model.steps_per_execution > 1:
            _, logs = tf.while_loop(
                lambda done, _: done < model.steps_per_execution, another, [tf.constant(1), logs], parallel_iterations=1
            )
        return logs

    def train_function(iterator: Any) -> Logs:
        in_graph = isinstance(iterator, tf.data.Iterator | tf.distribute.DistributedIterator) and not model.run_eagerly
        return steps(iterator) if in_graph else one_by_one(iterator)

    return train_function


def check_steps(dataset: Any, steps_per_epoch: int | None, steps_per_execution: int) -> None:
    """Raises a ValueError unless an epoch has an end, and a whole number of executions.

    Args:
        dataset: What `fit` was given.
        steps_per_epoch: Likewise.
        steps_per_execution: What `compile` was given.
    """
    is_endless = isinstance(dataset, tf.data.Dataset) and dataset.cardinality() == tf.data.INFINITE_CARDINALITY
    if steps_per_epoch is None and is_endless:
        raise ValueError(
            "steps_per_epoch must say how many updates an epoch has, for the dataset has no end. Received: None. "
            "Pass fit steps_per_epoch=1_000, for example."
        )
    if steps_per_epoch is not None and steps_per_epoch % steps_per_execution:
        raise ValueError(
            f"steps_per_epoch must be a multiple of compile's steps_per_execution = {steps_per_execution}, for only "
            f"whole executions are run. Received: {steps_per_epoch}. Change one of them."
        )
