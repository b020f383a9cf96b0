"""`evaluate`, `validation_data` and `act`: the losses of every task on batches, and the best actions."""

import keras
import numpy as np
import pytest
import tensorflow as tf

import mtq
from mtq.learning.validation import check_validation
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
        taken = q_tm1[np.arange(len(q_tm1)), transition.action]  # others may be illegal, and are not trained on here
        error = targets - taken
        found[f"{name}/loss"], found[f"{name}/q_mean"] = np.mean(error**2), taken.mean()
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


def test_the_means_are_over_rows_however_they_are_batched(two_tasks, make_model):
    model = make_model()
    batches = two_batches(two_tasks)
    whole = {
        name: type(first)(*(np.concatenate(fields) for fields in zip(first, batches[1][name], strict=True)))
        for name, first in batches[0].items()
    }
    size = len(whole["corridor"].reward)

    def parts(*sizes):
        ends = np.cumsum(sizes)
        return [
            {name: type(rows)(*(field[end - size : end] for field in rows)) for name, rows in whole.items()}
            for size, end in zip(sizes, ends, strict=True)
        ]

    losses = [
        model.evaluate((batch for batch in parts(*sizes)), steps=len(sizes), verbose=0, return_dict=True)
        for sizes in ((size,), (size - 1, 1), (1, size - 1))
    ]
    for other in losses[1:]:
        assert other == pytest.approx(losses[0], rel=1e-5)
    assert model.evaluate(whole, batch_size=3, verbose=0, return_dict=True) == pytest.approx(losses[0], rel=1e-5)


def test_before_the_first_update_the_targets_are_the_networks_own(two_tasks, make_model):
    model, other = make_model(seed=0), make_model(seed=1)
    batch = two_batches(two_tasks)[0]
    other.network.set_weights(model.network.get_weights())  # after which only the target network differs
    expected = model.evaluate(dataset([batch]), verbose=0)
    before = other.target_network.get_weights()
    assert other.evaluate(dataset([batch]), verbose=0) == pytest.approx(expected)
    for one, two in zip(before, other.target_network.get_weights(), strict=True):
        np.testing.assert_array_equal(one, two)  # no weight is changed
    assert not other.target_network.was_set
    assert make_model(seed=0).test_on_batch(batch) == pytest.approx(expected)


def test_a_training_set_that_is_drawn_ahead_is_not_taken_for_the_validation(two_tasks, make_model):
    model = make_model()
    experience = mtq.Experience(model, warmup_steps=8)
    held_out = dataset(two_batches(two_tasks)).repeat(20)
    ahead = experience.batches(4).prefetch(2)
    model.fit(ahead, steps_per_epoch=3, epochs=2, validation_data=held_out, verbose=0)
    assert int(model.updates) == 6


@pytest.mark.parametrize("name", ["target_update_period", "run_eagerly"])
def test_a_setting_that_a_callback_changes_does_not_end_the_fit(two_tasks, make_model, name):
    model = make_model()
    data = dataset(two_batches(two_tasks))

    def change(epoch, logs):
        setattr(model, name, 7 if name == "target_update_period" else True)
        model.evaluate(data, verbose=0)

    changes = keras.callbacks.LambdaCallback(on_epoch_end=change)
    model.fit(data.repeat(), epochs=3, steps_per_epoch=1, validation_data=data, callbacks=[changes], verbose=0)
    assert int(model.updates) == 3


def test_generators_over_batches_are_checked_too(make_model):
    model, other = make_model(), make_model(seed=1)
    experience, held_out, foreign = (mtq.Experience(of, warmup_steps=8) for of in (model, model, other))
    batches = experience.batches(4)
    with pytest.raises(ValueError, match="made with another model"):
        model.fit(iter(foreign.batches(4)), steps_per_epoch=1, verbose=0)
    stepped = "must be sampled from stored steps"
    with pytest.raises(ValueError, match=stepped):
        model.evaluate(iter(held_out.batches(4)), steps=2, verbose=0)
    for generator in (iter(held_out.batches(4)), (batch for batch in held_out.batches(4).take(3))):
        with pytest.raises(ValueError, match=stepped):
            model.fit(batches, steps_per_epoch=1, validation_data=generator, validation_steps=1, verbose=0)
    assert set(held_out.env_steps.values()) == {0}
    before = int(model.updates)
    model.fit((batch for batch in batches), steps_per_epoch=2, verbose=0)
    assert int(model.updates) == before + 2


