"""Two regressions that share three of their weights and pull them to different places."""

import numpy as np
import tensorflow as tf

from mtq.task_gradients import TaskGradients


def remaining_excess(aggregator, weigh, steps=300, learning_rate=0.02):
    """Gradient descent on two tasks.

    Args:
        aggregator: The aggregator, built for two tasks and three shared numbers.
        weigh: A function `losses, updates, gradients` → weights.
        steps: The number of steps.
        learning_rate: The learning rate of plain gradient descent.

    Returns:
        The fraction of the summed loss above its least possible value that is left in the end.
    """
    random = np.random.default_rng(0)
    inputs = tf.constant(random.normal(size=(2, 16, 3)), tf.float32)
    targets = tf.constant(np.array([[2.0], [-1.0]]) + random.normal(size=(2, 16)), tf.float32)
    shared, private = tf.Variable(tf.zeros([3])), [tf.Variable(0.0), tf.Variable(0.0)]

    @tf.function(autograph=False)
    def step(updates):
        losses, gradients = [], []
        for task in range(2):
            with tf.GradientTape() as tape:
                outputs = tf.linalg.matvec(inputs[task], shared) + private[task]
                losses.append(tf.reduce_mean(tf.square(outputs - targets[task])))
            gradients.append(tape.gradient(losses[task], [shared, *private]))
        of_tasks = TaskGradients(gradients)
        losses = tf.stack(losses)
        update = aggregator(of_tasks, weigh(losses, updates, of_tasks), updates)
        for variable, direction in zip([shared, *private], update, strict=True):
            variable.assign_sub(learning_rate * direction)
        return tf.reduce_sum(losses)

    losses = [float(step(tf.constant(n, tf.int64))) for n in range(steps)]
    least = _least_summed_loss(inputs.numpy(), targets.numpy())
    return (losses[-1] - least) / (losses[0] - least)


def _least_summed_loss(inputs, targets):
    """By least squares over the shared numbers and both tasks' own."""
    tasks, rows, _ = inputs.shape
    own = np.repeat(np.eye(tasks), rows, axis=0)
    matrix, values = np.concatenate([inputs.reshape(tasks * rows, -1), own], axis=1), targets.ravel()
    solution = np.linalg.lstsq(matrix, values, rcond=None)[0]
    return float(np.sum((matrix @ solution - values) ** 2) / rows)
