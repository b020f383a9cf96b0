"""The same seed, the same bits: within a process, across processes, and across a save and a load."""

import itertools
import subprocess
import sys

import keras
import numpy as np
import pytest
import tensorflow as tf

import mtq
from tests.batches import random_batch

GLOBAL_SEEDS = itertools.count(1)


def train(make_model, two_tasks, updates, steps_per_execution=1, **options):
    model = make_model(compile_options={"steps_per_execution": steps_per_execution, **options}, target_update_period=50)
    experience = mtq.Experience(two_tasks, model, warmup_steps=50, seed=7)
    keras.utils.set_random_seed(next(GLOBAL_SEEDS))  # which must not matter
    logs = model.fit(experience.dataset(16), steps_per_epoch=updates, verbose=0).history
    return model.get_weights(), logs


@pytest.mark.parametrize("updates", [100, pytest.param(500, marks=pytest.mark.slow)])
def test_the_same_seed_gives_the_same_bits(make_model, two_tasks, updates):
    first, first_logs = train(make_model, two_tasks, updates)
    second, second_logs = train(make_model, two_tasks, updates)
    by_tens, _ = train(make_model, two_tasks, updates, steps_per_execution=10)
    for a, b, c in zip(first, second, by_tens, strict=True):
        np.testing.assert_array_equal(a, b)
        np.testing.assert_array_equal(a, c)
    assert first_logs == second_logs


COMPILE_OPTIONS = {
    "default": {},
    "weights": {"loss": "huber", "loss_weights": {"corridor": 0.5, "counting": 2.0}, "aggregator": "sum"},
    "schedules": {
        "loss": keras.losses.Huber(0.7),
        "loss_weights": {"corridor": keras.optimizers.schedules.CosineDecay(1.0, 40), "counting": 1.0},
        "aggregator": mtq.aggregators.NormalizedSum(scope="shared"),
        "optimizer": keras.optimizers.RMSprop(keras.optimizers.schedules.ExponentialDecay(1e-2, 10, 0.9)),
    },
    "averages": {"loss_weights": mtq.weightings.DynamicWeightAverage(period=2), "aggregator": "gradvac"},
    "famo_upgrad": {"loss_weights": "famo", "aggregator": "upgrad"},
}
EVERY_AGGREGATOR = {name: {"aggregator": name} for name in mtq.aggregators.names()}
EVERY_WEIGHTING = {name: {"loss_weights": name} for name in mtq.weightings.names() if name != "return_progress"}
MARKS = {"default": (), "schedules": pytest.mark.thorough, "averages": pytest.mark.thorough}  # all others are slow


@pytest.mark.parametrize(
    "options",
    [
        pytest.param(options, id=name, marks=MARKS.get(name, pytest.mark.slow))
        for name, options in (COMPILE_OPTIONS | EVERY_AGGREGATOR | EVERY_WEIGHTING).items()
    ],
)
def test_a_saved_model_goes_on_bit_for_bit(make_model, two_tasks, tmp_path, options):
    model = make_model(compile_options=options, target_update_period=7, double=True)
    step = tf.function(model.train_step)
    for number in range(5):
        step(random_batch(two_tasks, seed=number))
    model.set_task_weights({"counting": 0.25})
    model.save(tmp_path / "model.keras")
    loaded = keras.models.load_model(tmp_path / "model.keras")
    observations = {name: batch.observation for name, batch in random_batch(two_tasks).items()}
    for name, q_values in model.predict(observations, verbose=0).items():
        np.testing.assert_array_equal(q_values, loaded.predict(observations, verbose=0)[name])
    again = tf.function(loaded.train_step)
    for number in range(10):
        batch = random_batch(two_tasks, seed=100 + number)
        step(batch)
        again(batch)
    assert int(loaded.updates) == 15
    for a, b in zip(model.get_weights(), loaded.get_weights(), strict=True):
        np.testing.assert_array_equal(a, b)
    for pluggable in ("aggregator", "weighting"):
        for name, variable in getattr(model, pluggable).variables.items():
            np.testing.assert_array_equal(variable, getattr(loaded, pluggable).variables[name])


@pytest.mark.thorough
def test_processes_agree_on_every_bit():
    code = """
import mtq, hashlib, keras
tasks = mtq.TaskSet([mtq.suites.task("cart_pole", 2), mtq.suites.task("acrobot", 2)])
model = mtq.MultiTaskDQN(mtq.networks.shared_q_network(tasks, mtq.networks.mlp([32]), seed=3), tasks, double=True)
model.compile(keras.optimizers.Adam(1e-3), loss="huber", steps_per_execution=50)
explore = mtq.exploration.EpsilonGreedy(mtq.exploration.linear(steps=400), repeat_exponent=2.0)
experience = mtq.Experience(tasks, model, exploration=explore, n_step=3, warmup_steps=100, seed=3)
model.fit(experience.dataset(32), steps_per_epoch=200, verbose=0)
print(hashlib.sha256(b"".join(weight.tobytes() for weight in model.get_weights())).hexdigest())
"""
    runs = [subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True) for _ in range(2)]
    first, second = (run.communicate()[0] for run in runs)
    assert len(first.strip()) == 64
    assert first == second


@pytest.mark.thorough
def test_compiling_again_with_the_same_objects_keeps_what_they_remember(make_model, two_tasks):
    options = {"loss_weights": mtq.weightings.GradNorm(), "aggregator": mtq.aggregators.GradVac()}
    model = make_model(compile_options=options)
    model.train_on_batch(random_batch(two_tasks))
    remembered = [model.weighting.variables, model.aggregator.variables]
    before = [{name: variable.numpy() for name, variable in of.items()} for of in remembered]
    model.compile(keras.optimizers.Adam(1e-5), loss_weights=model.weighting, aggregator=model.aggregator)
    for old, now in zip(before, [model.weighting.variables, model.aggregator.variables], strict=True):
        for name, value in old.items():
            np.testing.assert_array_equal(value, now[name])
    with pytest.raises(ValueError, match=r"This GradNorm holds the state of another model\. Make a GradNorm for each"):
        make_model(compile_options=options)
    model.compile("adam", loss_weights="gradnorm", aggregator="gradvac")
    assert not model.aggregator.targets.numpy().any()
