"""What a saved file could not hold is told before the training, not after it."""

import random

import keras
import pytest
import tensorflow as tf
from keras.src.saving.serialization_lib import SafeModeScope

import mtq
from mtq.storage.saving import check_saveable
from mtq.tasks.spec import TaskSpec
from tests.batches import random_batch

LAYERS, SAVING = keras.layers, "(?s).*must be serializable.*{}.*register_keras_serializable"


class Times(LAYERS.Layer):
    def call(self, inputs):
        return inputs * 3.0


class Wide(LAYERS.Layer):
    """Its config leaves out how wide it is."""

    def __init__(self, units=2, **kwargs):
        super().__init__(**kwargs)
        self.units = units

    def get_config(self):
        return {"name": self.name}

    def build(self, input_shape):
        self.kernel = self.add_weight(shape=(input_shape[-1], self.units))

    def call(self, inputs):
        return inputs @ self.kernel


class NoConfig(LAYERS.Layer):
    def __init__(self, factor, **kwargs):
        super().__init__(**kwargs)
        self.factor = lambda inputs: factor * inputs

    def call(self, inputs):
        return self.factor(inputs)


class OwnSGD(keras.optimizers.SGD):
    pass


class OwnSum(mtq.aggregators.Sum):
    pass


class OwnModel(mtq.MultiTaskDQN):
    pass


def double(inputs):
    return 2.0 * inputs


def difference(targets, values):
    return keras.ops.mean(keras.ops.abs(targets - values))


OWN = {kind.__name__: kind for kind in (Times, Wide, NoConfig, double)}
BACKBONES = {
    "times": lambda: keras.Sequential([LAYERS.Dense(4), Times(name="times")]),
    "inner": lambda: keras.Sequential([keras.Sequential([LAYERS.Dense(4), Times(name="inner")]), LAYERS.Dense(4)]),
    "act": lambda: keras.Sequential([LAYERS.Dense(4, activation=double, name="act")]),
    "wide": lambda: keras.Sequential([Wide(5, name="wide"), LAYERS.Dense(4)]),
    "lambda_": lambda: keras.Sequential([LAYERS.Dense(4), LAYERS.Lambda(lambda x: 2 * x, name="lambda_")]),
}


def model_of(backbone=None, kind=mtq.MultiTaskDQN, **options):
    tasks = mtq.TaskSet([mtq.Task(name, None, spec=TaskSpec((3,), "float32", None, 2)) for name in "ab"])
    backbone = mtq.networks.mlp([4]) if backbone is None else backbone
    model = kind(mtq.networks.shared_q_network(tasks, backbone), tasks)
    model.compile(**{"optimizer": "sgd", "jit_compile": False, **options})
    return model


@pytest.fixture
def fit():
    def run(model, callback):
        batches = tf.data.Dataset.from_tensors(random_batch(model.tasks)).repeat()
        return model.fit(batches, steps_per_epoch=1, verbose=0, callbacks=[callback])

    return run


@pytest.mark.parametrize("layer", BACKBONES)
def test_a_layer_that_cannot_be_loaded_is_named(layer):
    with SafeModeScope(False), keras.saving.custom_object_scope(OWN), pytest.MonkeyPatch.context() as patched:
        patched.setattr(Wide, "get_config", lambda self: {"name": self.name, "units": self.units})
        model = model_of(BACKBONES[layer]())  # which may clone layers by their configs
    known = OWN if layer in ("wide", "lambda_") else {}
    named = pytest.raises(ValueError, match=SAVING.format("").replace("(?s)", f"(?s)^The layer '{layer}' of"))
    with keras.saving.custom_object_scope(known), named:
        check_saveable(model)


