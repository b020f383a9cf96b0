"""One name for one thing: every name of a task is refused, or can be logged, saved, exported and served."""

import keyword
import re

import keras
import numpy as np
import pytest
import tensorflow as tf

import mtq
from mtq.tasks.spec import TaskSpec
from mtq.trainer.task_metrics import TaskMetrics
from tests.batches import random_batch

ADVERSARIAL = [
    *("observation", "observations", "action", "q_values", "input", "inputs", "training", "mask", "name", "args"),
    *("lr", "loss", "score", "learning_rate", "epoch", "weight", "val", "env_steps", "gradients_in_conflict"),
    *("network", "target_network", "shared_q_network", "task_weights", "updates", "optimizer", "dense", "Backbone"),
    *("init", "NoOp", "saver_filename", "StatefulPartitionedCall", "default", "predict", "Signatures", "cls", "SELF"),
    *(
        "a",
        "a_1",
        "b",
        "a_b",
        "b_a",
        "a_",
        "a__b",
        "a_dense",
        "a_head",
        "Pong",
        "None_",
        "match",
        "case",
        "con",
        "x" * 200,
    ),
]


def task(name):
    return mtq.Task(name, None, spec=TaskSpec((3,), "float32", None, 2))


def model_of(names, **options):
    tasks = mtq.TaskSet([task(name) for name in names])
    return mtq.MultiTaskDQN(mtq.networks.shared_q_network(tasks, mtq.networks.mlp([4]), **options), tasks)


def refused(name):
    try:
        task(name)
    except ValueError:
        return True
    return False


@pytest.fixture(scope="module")
def export_names(tmp_path_factory):
    """Every name that exporting has a use for: attributes of the archive and of what is loaded."""
    archive = keras.export.ExportArchive()
    archive.track(keras.Sequential([keras.Input((2,)), keras.layers.Dense(1)]))
    path = str(tmp_path_factory.mktemp("names") / "export")
    model_of(["a"]).export(path)
    loaded = tf.saved_model.load(path)
    names = {name for thing in (archive, archive._tf_trackable, loaded) for name in {*dir(thing), *vars(thing)}}
    assert {"signatures", "variables", "add_endpoint"} <= names
    return {name for name in names if re.fullmatch(r"[A-Za-z]\w*", name)}


@pytest.mark.thorough
def test_what_is_not_refused_is_served(export_names, tmp_path):
    given = dict.fromkeys([*ADVERSARIAL, *sorted(export_names), *keyword.kwlist, *keyword.softkwlist])
    names = [name for name in given if re.match(r"[A-Za-z]", name) and not refused(name)]
    assert len(names) > len(ADVERSARIAL)
    model = model_of(names)
    model.save(tmp_path / "model.keras")
    model = keras.models.load_model(tmp_path / "model.keras")
    model.save_weights(tmp_path / "model.weights.h5")
    model.load_weights(tmp_path / "model.weights.h5")
    model.export(str(tmp_path / "export"))
    loaded = tf.saved_model.load(str(tmp_path / "export"))
    assert set(loaded.signatures) == {*names, "serving_default"}
    observations = {name: tf.random.normal([2, 3]) for name in names}
    served = loaded.signatures["serving_default"](**observations)
    assert set(served) == {name + what for name in names for what in ("_action", "_q_values")}
    assert len({name.lower() for name in [*names, *served]}) == 3 * len(names)  # inputs and outputs
    for name in names:
        values = model.paths[name](observations[name])
        alone = loaded.signatures[name](observation=observations[name])
        for got in (alone["q_values"], served[f"{name}_q_values"]):
            np.testing.assert_allclose(got, values, rtol=1e-4, atol=1e-6)
        assert np.array_equal(alone["action"], np.argmax(values, axis=-1))
    layers = [layer.name for layer in model.network.layers]
    assert len({*layers}) == len(layers)


def test_all_names_of_logs_are_distinct():
    names = [name for name in ADVERSARIAL if not refused(name)]
    training = [*TaskMetrics(names).result(), *(f"{name}/{what}" for name in names for what in ("return", "env_steps"))]
    evaluation = [f"val_{name}/return{what}" for name in names for what in ("", "_std", "_random")]
    logs = [*training, *evaluation, "val_score", "gradients_in_conflict", "learning_rate"]
    assert len({*logs}) == len(logs)
    assert not [name for name in training if name.startswith("val_")]  # which Keras takes for those of validation


@pytest.mark.parametrize("name", ["val_maze", "val_", "val_score", *keyword.kwlist, "signatures", "variables", "self"])
def test_names_that_are_refused_alone(name):
    with pytest.raises(ValueError, match=f"(?s)The name of a task must be.* Received: {name!r}.*Choose another name"):
        task(name)


@pytest.mark.parametrize(
    ("names", "why"),
    [
        (["maze", "val_maze"], "prefix of evaluation logs"),
        (["Pong", "pong"], "upper and lower case"),
        (["a", "b", "a_q_values"], "'a_q_values' is also the name of a layer and an output"),
        (["a_action", "b", "a"], "'a_action' is also the name of an output"),
        (["A_Action", "a"], "also the name of an output"),
        (["a_encoder", "a"], "a layer"),
        (["a_scaling", "a"], "a layer"),
    ],
)
def test_names_that_are_refused_together(names, why):
    with pytest.raises(ValueError, match=f"(?s){why}.*(Rename one of them|Choose another name)"):
        mtq.TaskSet([task(name) for name in names])


@pytest.mark.parametrize(
    ("names", "options"),
    [
        (["a", "a_head_0"], {"heads": (4,)}),
        (["a", "a_hidden"], {"shared_layers": 0, "backbone": [keras.layers.Dense(4, name="hidden")]}),
    ],
)
def test_names_of_layers_that_meet(names, options):
    tasks = mtq.TaskSet([task(name) for name in names])
    options = {**options, "backbone": keras.Sequential(options.get("backbone", [keras.layers.Dense(4)]))}
    with pytest.raises(ValueError, match=f"Each layer .* Received: '{names[1]}' more than once.* Rename a task"):
        mtq.networks.shared_q_network(tasks, **options)


def test_an_old_model_with_such_a_name_is_refused_on_loading(tmp_path):
    config = task("maze").get_config()
    with pytest.raises(ValueError, match="Received: 'val_maze'"):
        mtq.Task.from_config({**config, "name": "val_maze"})


def test_training_under_any_name(tmp_path):
    """The file of Keras's CSVLogger has a column for each."""
    model = model_of(["loss", "score", "lr", "weight"])
    model.compile("sgd", jit_compile=False)
    batches = tf.data.Dataset.from_tensors(random_batch(model.tasks)).repeat()
    logger = keras.callbacks.CSVLogger(str(tmp_path / "log.csv"))
    history = model.fit(batches, epochs=1, steps_per_epoch=1, verbose=0, callbacks=[logger]).history
    columns = (tmp_path / "log.csv").read_text().splitlines()[0].split(",")
    assert len({*columns}) == len(columns)
    assert {*history} <= {*columns}
