"""Everything that Keras's trainer can be asked for: done, or refused by name with the remedy."""

import inspect

import keras
import numpy as np
import pytest
import tensorflow as tf
from keras.src.backend.tensorflow.trainer import TensorFlowTrainer
from keras.src.trainers.trainer import Trainer

import mtq
from tests.batches import random_batch
from tests.plain_keras import layers, two_vectors

DONE, REFUSED = "done", "refused"
# Each argument of each method. What is done is tested in the file that is named, or below; what is refused, below.
ARGUMENTS = {
    "compile": {
        "optimizer": DONE,  # keras_step_test
        "loss": DONE,  # td_losses, model_test
        "loss_weights": DONE,  # weightings_test
        "metrics": REFUSED,
        "weighted_metrics": REFUSED,
        "run_eagerly": DONE,  # keras_step_test runs so
        "steps_per_execution": DONE,  # model_test
        "jit_compile": DONE,  # model_test
        "auto_scale_loss": DONE,  # loss_scale_test
    },
    "fit": {
        "x": DONE,
        "y": REFUSED,
        "batch_size": REFUSED,
        "epochs": DONE,
        "verbose": DONE,
        "callbacks": DONE,
        "validation_split": REFUSED,
        "validation_data": DONE,  # evaluate_test
        "shuffle": REFUSED,
        "class_weight": REFUSED,
        "sample_weight": REFUSED,
        "initial_epoch": DONE,
        "steps_per_epoch": DONE,
        "validation_steps": DONE,  # evaluate_test
        "validation_batch_size": REFUSED,
        "validation_freq": DONE,  # evaluate_test
    },
    "train_on_batch": {
        "x": DONE,
        "y": REFUSED,
        "sample_weight": REFUSED,
        "class_weight": REFUSED,
        "return_dict": DONE,
    },
    "evaluate": {  # evaluate_test
        "x": DONE,
        "y": REFUSED,
        "batch_size": DONE,
        "verbose": DONE,
        "sample_weight": REFUSED,
        "steps": DONE,
        "callbacks": DONE,
        "return_dict": DONE,
        "kwargs": "of Keras alone",
    },
    "test_on_batch": {"x": DONE, "y": REFUSED, "sample_weight": REFUSED, "return_dict": DONE},
    "predict": {"x": DONE, "batch_size": DONE, "verbose": DONE, "steps": DONE, "callbacks": DONE},
    "predict_on_batch": {"x": DONE},
}
# Each public name of the trainer.
NAMES = {
    **dict.fromkeys(ARGUMENTS, DONE),
    **dict.fromkeys(("compute_loss", "compute_metrics"), REFUSED),
    **dict.fromkeys(("test_step", "make_test_function"), DONE),
    **dict.fromkeys(("train_step", "predict_step", "get_compile_config", "compile_from_config"), DONE),
    **dict.fromkeys(("metrics", "metrics_names", "reset_metrics", "get_metrics_result"), DONE),
    **dict.fromkeys(("run_eagerly", "jit_compile", "make_train_function", "make_predict_function"), DONE),
    **dict.fromkeys(("distribute_strategy", "distribute_reduction_method"), DONE),  # tests/distribution
    "stateless_compute_loss": "of JAX alone",
    **dict.fromkeys(("loss", "compiled_loss", "compiled_metrics"), "deprecated in Keras; end in compute_loss"),
}


@pytest.fixture(scope="module")
def model():
    tasks = two_vectors()
    model = mtq.MultiTaskDQN(mtq.networks.shared_q_network(tasks, mtq.networks.mlp([4]), seed=0), tasks)
    model.compile(keras.optimizers.SGD(0.1), run_eagerly=True)
    return model


def dataset(tasks, n=4):
    return tf.data.Dataset.from_tensors(random_batch(tasks)).repeat(n)


@pytest.mark.parametrize("method", ARGUMENTS)
def test_every_argument_is_listed(method):
    assert set(ARGUMENTS[method]) == set(inspect.signature(getattr(keras.Model, method)).parameters) - {"self"}


def test_every_method_is_listed():
    public = {name for kind in (Trainer, TensorFlowTrainer) for name in vars(kind) if not name.startswith("_")}
    assert public == set(NAMES)


VALUES = {
    "metrics": ["mae"],
    "weighted_metrics": ["mae"],
    "y": np.zeros(8),
    "batch_size": 8,
    "validation_split": 0.1,
    "shuffle": True,
    "class_weight": {0: 2.0},
    "sample_weight": np.ones(8),
    "validation_batch_size": 8,
}
REMEDIES = {
    "validation_split": "EvaluateTasks",
    "metrics": "callback",
    "class_weight": "loss_weights",
    "y": "Transition",
}


