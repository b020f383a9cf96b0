"""A program that `check_numerics_test` runs: everything under `tf.debugging.enable_check_numerics`."""

import sys
import tempfile
from pathlib import Path

import keras
import numpy as np
import tensorflow as tf

import mtq
from mtq.task_gradients import TaskGradients

ROWS = {
    "ordinary": [[1.0, 2.0, -1.0, 0.5], [0.5, -2.0, 1.0, 3.0], [2.0, 0.1, 0.3, -1.0]],
    "a zero gradient": [[1.0, 2.0, -1.0, 0.5], [0.0, 0.0, 0.0, 0.0], [2.0, 0.1, 0.3, -1.0]],
    "no gradient": [[0.0] * 4] * 3,
    "equal": [[1.0, 2.0, -1.0, 0.5]] * 3,
    "opposite": [[1.0, 2.0, -1.0, 0.5], [-1.0, -2.0, 1.0, -0.5], [2.0, 0.1, 0.3, -1.0]],
    "of unequal lengths": [[1e-7, 2e-7, -1e-7, 0.0], [0.5, -2.0, 1.0, 3.0], [2e3, 1e2, 3e2, -1e3]],
}


def make_tasks():
    return mtq.TaskSet(
        [
            mtq.Task("catch", mtq.dynamics.Catch(), reference_return=1.0),
            mtq.Task("chain", mtq.dynamics.Chain(), reference_return=1.0),
        ]
    )


def aggregate():
    """Every aggregator on every kind of gradients."""
    for name in mtq.aggregators.names():
        aggregator = mtq.aggregators.get(name)
        aggregator.build(3, 4)

        @tf.function(autograph=False)
        def update(rows, aggregator=aggregator):
            return aggregator(TaskGradients([[row] for row in tf.unstack(rows)]), tf.ones(3), 0)[0]

        for kind, rows in ROWS.items():
            try:
                assert np.isfinite(update(tf.constant(rows))).all()
            except tf.errors.InvalidArgumentError as error:
                raise SystemExit(f"{name}, {kind}: {error}") from error


def train(pairs, updates=4):
    """A few updates, evaluations and callbacks with each aggregator and weighting."""
    for aggregator, weighting in pairs:
        tasks = make_tasks()
        model = mtq.MultiTaskDQN(mtq.networks.shared_q_network(tasks, mtq.networks.mlp([8]), seed=0), tasks)
        model.compile("adam", aggregator=aggregator, loss_weights=weighting, steps_per_execution=updates)
        exploration = mtq.exploration.linear(1.0, 0.1, 2 * updates)
        experience = mtq.Experience(tasks, model, warmup_steps=20, exploration=exploration)
        with tempfile.TemporaryDirectory() as folder:
            callbacks = [
                mtq.callbacks.TrainingReturns(experience),
                mtq.callbacks.EvaluateTasks(episodes=2),
                mtq.callbacks.GradientTelemetry(Path(folder)),
                mtq.callbacks.StopOnNonFiniteLoss(),
                keras.callbacks.CSVLogger(Path(folder) / "log.csv"),
            ]
            try:
                model.fit(experience.dataset(8), epochs=3, steps_per_epoch=updates, verbose=0, callbacks=callbacks)
            except tf.errors.InvalidArgumentError as error:
                raise SystemExit(f"{aggregator}, {weighting}: {error}") from error
        assert all(np.isfinite(variable.numpy()).all() for variable in model.network.variables)


def is_alarm_raised():
    """Whether the checks are on; otherwise their silence proves nothing."""
    try:
        tf.math.log(tf.constant(0.0))
    except tf.errors.InvalidArgumentError:
        return True
    return False


if __name__ == "__main__":
    tf.debugging.enable_check_numerics()
    aggregate()
    if sys.argv[1] == "everything":
        train([(name, None) for name in mtq.aggregators.names()] + [("sum", name) for name in mtq.weightings.names()])
    else:
        train([("cagrad", "return_progress")])
    assert is_alarm_raised()
    print("no false alarm")
