"""The model that Keras trains by its own `train_step`, to compare with: a network and the sum of the tasks' losses."""

import keras
import numpy as np

import mtq
from tests.batches import random_batch
from tests.network_cases import task_set

layers = keras.layers


class PlainKeras(keras.Model):
    """`{task: observation}`, `{task: (action, target)}` → mean squared errors of the chosen actions' values, summed.

    Only `compute_loss` is written out, with what Keras's own adds to a loss.
    """

    def __init__(self, network):
        super().__init__()
        self.network = network

    def call(self, inputs, training=False):
        return self.network(inputs, training=training)

    def compute_loss(self, x=None, y=None, y_pred=None, sample_weight=None, training=True):
        losses = []
        for name, (action, target) in y.items():
            chosen = keras.ops.take_along_axis(y_pred[name], action[:, None], axis=1)[:, 0]
            losses.append(keras.ops.mean(keras.ops.square(target - keras.ops.cast(chosen, "float32"))))
        return sum(losses) + sum(
            keras.ops.cast(self._aggregate_additional_loss(loss), "float32") for loss in self.losses
        )


def pair(tasks, make_backbone, make_optimizer, make_encoders=lambda: None, **options):
    """A `MultiTaskDQN` and the same in plain Keras, each with its own network of the same weights."""
    networks = []
    for _ in range(2):
        networks.append(mtq.networks.shared_q_network(tasks, make_backbone(), make_encoders(), seed=0))
    networks[1].set_weights(networks[0].get_weights())
    model, plain = mtq.MultiTaskDQN(networks[0], tasks), PlainKeras(networks[1])
    settings = {"aggregator": "sum", "run_eagerly": True, "jit_compile": False, **options}
    model.compile(make_optimizer(), **settings)
    kept = {name: settings[name] for name in ("run_eagerly", "auto_scale_loss") if name in settings}
    plain.compile(make_optimizer(), jit_compile=False, **kept)
    return model, plain


def train_both(model, plain, steps=4, scale=1.0):
    """Trains both on the same batches; returns the logged losses of both, `[steps]` each."""
    logs, plain_logs = [], []
    for seed in range(steps):
        batch = random_batch(model.tasks, 8, seed)
        batch = {name: row._replace(reward=row.reward * scale) for name, row in batch.items()}
        targets = model.q_learning.targets(batch)
        x = {name: row.observation for name, row in batch.items()}
        y = {name: (row.action, targets[name].value) for name, row in batch.items()}
        logs.append(model.train_on_batch(batch, return_dict=True)["loss"])
        plain_logs.append(plain.train_on_batch(x, y, return_dict=True)["loss"])
    return np.array(logs), np.array(plain_logs)


def assert_same_weights(model, plain, rtol=1e-5, atol=1e-6):
    for one, other in zip(model.network.trainable_variables, plain.network.trainable_variables, strict=True):
        np.testing.assert_allclose(one.numpy(), other.numpy(), rtol=rtol, atol=atol, err_msg=one.path)


def two_vectors():
    return task_set([(3,), (3,)], [2, 2])
