"""Batches of random numbers."""

import numpy as np
import tensorflow as tf

from mtq import value_learning as vl


def random_batch(tasks, size=8, seed=0):
    random = np.random.default_rng(seed)
    return {
        name: vl.Transition(
            tf.constant(random.normal(size=(size, *task.spec.observation_shape)), tf.float32),
            tf.constant(random.integers(task.num_actions, size=size), tf.int32),
            tf.constant(random.normal(size=size), tf.float32),
            tf.constant(random.choice([0.0, 0.9], size=size), tf.float32),
            tf.constant(random.normal(size=(size, *task.spec.observation_shape)), tf.float32),
        )
        for name, task in tasks.items()
    }