def test_a_generator_needs_the_number_of_its_batches(two_tasks, make_model):
    model, batches = make_model(), two_batches(two_tasks)
    with pytest.raises(ValueError, match=r"validation_steps of fit must be .*, because a generator cannot"):
        model.fit(dataset(batches), validation_data=(batch for batch in batches), verbose=0)
    with pytest.raises(ValueError, match=r"steps_per_epoch must say .*, because a generator cannot be read again"):
        model.fit((batch for batch in batches), epochs=2, verbose=0)


def test_the_batch_size_of_fit_is_no_argument_of_the_validation(two_tasks, make_model):
    batch = two_batches(two_tasks)[0]
    history = make_model().fit(batch, batch_size=4, epochs=2, validation_data=dataset([batch]), verbose=0).history
    assert np.isfinite(history["val_loss"]).all()


@pytest.mark.thorough
@pytest.mark.xla
def test_the_test_step_can_be_compiled_by_xla(two_tasks, make_model):
    model = make_model()
    batch = two_batches(two_tasks)[0]
    expected = model.test_on_batch(batch, return_dict=True)["loss"]
    model.keras_step.evaluation_metrics.reset_state()
    found = tf.function(model.test_step, jit_compile=True)(tf.nest.map_structure(tf.constant, batch))
    assert float(found["loss"]) == pytest.approx(float(expected), rel=1e-5)


BAD_SETTINGS = [
    ({"validation_steps": 0}, "validation_steps of fit must be an integer of at least 1"),
    ({"validation_steps": "3"}, "validation_steps of fit must be an integer"),
    ({}, r"validation_steps of fit must be the number of batches.* Received: None"),
    ({"validation_steps": 3}, "validation_steps of fit must be a multiple of compile's steps_per_execution = 2"),
    ({"validation_steps": 2, "validation_freq": 0}, "validation_freq of fit must be an integer of at least 1"),
    ({"validation_steps": 2, "validation_freq": "2"}, "validation_freq of fit must be an integer"),
    ({"validation_steps": 2, "validation_freq": [1, 0]}, "Each epoch of validation_freq of fit must be an integer"),
]


@pytest.mark.parametrize(("settings", "message"), BAD_SETTINGS)
def test_arguments_of_the_validation_are_refused_before_anything_is_learned(make_model, settings, message):
    model = make_model(compile_options={"steps_per_execution": 2})
    experience = mtq.Experience(model, warmup_steps=8)
    endless = experience.batches(4)
    with pytest.raises(ValueError, match=message):
        model.fit(endless, steps_per_epoch=2, validation_data=endless, verbose=0, **settings)
    assert int(model.updates) == 0


@pytest.mark.parametrize("frequency", [np.int64(2), (2, 4), np.array([2, 4])])
def test_epochs_of_the_validation_may_be_of_any_kind(two_tasks, make_model, frequency):
    settings = {"validation_data": 1, "validation_steps": 1, "validation_freq": frequency}
    settings["validation_data"] = dataset(two_batches(two_tasks))
    check_validation(make_model(), settings)
    assert settings["validation_freq"] in (2, [2, 4])
    assert type(settings["validation_freq"]) in (int, list)


@pytest.mark.parametrize("steps", [0, -1, "3", 2.5])
def test_steps_that_are_no_number_of_batches_are_refused(make_model, steps):
    model = make_model()
    with pytest.raises(ValueError, match="steps of evaluate must be an integer of at least 1"):
        model.evaluate(mtq.Experience(model, warmup_steps=8).batches(4), steps=steps)


def test_what_are_no_batches_is_refused(two_tasks, make_model):
    model = make_model()
    experience = mtq.Experience(model, warmup_steps=8)
    batches = experience.batches(4)
    for call, role in [
        (
            lambda: model.evaluate(experience, steps=2),
            "x of evaluate must be batches. Received: an object of Experience",
        ),
        (lambda: model.evaluate(), "x of evaluate must be batches. Received: None"),
        (lambda: model.evaluate(dataset(two_batches(two_tasks)).repeat()), "steps of evaluate must be the number"),
        (lambda: model.evaluate(batches, steps=2, batch_size=64), "batch_size of evaluate must be None"),
        (
            lambda: model.fit(batches, steps_per_epoch=1, validation_data=(batches,)),
            "validation_data of fit must be batches. Received: an object of tuple",
        ),
        (lambda: model.predict(batches), "x of predict must be {task: observations}"),
    ]:
        with pytest.raises(ValueError, match=role):
            call()