@pytest.mark.parametrize(
    ("method", "name"),
    [(method, name) for method, of in ARGUMENTS.items() for name, state in of.items() if state == REFUSED],
)
def test_refused_arguments_are_named_before_anything_is_done(model, method, name):
    data, batch = dataset(model.tasks), random_batch(model.tasks)
    first = {"compile": "sgd", "fit": data, "evaluate": data, "train_on_batch": batch, "test_on_batch": batch}[method]
    before, value = [w.copy() for w in model.network.get_weights()], VALUES.get(name)
    with pytest.raises(ValueError, match=rf"^{name} of {method} must be .*\. Received: .*\. ") as caught:
        getattr(model, method)(first, **{name: value})
    for part, remedy in REMEDIES.items():
        if part == name or (part in name and len(part) > 1):
            assert remedy in str(caught.value)
    for one, other in zip(before, model.network.get_weights(), strict=True):
        np.testing.assert_array_equal(one, other)


def test_arguments_of_fit_by_place(model):
    with pytest.raises(ValueError, match=r"^y of fit"):
        model.fit(dataset(model.tasks), np.zeros(8))
    assert len(model.fit(dataset(model.tasks), None, None, 2, 0, steps_per_epoch=2).epoch) == 2
    with pytest.raises(TypeError, match=r"unexpected keyword argument 'validation'"):
        model.fit(dataset(model.tasks), validation=1)
    with pytest.raises(TypeError, match=r"unexpected keyword argument 'learning_rate'"):
        model.compile("sgd", learning_rate=0.1)


def test_what_is_given_as_keras_gives_it_by_default_is_no_request(model):
    defaults = {name: p.default for name, p in inspect.signature(keras.Model.fit).parameters.items()}
    defaults = {name: defaults[name] for name in ARGUMENTS["fit"] if name not in ("x", "shuffle", "verbose")}
    model.fit(dataset(model.tasks, 2), **{**defaults, "verbose": 0, "shuffle": False})
    model.compile(keras.optimizers.SGD(0.1), metrics=[], weighted_metrics=None, run_eagerly=True)


@pytest.mark.parametrize("name", [name for name, state in NAMES.items() if state == REFUSED])
def test_refused_methods(model, name):
    with pytest.raises(ValueError, match=f"^{name} of a MultiTaskDQN must not be called"):
        getattr(model, name)(dataset(model.tasks))


@pytest.mark.parametrize("data", ["y", "sample_weight"])
def test_what_comes_beside_a_batch_in_a_dataset(model, data):
    batch = random_batch(model.tasks)
    beside = (batch, tf.zeros(8)) if data == "y" else (batch, None, tf.zeros(8))
    with pytest.raises(ValueError, match=f"^{data} of a batch must be None"):
        model.fit((beside for _ in range(2)), steps_per_epoch=2, verbose=0)


def test_predict_is_calling(model):
    x = {name: np.random.default_rng(0).normal(size=(10, 3)).astype(np.float32) for name in model.tasks}
    expected = model(x)
    for predicted in (model.predict(x, batch_size=4, verbose=0), model.predict_on_batch(x)):
        for name in model.tasks:
            np.testing.assert_allclose(predicted[name], expected[name], rtol=1e-5, atol=1e-6)


def test_predict_of_transitions(model):
    with pytest.raises(ValueError, match=r"^x of predict must be \{task: observations\}.*with transitions"):
        model.predict(dataset(model.tasks), verbose=0)


def test_names_go_with_the_list_of_train_on_batch(model):
    batch = random_batch(model.tasks)
    kept = model.get_weights()
    by_name = model.train_on_batch(batch, return_dict=True)
    model.set_weights(kept)
    assert dict(zip(model.metrics_names, model.train_on_batch(batch), strict=True)) == pytest.approx(by_name)


def test_train_on_batch_is_one_step_whatever_an_execution_is(model):
    model.compile(keras.optimizers.SGD(0.1), steps_per_execution=5, run_eagerly=True)
    before = int(model.updates.numpy())
    model.train_on_batch(random_batch(model.tasks))
    assert int(model.updates.numpy()) == before + 1
    model.compile(keras.optimizers.SGD(0.1), run_eagerly=True)


def test_stop_training_and_initial_epoch(model):
    class Stops(keras.callbacks.Callback):
        def on_train_batch_end(self, batch, logs=None):
            self.model.stop_training = batch == 1

    before = int(model.updates.numpy())
    history = model.fit(dataset(model.tasks), initial_epoch=3, epochs=9, verbose=0, callbacks=[Stops()])
    assert history.epoch == [3]
    assert int(model.updates.numpy()) == before + 2


