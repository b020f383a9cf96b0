"""`evaluate`, `validation_data` and `act`: the losses of every task on batches, and the best actions."""

import keras
import numpy as np
import pytest
import tensorflow as tf

import mtq
from mtq.trainer.task_metrics import OF_EVALUATION
from tests.batches import random_batch

NAMES = {"loss", *(f"{task}/{quantity}" for task in ("corridor", "counting") for quantity in OF_EVALUATION)}


def two_batches(tasks):
    return [random_batch(tasks, 8, seed) for seed in (1, 2)]


def dataset(batches):
    return tf.data.Dataset.from_tensor_slices(tf.nest.map_structure(lambda *tensors: tf.stack(tensors), *batches))


def by_hand(model, batch):
    """The losses of a batch, from the networks' values one by one."""
    found, total = {}, 0.0
    for weight, (name, transition) in zip(model.task_weights.numpy(), batch.items(), strict=True):
        q_tm1 = model.paths[name](transition.observation).numpy()
        q_t = model.target_paths[name](transition.next_observation).numpy()
        targets = transition.reward + transition.discount * q_t.max(axis=1)
        error = targets - q_tm1[np.arange(len(q_tm1)), transition.action]
        found[f"{name}/loss"], found[f"{name}/q_mean"] = np.mean(error**2), q_tm1.mean()
        found[f"{name}/td_error"] = np.abs(error).mean()
        total += weight * found[f"{name}/loss"]
    return {**found, "loss": total}


@pytest.mark.parametrize("options", [{}, {"run_eagerly": True}])
def test_the_losses_are_those_computed_by_hand_and_nothing_changes(two_tasks, make_model, options):
    model = make_model(
        compile_options={"loss": "squared", "loss_weights": {"corridor": 2.0, "counting": 0.5}, **options}
    )
    model.fit(dataset(two_batches(two_tasks)), verbose=0)
    batches, before = two_batches(two_tasks), model.get_weights()
    expected = [by_hand(model, batch) for batch in batches]
    losses = model.evaluate(dataset(batches), verbose=0, return_dict=True)
    assert set(losses) == NAMES
    for name, value in losses.items():
        assert value == pytest.approx(np.mean([of_batch[name] for of_batch in expected]), rel=1e-5)
    assert model.test_on_batch(batches[0], return_dict=True) == pytest.approx(expected[0], rel=1e-5)
    assert model.evaluate(dataset(batches), verbose=0) == pytest.approx([losses[name] for name in sorted(losses)])
    for one, other in zip(before, model.get_weights(), strict=True):
        np.testing.assert_array_equal(one, other)


def test_validation_data_is_logged_and_can_be_monitored(two_tasks, make_model):
    model = make_model()
    experience = mtq.Experience(model, warmup_steps=8)
    held_out = two_batches(two_tasks)
    stops = keras.callbacks.EarlyStopping("val_corridor/td_error", patience=5)
    history = model.fit(
        experience.batches(4),
        epochs=2,
        steps_per_epoch=2,
        validation_data=dataset(held_out),
        callbacks=[stops],
        verbose=0,
    ).history
    assert {name.removeprefix("val_") for name in history if name.startswith("val_")} == NAMES
    assert history["val_loss"][-1] == pytest.approx(
        model.evaluate(dataset(held_out), return_dict=True, verbose=0)["loss"]
    )
    assert np.isfinite(history["loss"]).all()
    assert min(history["loss"]) > 0
    assert len(model.variables) == len(make_model().variables)
    assert history["val_loss"][0] != history["val_loss"][1]