@pytest.mark.parametrize(
    ("role", "options"),
    [
        ("optimizer", {"optimizer": OwnSGD(0.1)}),
        ("loss", {"loss": difference}),
        ("loss", {"loss": lambda targets, values: keras.ops.mean(targets - values)}),
        ("aggregator", {"aggregator": OwnSum()}),
        ("class", {"kind": OwnModel}),
    ],
)
def test_a_part_that_cannot_be_loaded_is_named(role, options):
    with pytest.raises(ValueError, match=SAVING.format("").replace("(?s)", f"(?s){role}.*")):
        check_saveable(model_of(**options))


@pytest.mark.parametrize("what", ["best", "keras"])
def test_it_is_told_where_a_save_is_asked_for_and_nowhere_else(what, fit, tmp_path):
    model = model_of(loss=difference)
    path = str(tmp_path / "model.keras")
    if what == "best":
        saving = mtq.callbacks.BestCheckpoint(path, monitor="loss")
    else:
        saving = keras.callbacks.ModelCheckpoint(path)
    with pytest.raises(ValueError, match=SAVING.format("difference")):
        fit(model, saving)
    assert int(model.updates) == 0
    fit(model, keras.callbacks.ModelCheckpoint(str(tmp_path / "model.weights.h5"), save_weights_only=True))
    with keras.saving.custom_object_scope({"difference": difference}):
        fit(model, saving)
        assert keras.models.load_model(path).td_loss.loss is not None


class Hosted(LAYERS.Layer):
    """Computes in Python, which training can do and an export cannot."""

    def call(self, inputs):
        return tf.ensure_shape(tf.numpy_function(lambda x: x, [inputs], tf.float32), [None, 4])

    def compute_output_shape(self, shape):
        return shape


class Raising(LAYERS.Layer):
    """Refuses to be traced without its gradient."""

    fails = False

    def call(self, inputs, training=None):
        if Raising.fails:
            raise RuntimeError("not now")
        return inputs


def test_what_cannot_be_exported_is_told_before_training(monkeypatch, tmp_path):
    from mtq.export import check_exportable

    check_exportable(model_of())
    with keras.saving.custom_object_scope({"Hosted": Hosted, "Raising": Raising}):
        hosted = model_of(keras.Sequential([LAYERS.Dense(4), Hosted(name="hosted")]))
        with pytest.raises(ValueError, match=r"path of task 'a' .* Received: .*PyFunc.* calls Python"):
            check_exportable(hosted)
        raising = model_of(keras.Sequential([LAYERS.Dense(4), Raising()]))
        monkeypatch.setattr(Raising, "fails", True)
        with pytest.raises(ValueError, match=r"(?s)path of task 'a' .* fails with RuntimeError: .*not now"):
            check_exportable(raising)
        run = mtq.runs.Run(tmp_path / "run", {}, export_to=tmp_path / "export")
        with pytest.raises(ValueError, match="path of task 'a'"):
            run.train(hosted, None, None, epochs=1, updates_per_epoch=1)
    with pytest.raises(ValueError, match="The loss that the model is compiled with"):
        mtq.runs.Run(tmp_path / "other", {}).train(model_of(loss=difference), None, None, epochs=1, updates_per_epoch=1)


@pytest.mark.parametrize(
    "loss_weights", [None, "uncertainty", "gradnorm", {"a": 1.0, "b": keras.optimizers.schedules.CosineDecay(1.0, 10)}]
)
def test_what_can_be_saved_passes_and_changes_nothing(loss_weights):
    model = model_of(
        loss_weights=loss_weights, optimizer=keras.optimizers.Adam(keras.optimizers.schedules.CosineDecay(1.0, 10))
    )
    weights, state = model.get_weights(), random.getstate()
    check_saveable(model)
    assert random.getstate() == state
    assert all((before == after).all() for before, after in zip(weights, model.get_weights(), strict=True))


def test_a_model_that_is_not_compiled_can_be_saved(tmp_path):
    tasks = mtq.TaskSet([mtq.Task(name, None, spec=TaskSpec((3,), "float32", None, 2)) for name in "ab"])
    check_saveable(mtq.MultiTaskDQN(mtq.networks.shared_q_network(tasks, mtq.networks.mlp([4])), tasks))