@pytest.mark.xla
@pytest.mark.parametrize("jit_compile", [True, False])
def test_bad_values_are_refused_with_and_without_xla(two_tasks, make_model, jit_compile):
    model = make_model(compile_options={"jit_compile": jit_compile})
    bad = with_bad_action(two_batches(two_tasks)[0])
    message = r"The action of a batch of task '.*' must be from 0 to 1. Received: from .* to 7"
    for call in (lambda: model.evaluate(dataset([bad]), verbose=0), lambda: model.test_on_batch(bad)):
        with pytest.raises(ValueError, match=message):
            call()


def test_parts_that_are_replaced_and_settings_that_are_assigned_count(two_tasks, make_model):
    class Counting(mtq.MultiTaskDQN):
        calls = 0

        def test_step(self, batch):
            self.calls += 1
            return super().test_step(batch)

    model = Counting(make_model().network, two_tasks)
    model.compile("sgd")
    data = dataset(two_batches(two_tasks))
    model.evaluate(data, verbose=0)
    before, model.run_eagerly = model.calls, True
    model.evaluate(data, verbose=0)
    assert model.calls == before + 2
    model.optimizer = keras.optimizers.SGD()  # of which evaluate makes no use
    model.evaluate(data, verbose=0)
    model.td_loss = None
    with pytest.raises(ValueError, match="td_loss must be what the model was compiled with"):
        model.evaluate(data, verbose=0)


def test_a_step_of_ones_own_names_its_logs(two_tasks, make_model):
    class Own(mtq.MultiTaskDQN):
        def test_step(self, batch):
            return {"mine": tf.constant(1.0)}

    model = Own(make_model().network, two_tasks)
    model.compile("sgd")
    data = dataset(two_batches(two_tasks))
    history = model.fit(
        data.repeat(), epochs=4, steps_per_epoch=1, validation_data=data, validation_freq=2, verbose=0
    ).history
    np.testing.assert_array_equal(history["val_mine"], [1.0, np.nan, 1.0])  # from the first validation on
    assert "val_loss" not in history


def test_a_step_that_adds_to_mtqs_own_can_be_monitored(two_tasks, make_model):
    class More(mtq.MultiTaskDQN):
        def test_step(self, batch):
            return {**super().test_step(batch), "extra": tf.constant(1.0)}

    model = More(make_model().network, two_tasks)
    model.compile("sgd")
    data = dataset(two_batches(two_tasks))
    stops = keras.callbacks.EarlyStopping("val_loss", patience=5)
    settings = {"validation_data": data, "validation_freq": 2, "callbacks": [stops], "verbose": 0}
    history = model.fit(data.repeat(), epochs=4, steps_per_epoch=1, **settings).history
    assert np.isfinite(history["val_loss"]).tolist() == [False, True, False, True]
    assert "val_extra" in history


def test_no_bar_is_drawn_off_a_terminal(two_tasks, make_model, capsys):
    make_model().evaluate(dataset(two_batches(two_tasks)).repeat(20))
    printed = capsys.readouterr().out
    assert "\r" not in printed
    assert "\b" not in printed


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
    for task, wrong in [
        ("from_five", images / 255.0),
        ("from_five", images.astype(int) + 256),
        ("from_zero", [np.nan, 0.0, 0.0]),
        ("from_zero", ["a", "b", "c"]),
        ("from_zero", [[1.0], [1.0, 2.0]]),
        ("from_zero", [1j, 0.0, 0.0]),
        ("from_zero", [1e300, 0.0, 0.0]),
    ]:
        with pytest.raises(ValueError, match=f"^observation of task '{task}' must be (integers|finite numbers)"):
            model.act(task, wrong)
    np.testing.assert_array_equal(model.act("from_five", images.astype(np.float32)), best)
    half = tf.cast(observations, tf.bfloat16)
    np.testing.assert_array_equal(model.act("from_zero", half), model.act("from_zero", tf.cast(half, tf.float32)))
    with pytest.raises(ValueError, match=r"^task of act must be"):
        model.act(["from_zero"], observations)


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