@pytest.mark.parametrize("frequency", [2, [2, 4]])
def test_epochs_that_are_not_validated_have_nan_in_the_logs(two_tasks, make_model, tmp_path, frequency):
    stops = keras.callbacks.EarlyStopping("val_loss", patience=1, mode="max")
    logger = keras.callbacks.CSVLogger(tmp_path / "log.csv")
    batches = two_batches(two_tasks)
    history = (
        make_model()
        .fit(
            dataset(batches).repeat(),
            epochs=4,
            steps_per_epoch=2,
            validation_data=dataset(batches),
            validation_freq=frequency,
            callbacks=[logger, stops],
            verbose=0,
        )
        .history
    )
    assert np.isfinite(history["val_loss"]).tolist() == [False, True, False, True]
    rows = [line.split(",") for line in (tmp_path / "log.csv").read_text().splitlines()]
    assert {f"val_{name}" for name in NAMES} < set(rows[0])
    assert {len(row) for row in rows} == {len(rows[0])}


def test_what_an_experience_has_stored_is_sampled_and_no_environment_is_stepped(two_tasks, make_model):
    model = make_model()
    experience, other = (mtq.Experience(model, warmup_steps=8, seed=seed) for seed in (0, 1))
    losses = model.evaluate(experience.batches(4), steps=3, return_dict=True, verbose=0)
    assert set(losses) == NAMES
    assert experience.env_steps == {"corridor": 8, "counting": 8}  # of the warm-up
    model.fit(experience.batches(4), steps_per_epoch=2, validation_data=other.batches(4), validation_steps=2, verbose=0)
    assert other.env_steps == {"corridor": 8, "counting": 8}
    with pytest.raises(ValueError, match=r"^steps of evaluate must be .* Received: None. Pass steps=100 to evaluate"):
        model.evaluate(experience.batches(4))
    with pytest.raises(
        ValueError, match=r"^validation_steps of fit must be .* Received: None. Pass validation_steps=100 to fit"
    ):
        model.fit(experience.batches(4), steps_per_epoch=2, validation_data=other.batches(4))


def test_datasets_made_of_batches_are_refused_because_they_step_the_environments(make_model):
    model = make_model()
    experience, other = (mtq.Experience(model, warmup_steps=8, seed=seed) for seed in (0, 1))
    refused = r"must be sampled from stored steps. Received: a dataset made of the batches .* Pass the object"
    with pytest.raises(ValueError, match=refused):
        model.evaluate(other.batches(4).take(2), verbose=0)
    with pytest.raises(ValueError, match=refused):
        model.fit(
            experience.batches(4),
            steps_per_epoch=2,
            validation_data=other.batches(4).as_dataset(),
            validation_steps=2,
            verbose=0,
        )
    assert set(other.env_steps.values()) == {0}


def test_on_several_replicas_it_is_refused(two_tasks):
    with tf.distribute.MirroredStrategy(["CPU:0", "CPU:1"]).scope():
        model = mtq.MultiTaskDQN(mtq.networks.shared_q_network(two_tasks, mtq.networks.mlp([4])), two_tasks)
        model.compile("sgd")
    with pytest.raises(ValueError, match=r"^evaluate must be called on a model of one replica. Received: one of 2"):
        model.evaluate(dataset(two_batches(two_tasks)))


def test_the_best_action_is_the_one_that_the_environment_takes():
    tasks = mtq.TaskSet(
        [
            mtq.Task("from_zero", None, spec=mtq.tasks.TaskSpec((3,), "float32", None, 4)),
            mtq.Task("from_five", None, spec=mtq.tasks.TaskSpec((2, 2), "uint8", 255.0, 3, first_action=5)),
        ]
    )
    encoders = {name: keras.Sequential([keras.layers.Flatten(), keras.layers.Dense(4)]) for name in tasks}
    network = mtq.networks.shared_q_network(tasks, mtq.networks.mlp([8]), encoders, seed=0)
    model = mtq.MultiTaskDQN(network, tasks)
    observations = np.random.default_rng(0).normal(size=(16, 3))
    best = model.paths["from_zero"](observations.astype(np.float32)).numpy().argmax(axis=1)
    np.testing.assert_array_equal(model.act("from_zero", observations), best)
    assert model.act("from_zero", observations[0].tolist()) == best[0]
    assert type(model.act("from_zero", observations[0])) is int
    images = np.random.default_rng(0).integers(0, 256, (5, 2, 2), np.uint8)
    best = model.paths["from_five"](images).numpy().argmax(axis=1) + 5
    np.testing.assert_array_equal(model.act("from_five", images), best)
    with pytest.raises(ValueError, match=r"^task of act must be a task of the model. Received: 'other'"):
        model.act("other", observations)
    with pytest.raises(ValueError, match=r"^observation of task 'from_zero' must .* \(3,\).*Received: \(4,\)"):
        model.act("from_zero", np.zeros(4))


