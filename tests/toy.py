"""Two regressions that share three of their weights and pull them to different places."""

import numpy as np
import tensorflow as tf

from mtq.task_gradients import TaskGradients


def summed_losses(aggregator, weigh, steps=300, learning_rate=0.02):
    """Gradient descent on two tasks.

    Args:
        aggregator: Built for two tasks and three shared numbers.
        weigh: `losses, updates, gradients` → weights.
        steps: How many.
        learning_rate: Of plain gradient descent.

    Returns:
        The sum of the two losses at every step, `[steps]`.
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

    return np.array([step(tf.constant(n, tf.int64)) for n in range(steps)])
