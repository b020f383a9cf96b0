"""Layers are in training mode when losses are computed, and not in acting, evaluation, targets and the export."""

import keras
import numpy as np
import pytest
import tensorflow as tf

import mtq
from mtq.evaluation.evaluator import Evaluator, greedy_policy, in_inference
from mtq.evaluation.step_evaluator import StepEvaluator
from mtq.export import check_exportable
from mtq.tasks.spec import TaskSpec
from tests.batches import random_batch
from tests.stateful_layers import RANDOM
from tests.toy_environments import Corridor

layers = keras.layers
seen = []


@keras.saving.register_keras_serializable("inference_mode_test")
class Spy(layers.Layer):
    """Notes in which mode it is called. Like Keras's image augmentation, it is in training mode unless told."""

    def call(self, x, training=True):
        seen.append(training)
        return x


@keras.saving.register_keras_serializable("inference_mode_test")
class SpyWithoutDefault(Spy):
    """As most layers: in training mode if told."""

    def call(self, x, training=None):
        seen.append(bool(training))
        return x


@pytest.fixture(params=[Spy, SpyWithoutDefault])
def model(request):
    tasks = mtq.TaskSet([mtq.Task("chain", "in_graph/Chain"), mtq.Task("corridor", Corridor)])
    backbone = keras.Sequential([layers.Dense(4), request.param()])
    encoders = {"chain": layers.Dense(3), "corridor": keras.Sequential([layers.Dense(3), request.param()])}
    model = mtq.MultiTaskDQN(mtq.networks.shared_q_network(tasks, backbone, encoders), tasks, double=True)
    model.compile("sgd", jit_compile=False)
    return model


def act(model, tmp_path):
    experience = mtq.Experience(model.tasks, model, warmup_steps=4)
    next(iter(experience.dataset(2)))


def evaluate(model, tmp_path):
    Evaluator(model, episodes=1, max_steps=3).greedy()


def evaluate_steps(model, tmp_path):
    StepEvaluator(model, steps=3).greedy()


def export(model, tmp_path):
    check_exportable(model)  # traces the signatures


def predict(model, tmp_path):
    model.predict({name: np.zeros((2, *task.spec.observation_shape)) for name, task in model.tasks.items()}, verbose=0)


def bootstrap(model, tmp_path):
    model.q_learning.targets(random_batch(model.tasks))


def call_the_target(model, tmp_path):
    batch = random_batch(model.tasks)
    model.target_network({name: row.observation for name, row in batch.items()})
    for name, path in model.target_paths.items():
        path(batch[name].observation)


@pytest.mark.parametrize("use", [act, evaluate, evaluate_steps, export, predict, bootstrap, call_the_target])
def test_nothing_but_the_losses_is_computed_in_training_mode(model, use, tmp_path):
    seen.clear()
    use(model, tmp_path)
    assert len(seen) > 1
    assert not any(seen)


def test_the_losses_are_computed_in_training_mode(model):
    seen.clear()
    model.train_step(random_batch(model.tasks))
    of_training = 3  # the backbone's for each task, and the encoder's of one
    assert seen.count(True) == of_training
    assert seen.count(False) == 2 * of_training  # the target network's, and those that Double DQN selects by


QUICK = {"RandomFlip", "RandomCrop", "GaussianNoise", "Dropout", "RandomRotation"}


@pytest.mark.parametrize("name", [pytest.param(n, marks=() if n in QUICK else pytest.mark.slow) for n in RANDOM])
def test_random_layers_are_off(name, tmp_path):
    make, shape = RANDOM[name]
    tasks = mtq.TaskSet([mtq.Task("a", None, spec=TaskSpec(shape, "float32", None, 3))])
    backbone = keras.Sequential([make(), layers.Flatten()])
    model = mtq.MultiTaskDQN(mtq.networks.shared_q_network(tasks, backbone, seed=0), tasks)
    x = tf.constant(np.random.default_rng(0).random((64, *shape)), tf.float32)
    expected = model.network({"a": x}, training=False)["a"]
    model.export(tmp_path / "export")
    served = tf.saved_model.load(str(tmp_path / "export")).signatures["a"](observation=x)
    batch = {"a": mtq.Transition(x, tf.zeros(64, tf.int32), tf.zeros(64), tf.ones(64), x)}
    for _ in range(2):
        np.testing.assert_allclose(in_inference(model.paths["a"])(x), expected, rtol=1e-5, atol=1e-6)
        np.testing.assert_allclose(served["q_values"], expected, rtol=1e-5, atol=1e-6)
        targets = model.q_learning.targets(batch)["a"].value
        np.testing.assert_allclose(targets, tf.reduce_max(expected, axis=1), rtol=1e-5, atol=1e-6)
        actions = greedy_policy(in_inference(model.paths["a"]))(x)
        np.testing.assert_array_equal(actions, tf.argmax(expected, axis=1))