@pytest.mark.parametrize("steps", [0, -1, 1.5, "auto", None, True])
def test_steps_per_execution(model, steps):
    with pytest.raises(ValueError, match=r"^steps_per_execution must be an integer of at least 1. Received"):
        model.compile("sgd", steps_per_execution=steps)


@keras.saving.register_keras_serializable("keras_trainer_test")
class WithMetric(layers.Layer):
    def __init__(self, **kwargs):
        super().__init__(**kwargs)
        self.seen = keras.metrics.Mean(name="seen")

    def call(self, x):
        self.seen.update_state(x)
        return x


def test_metrics_of_layers():
    tasks = two_vectors()
    model = mtq.MultiTaskDQN(mtq.networks.shared_q_network(tasks, keras.Sequential([WithMetric()]), seed=0), tasks)
    with pytest.raises(ValueError, match=r"^Layer 'with_metric.*' must have no metrics. Received: \['seen'\]"):
        model.compile("sgd")


class OwnLoss(mtq.MultiTaskDQN):
    def compute_loss(self, *args, **kwargs):
        return tf.constant(0.0)


class OwnStep(OwnLoss):
    """Counts what it trains on."""

    def __init__(self, *args, **kwargs):
        super().__init__(*args, **kwargs)
        self.rows = keras.metrics.Sum(name="rows")

    def train_step(self, batch):
        logs = super().train_step(batch)
        self.rows.update_state(8.0)
        return {**logs, "rows": self.rows.result()}


def test_subclasses():
    tasks = two_vectors()
    make = lambda kind: kind(mtq.networks.shared_q_network(tasks, mtq.networks.mlp([4])), tasks)  # noqa: E731
    with pytest.raises(ValueError, match=r"^OwnLoss.compute_loss must not be overridden unless train_step is"):
        make(OwnLoss).compile("sgd")
    own = make(OwnStep)
    own.compile("sgd", run_eagerly=True)
    history = own.fit(dataset(tasks), steps_per_epoch=2, epochs=2, verbose=0).history
    assert history["rows"] == [16.0, 16.0]


def test_frozen_after_compile():
    tasks = two_vectors()
    backbone = keras.Sequential([layers.Dense(4, name="first"), layers.Dense(4, name="second")])
    model = mtq.MultiTaskDQN(mtq.networks.shared_q_network(tasks, backbone, seed=0), tasks)
    optimizer = keras.optimizers.Adam(0.1)
    model.compile(optimizer, run_eagerly=True)
    batch, layer = random_batch(tasks), next(x for x in model.network._flatten_layers() if x.name == "first")
    model.train_on_batch(batch)
    layer.trainable = False
    with pytest.raises(ValueError, match=r"must be those that it was compiled with.*frozen since:.*first/kernel"):
        model.train_on_batch(batch)
    with pytest.raises(ValueError, match=r"frozen since:.*Call compile again"):
        model.fit(dataset(tasks), steps_per_epoch=2, verbose=0)
    model.compile(optimizer, run_eagerly=True)
    kept = layer.get_weights()
    model.train_on_batch(batch)
    np.testing.assert_array_equal(kept[0], layer.get_weights()[0])
    layer.trainable = True
    with pytest.raises(ValueError, match=r"freed since:.*first/kernel"):
        model.train_on_batch(batch)
    layer.trainable = False

    class Thaws(keras.callbacks.Callback):
        def on_epoch_end(self, epoch, logs=None):
            layer.trainable = True

    with pytest.raises(ValueError, match=r"freed since:"):
        model.fit(dataset(tasks), epochs=2, steps_per_epoch=2, verbose=0, callbacks=[Thaws()])
    model.network.trainable = False
    with pytest.raises(ValueError, match=r"must have trainable weights"):
        model.compile("sgd")


def test_an_optimizer_goes_on_and_trains_one_model():
    tasks = two_vectors()
    make = lambda: mtq.MultiTaskDQN(mtq.networks.shared_q_network(tasks, mtq.networks.mlp([4])), tasks)  # noqa: E731
    optimizer, model = keras.optimizers.Adam(0.1), make()
    model.compile(optimizer, run_eagerly=True)
    model.train_on_batch(random_batch(tasks))
    remembered = [v.numpy() for v in optimizer.variables]
    model.compile(optimizer, run_eagerly=True)
    for one, other in zip(remembered, optimizer.variables, strict=True):
        np.testing.assert_array_equal(one, other.numpy())
    with pytest.raises(ValueError, match=r"^The optimizer must be new, .*Received: Adam 'adam.*', built for others"):
        make().compile(optimizer)
    with pytest.raises(ValueError, match=r"^optimizer must be an optimizer of Keras.*Received: None"):
        make().compile(None)