@pytest.mark.thorough
def test_training_is_to_the_bit_what_it_is_without_validation(two_tasks, make_model):
    def weights(**validation):
        model = make_model()
        experience = mtq.Experience(model, warmup_steps=8)
        if validation:
            validation["validation_data"] = experience.batches(4)
        model.fit(experience.batches(4), epochs=3, steps_per_epoch=4, verbose=0, **validation)
        return model.network.get_weights()

    plain, *others = weights(), *(weights(validation_data=None, validation_steps=2) for _ in range(2))
    for other in others:
        for a, b in zip(plain, other, strict=True):
            np.testing.assert_array_equal(a, b)


def with_bad_action(batch):
    return {**batch, "corridor": batch["corridor"]._replace(action=7 + 0 * batch["corridor"].action)}


def test_bad_batches_are_refused_wherever_they_come_from(two_tasks, make_model):
    model = make_model()
    experience = mtq.Experience(model, warmup_steps=8)
    good, bad = two_batches(two_tasks), [with_bad_action(batch) for batch in two_batches(two_tasks)]
    with pytest.raises(ValueError, match="The action of a batch of task 'corridor' must be from 0 to 1"):
        model.fit(experience.batches(4).map(with_bad_action), steps_per_epoch=1, verbose=0)
    model.fit(experience.batches(4), steps_per_epoch=1, validation_data=dataset(good), verbose=0)
    with pytest.raises((ValueError, tf.errors.OpError), match="action of a batch of task"):
        model.evaluate(dataset(bad), verbose=0)


@pytest.mark.thorough
def test_on_several_replicas_bad_batches_of_a_function_are_refused_too(two_tasks):
    with tf.distribute.MirroredStrategy(["CPU:0", "CPU:1"]).scope():
        model = mtq.MultiTaskDQN(mtq.networks.shared_q_network(two_tasks, mtq.networks.mlp([4])), two_tasks)
        model.compile("sgd")
    experience = mtq.Experience(model, warmup_steps=16)
    with pytest.raises(ValueError, match="The action of a batch of task 'corridor' must be from 0 to 1"):
        model.fit(experience.batches(8).map(with_bad_action), steps_per_epoch=1, verbose=0)


def test_a_function_of_batches_may_have_conditions_and_host_calls(two_tasks, make_model):
    model = make_model()
    experience = mtq.Experience(model, warmup_steps=8)

    def function(batch):
        reward = batch["counting"].reward
        if tf.reduce_mean(reward) > 1e9:
            reward = reward * 0
        reward = tf.ensure_shape(tf.numpy_function(lambda r: r, [reward], tf.float32), reward.shape)
        return {**batch, "counting": batch["counting"]._replace(reward=reward)}

    model.fit(experience.batches(4).map(function), steps_per_epoch=1, verbose=0)
    assert int(model.updates) == 1


def test_before_compile_and_with_steps_that_are_no_whole_executions(two_tasks, make_model):
    network = mtq.networks.shared_q_network(two_tasks, mtq.networks.mlp([4]))
    with pytest.raises(ValueError, match="The model must be compiled before evaluate"):
        mtq.MultiTaskDQN(network, two_tasks).evaluate(dataset(two_batches(two_tasks)))
    model = make_model(compile_options={"steps_per_execution": 2})
    with pytest.raises(ValueError, match=r"steps of evaluate must be a multiple .*Received: 3"):
        model.evaluate(mtq.Experience(model, warmup_steps=8).batches(4), steps=3)
