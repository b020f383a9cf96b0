"""Tests of return scalings: running scales on known sequences, and PopArt's preservation of outputs."""

import keras
import numpy as np
import pytest
import tensorflow as tf

import mtq
from mtq.heads import PopArt, RunningScale, Scalar, end_of
from mtq.value_learning import with_fields
from tests.batches import random_batch
from tests.network_cases import observations_of, task_set


def updated(scaling, sequence):
    """The scale after each of several batches."""
    statistics = {name: tf.constant(value) for name, value in scaling.initial_statistics.items()}
    seen = []
    for values in sequence:
        values = tf.constant(values, tf.float32)
        means = tf.reduce_mean(scaling.moments(statistics, values), axis=0)
        statistics = scaling.updated(statistics, means, tf.reduce_max(tf.abs(values)))
        seen.append(float(scaling.scale(statistics)))
    return seen


def test_running_scale_on_a_known_sequence():
    # Rate ½. Squares: 1, then 9. Averages ½·1 = ½ over a correction of ½: 1. Then ¼ + 4½ = 4¾ over ¾: 6⅓.
    scaling = RunningScale(rate=0.5, limit=2.0)
    np.testing.assert_allclose(updated(scaling, [[1.0, -1.0], [3.0, 3.0]]), [1.0, np.sqrt(19 / 3)], rtol=1e-6)


def test_the_largest_return_stays_within_the_limit():
    # One return of 12 among zeros: the root mean square is small, so that the limit of 2 determines the scale.
    scales = updated(RunningScale(rate=0.1, limit=2.0), [[0.0] * 99 + [-12.0], [0.0] * 100, [0.0] * 100])
    assert scales == [6.0, 6.0, 6.0]


@pytest.mark.parametrize(
    ("heads", "scaling"),
    [*((name, "running") for name in mtq.heads.names()), ("scalar", "popart"), ("quantile", "popart")],
)
def test_errors_for_samplers_do_not_depend_on_the_scale(heads, scaling):
    """Priorities are kept while the scale changes. In its units, old ones would become wrong."""
    slow = {"running": RunningScale(rate=1e-9, limit=1e9), "popart": PopArt(rate=1e-9)}
    model = make_model(heads, slow[scaling], actions=(2,))
    rows = random_batch(model.tasks, 8, 0)["task_0"]
    reward = np.float32(1e5) * (1.0 + np.arange(8, dtype=np.float32))
    batch = {"task_0": with_fields(rows._replace(reward=reward, discount=0.0 * rows.discount), running_return=reward)}
    head, received = model.q_learning.heads["task_0"], []
    for size in (1e2, 1e4):
        for name, value in {"variance": size**2, "second_moment": size**2, "correction": 1.0}.items():
            if name in head.statistics:
                head.statistics[name].assign(value)
        errors = model.q_learning.gradients(batch, model.td_loss, model.network.trainable_variables).errors
        received.append(errors["task_0"].numpy())
    if heads in ("scalar", "quantile"):
        np.testing.assert_allclose(received[0], reward, rtol=0.2)  # the network's values are small beside the rewards
    # Cross-entropies have no units, but depend a little on the place in the support.
    np.testing.assert_allclose(received[1], received[0], rtol=0.2)


def test_without_rewards_the_scale_is_1():
    assert updated(RunningScale(), [[0.0] * 4] * 3) == [1.0, 1.0, 1.0]


def test_popart_statistics_on_a_known_sequence():
    # β = ½, so β_1 = 1 and β_2 = ⅔. Targets 2 and 4: μ = 3, ν = 10, σ² = 1.
    # Then 8 twice: μ = ⅓·3 + ⅔·8 = 19/3, ν = ⅓·10 + ⅔·64 = 46, σ² = 46 − 361/9 = 53/9.
    scales = updated(PopArt(rate=0.5), [[2.0, 4.0], [8.0, 8.0]])
    np.testing.assert_allclose(scales, [1.0, np.sqrt(53 / 9)], rtol=1e-6)


@pytest.mark.parametrize("size", [1e-3, 1.0, 1e4])
def test_popart_normalizes_from_the_first_updates(size):
    """A start from σ = 1 would last for thousands of updates if returns are much smaller."""
    sequence = np.random.default_rng(0).normal(-5 * size, size, [50, 32])
    np.testing.assert_allclose(updated(PopArt(), sequence), size, rtol=0.35)
    assert updated(PopArt(), sequence)[-1] == pytest.approx(size, rel=0.05)


def test_popart_statistics_are_those_of_the_paper_in_double_precision():
    random, mean, second, scaling = np.random.default_rng(0), 0.0, 1.0, PopArt(rate=0.01)
    sequence = random.normal(5_000.0, 3.0, size=(2_000, 16))
    for t, values in enumerate(np.float32(sequence).astype(np.float64), 1):
        rate = 0.01 / (1 - 0.99**t)
        mean, second = mean + rate * (values.mean() - mean), second + rate * ((values**2).mean() - second)
    scale = updated(scaling, sequence)[-1]
    assert scale == pytest.approx(np.sqrt(second - mean**2), rel=1e-3)
    assert scale == pytest.approx(3.0, rel=0.1)


def test_popart_bounds_the_scale():
    scaling = PopArt(rate=1.0, least_scale=0.1, largest_scale=10.0)
    assert updated(scaling, [[1.0, 1.0], [-1e6, 1e6]]) == [pytest.approx(0.1), pytest.approx(10.0)]


def make_model(heads="scalar", scaling="popart", actions=(2, 3), **options):
    tasks = task_set([(4,)] * len(actions), actions)
    network = mtq.networks.shared_q_network(
        tasks, mtq.networks.mlp([16]), heads=heads, return_scaling=scaling, seed=0, **options
    )
    model = mtq.MultiTaskDQN(network, tasks, target_update_period=1_000)
    model.compile(keras.optimizers.SGD(0.0))
    return model


@pytest.mark.parametrize("change", [1e6, 1e-6])
@pytest.mark.parametrize(
    "options",
    [
        {},
        {"noisy": True, "dueling": True},
        *(pytest.param(options, marks=pytest.mark.thorough) for options in ({"dueling": True}, {"noisy": True})),
    ],
    ids=str,
)
@pytest.mark.parametrize("heads", ["scalar", "quantile"])
def test_outputs_are_preserved_over_six_orders_of_magnitude(heads, options, change):
    model = make_model(heads, PopArt(rate=0.5, least_scale=1e-9, largest_scale=1e9), **options)
    start = 1.0 if change > 1 else 1e6
    batch = rewarded(model, start)
    for _ in range(60):
        model.train_on_batch(batch)  # the learning rate is 0: only the statistics move
    x = observations_of(model.tasks, [32, 32])
    targets = lambda: {n: view(x[n]).numpy() for n, view in model.target_paths.items()}  # noqa: E731
    before, before_target, scale = model.predict(x, verbose=0), targets(), scale_of(model)
    batch = rewarded(model, start * change)
    for _ in range(60):
        model.train_on_batch(batch)
    assert 0.2 * change < scale_of(model) / scale < 5 * change
    for name, values in model.predict(x, verbose=0).items():
        spread = np.abs(before[name]).max()
        np.testing.assert_allclose(values, before[name], rtol=1e-5, atol=1e-5 * spread)
        np.testing.assert_allclose(targets()[name], before_target[name], rtol=1e-5, atol=1e-5 * spread)


def rewarded(model, size):
    batch = random_batch(model.tasks, 16, seed=3)
    zeros = {name: tf.zeros_like(rows.discount) for name, rows in batch.items()}
    return {name: rows._replace(reward=size * rows.reward, discount=zeros[name]) for name, rows in batch.items()}


def scale_of(model):
    return float(model.q_learning.heads["task_0"].scale())


def test_popart_targets_by_hand():
    """One update of a network that gives 0: the targets are the rewards 2 and 6, so that σ = 2."""
    model = make_model(scaling=PopArt(rate=0.5), actions=(1,))
    for variable in model.network.trainable_variables:
        variable.assign(tf.zeros_like(variable))
    rows = random_batch(model.tasks, 4)["task_0"]
    rows = rows._replace(reward=tf.constant([2.0, 6.0, 2.0, 6.0]), discount=tf.zeros([4]))
    logs = model.train_on_batch({"task_0": rows}, return_dict=True)
    # The outputs stay 0; the targets are 1 and 3. With μ = 4 subtracted, the outputs would be −2, the targets −1 and 1.
    assert logs["task_0/loss"] == pytest.approx((1 + 9) / 2, rel=1e-5)
    assert logs["task_0/td_error"] == pytest.approx(4.0, rel=1e-5)
    assert logs["task_0/q_mean"] == pytest.approx(0.0, abs=1e-6)
    np.testing.assert_allclose(model.predict({"task_0": np.ones([1, 4])}, verbose=0)["task_0"], 0, atol=1e-6)


@pytest.mark.thorough
def test_all_scalings_have_the_same_fixed_point():
    """With bootstrapping, r / (1 − γ)."""
    for scaling, rate in ((None, 0.05), ("popart", 0.05), ("running", 0.05)):
        model = make_model(scaling=scaling, actions=(1,))
        model.target_update_period = 10
        model.compile(keras.optimizers.Adam(rate))
        rows = random_batch(model.tasks, 16)["task_0"]
        rows = rows._replace(reward=tf.fill([16], 10.0), discount=tf.fill([16], 0.5))
        if scaling == "running":
            rows = with_fields(rows, running_return=tf.fill([16], 15.0))
        dataset = tf.data.Dataset.from_tensors({"task_0": rows}).repeat()
        model.fit(dataset, steps_per_epoch=600, verbose=0)
        values = model.predict({"task_0": rows.observation}, verbose=0)["task_0"]
        assert np.mean(values) == pytest.approx(20.0, rel=0.05), scaling


@pytest.mark.parametrize("size", [0.01, pytest.param(100.0, marks=pytest.mark.thorough)])
@pytest.mark.parametrize("heads", ["categorical", "hl_gauss"])
def test_with_a_running_scale_no_support_is_chosen_by_hand(heads, size):
    model = make_model(heads, "running", actions=(1,))
    model.target_update_period = 10
    model.compile(keras.optimizers.Adam(0.02))
    rows = random_batch(model.tasks, 16)["task_0"]
    rows = rows._replace(reward=tf.fill([16], size), discount=tf.fill([16], 0.5))
    rows = with_fields(rows, running_return=tf.fill([16], 2 * size))
    dataset = tf.data.Dataset.from_tensors({"task_0": rows}).repeat()
    logs = model.fit(dataset, steps_per_epoch=600, verbose=0).history
    assert logs["task_0/clipped_targets"] == [0.0]
    values = model.predict({"task_0": rows.observation}, verbose=0)["task_0"]
    np.testing.assert_allclose(values, 2 * size, rtol=0.05)


def test_rewards_are_scaled_by_hand():
    model = make_model(scaling=RunningScale(rate=1.0, limit=100.0), actions=(1,))
    for variable in model.network.trainable_variables:
        variable.assign(tf.zeros_like(variable))
    rows = random_batch(model.tasks, 2)["task_0"]
    rows = rows._replace(reward=tf.constant([3.0, 6.0]), discount=tf.zeros([2]))
    rows = with_fields(rows, running_return=tf.constant([3.0, -3.0]))  # a scale of 3
    logs = model.train_on_batch({"task_0": rows}, return_dict=True)
    assert logs["task_0/loss"] == pytest.approx((1**2 + 2**2) / 2)
    assert logs["task_0/td_error"] == pytest.approx((3 + 6) / 2)


def test_a_batch_without_running_returns_is_refused():
    model = make_model(scaling="running")
    with pytest.raises(ValueError, match="A batch of task 'task_0' must have a running_return for its return_scaling"):
        model.train_on_batch(random_batch(model.tasks, 4))


def test_nan_targets_leave_the_statistics_as_they_are():
    model = make_model(actions=(1,))
    rows = random_batch(model.tasks, 4)["task_0"]
    before = [variable.numpy() for variable in model.q_learning.heads["task_0"].statistics.values()]
    model.q_learning.scales.observe_targets({"task_0": mtq.heads.Target(tf.fill([4], np.nan), tf.fill([4], np.nan))})
    assert [variable.numpy() for variable in model.q_learning.heads["task_0"].statistics.values()] == before
    assert rows is not None


def test_statistics_are_saved_and_exported(tmp_path):
    model = make_model("quantile")
    for _ in range(3):
        model.train_on_batch(random_batch(model.tasks, 8))
    model.save(tmp_path / "model.keras")
    loaded = keras.models.load_model(tmp_path / "model.keras")
    x = observations_of(model.tasks, [5, 5])
    expected = model.predict(x, verbose=0)
    model.export(tmp_path / "export")
    served = tf.saved_model.load(str(tmp_path / "export")).signatures
    for name in model.tasks:
        np.testing.assert_array_equal(loaded.predict(x, verbose=0)[name], expected[name])
        np.testing.assert_allclose(served[name](observation=x[name])["q_values"], expected[name], rtol=1e-5, atol=1e-6)
    batch = random_batch(model.tasks, 8, seed=9)
    assert model.train_on_batch(batch) == loaded.train_on_batch(batch)


def own_network(layer):
    tasks = task_set([(3,), (3,)], [2, 2])
    inputs = {name: keras.Input((3,), name=name) for name in tasks}
    return tasks, keras.Model(
        inputs, {n: Scalar(return_scaling="popart", name=f"{n}_head")(layer(x)) for n, x in inputs.items()}
    )


@pytest.mark.parametrize("dueling", [False, True])
@pytest.mark.parametrize("constraint", ["kernel_constraint", "bias_constraint"])
def test_weights_that_are_constrained_cannot_be_rescaled(constraint, dueling):
    model = make_model(dueling=dueling)
    layer = model.network.get_layer("task_0_outputs")
    setattr(layer.value if dueling else layer, constraint, keras.constraints.MaxNorm(1.0))
    model.compile("adam")
    with pytest.raises(ValueError, match=r"without an activation, constraint, .* so that PopArt preserves values"):
        model.train_on_batch(random_batch(model.tasks, 8, 0))


@pytest.mark.parametrize("layer", [keras.layers.Dense(2), keras.layers.Dense(2, "tanh")])
def test_values_that_cannot_be_preserved(layer):
    tasks, network = own_network(layer)
    model = mtq.MultiTaskDQN(network, tasks)
    model.compile("adam")
    with pytest.raises(ValueError, match=r"so that PopArt preserves values. Received: Dense"):
        model.train_on_batch(random_batch(tasks, 4))


@pytest.mark.parametrize("use", ["output of another task", "hidden layer of another task", "twice in one task"])
def test_a_layer_that_is_used_elsewhere_too_is_not_rescaled(use):
    """PopArt would preserve the values of its own task, and change those of the other use."""
    tasks, layer = task_set([(3,), (3,)], [3, 3]), keras.layers.Dense(3)
    inputs = {name: keras.Input((3,), name=name) for name in tasks}
    outputs = {"task_0": layer(inputs["task_0"]), "task_1": layer(inputs["task_1"])}
    if use == "hidden layer of another task":
        outputs["task_1"] = keras.layers.Dense(3)(outputs["task_1"])
    if use == "twice in one task":
        outputs = {"task_0": layer(layer(inputs["task_0"])), "task_1": keras.layers.Dense(3)(inputs["task_1"])}
    outputs["task_0"] = Scalar(return_scaling="popart")(outputs["task_0"])
    model = mtq.MultiTaskDQN(keras.Model(inputs, outputs), tasks)
    model.compile("adam")
    with pytest.raises(ValueError, match=r"layer before the head of task 'task_0' must be .* used there alone"):
        model.train_on_batch(random_batch(tasks, 4))


def test_a_head_of_several_tasks_is_refused():
    tasks = task_set([(3,), (3,)], [2, 2])
    inputs, head = {name: keras.Input((3,), name=name) for name in tasks}, Scalar(return_scaling="running")
    network = keras.Model(inputs, {name: head(keras.layers.Dense(2)(x)) for name, x in inputs.items()})
    with pytest.raises(ValueError, match="A head with a return_scaling must belong to one task"):
        mtq.MultiTaskDQN(network, tasks)


def test_a_target_network_of_another_scale_keeps_its_values():
    model, other = make_model(scaling=PopArt(rate=0.5)), make_model(scaling=PopArt(rate=0.5))
    for _ in range(5):
        model.train_on_batch(rewarded(model, 1e3))
    other.target_network.set_weights(model.target_network.get_weights())
    x = observations_of(model.tasks, [8, 8])
    expected = {name: view(x[name]).numpy() for name, view in model.target_paths.items()}
    other.train_on_batch(rewarded(other, 1.0))  # with a learning rate of 0
    for name, view in other.target_paths.items():
        np.testing.assert_allclose(view(x[name]), expected[name], rtol=1e-4, atol=1e-5)


def test_frozen_heads_are_loaded_and_rescaled(tmp_path):
    model = make_model(scaling=PopArt(rate=0.5))
    for name in model.tasks:
        model.network.get_layer(f"{name}_outputs").trainable = False
    model.compile(keras.optimizers.SGD(0.0))
    x = observations_of(model.tasks, [8, 8])
    before = model.predict(x, verbose=0)
    model.train_on_batch(rewarded(model, 1e3))
    model.save(tmp_path / "model.keras")
    loaded = keras.models.load_model(tmp_path / "model.keras")
    for name, values in loaded.predict(x, verbose=0).items():
        np.testing.assert_allclose(values, before[name], rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("wrapped", [False, True])
def test_averages_of_weights_are_refused_with_popart(wrapped):
    model, optimizer = make_model(), keras.optimizers.Adam(use_ema=True)
    optimizer = keras.optimizers.LossScaleOptimizer(optimizer) if wrapped else optimizer
    with pytest.raises(ValueError, match=r"use_ema of the optimizer must be False with return_scaling='popart'"):
        model.compile(optimizer)
    make_model(scaling="running").compile(keras.optimizers.Adam(use_ema=True))


def test_a_layer_with_lora_is_refused_in_training_and_loads(tmp_path):
    model = make_model()
    model.network.get_layer("task_0_outputs").enable_lora(1)
    model.compile("adam")
    with pytest.raises(ValueError, match="so that PopArt preserves values"):
        model.train_on_batch(random_batch(model.tasks, 4))
    model.save(tmp_path / "model.keras")
    keras.models.load_model(tmp_path / "model.keras")


def test_the_end_of_a_path():
    model = make_model("quantile", dueling=True)
    end = end_of(model.paths["task_1"])
    assert (type(end.head).__name__, type(end.layer).__name__, end.outputs.shape) == (
        "Quantile",
        "DuelingHead",
        (None, 3, 51),
    )


@pytest.mark.parametrize("limit", [None, 7])
def test_experience_collects_running_returns(limit):
    task = mtq.Task(
        "cart_pole", "in_graph/CartPole", num_envs=3, discount=0.9, reward_scale=2.0, max_episode_steps=limit
    )
    tasks = mtq.TaskSet([task])
    network = mtq.networks.shared_q_network(tasks, mtq.networks.mlp([8]), return_scaling="running", seed=0)
    model = mtq.MultiTaskDQN(network, tasks)
    experience = mtq.Experience(model, warmup_steps=60, replay_capacity=600)
    experience.prepare()
    steps = experience.replays["cart_pole"].gather_all()
    fields = (steps.reward, steps.discount, steps.is_last, steps.running_return)
    for of_copy in zip(*(field.numpy() for field in fields), strict=True):
        running = 0.0
        for reward, discount, last, received in zip(*of_copy, strict=True):
            running = 2 * reward + 0.9 * running
            # At a time limit the rewards are taken to go on: all are 2, so that their discounted sum is 20.
            assert received == pytest.approx(20.0 if last and discount else running, rel=1e-5)
            running = 0.0 if last else running
    batch = next(iter(experience.batches(8)))["cart_pole"]
    assert batch.running_return.shape == (8,)
    assert (batch.running_return.numpy() >= 2).all()


def test_a_support_that_is_too_small_is_told():
    tasks = mtq.TaskSet([mtq.Task("cart_pole", "in_graph/CartPole", num_envs=4)])
    heads = mtq.heads.HLGauss(0.0, 0.5)
    model = mtq.MultiTaskDQN(mtq.networks.shared_q_network(tasks, mtq.networks.mlp([8]), heads=heads, seed=0), tasks)
    model.compile("adam")
    batches = mtq.Experience(model, warmup_steps=20).batches(8)
    with pytest.warns(UserWarning, match=r"100% of the targets of epoch 1 outside of 0.01471 to 0.4853, .*return_s"):
        model.fit(batches, epochs=2, steps_per_epoch=2, verbose=0)


@pytest.mark.parametrize("head", [mtq.heads.HLGauss, mtq.heads.Categorical])
@pytest.mark.parametrize(("low", "high", "reward"), [(0, 50, 1.0), (-10, 10, 0.2), (-10, 10, 0.33), (-10, 10, -5.0)])
def test_targets_that_a_support_holds_back_count_as_clipped(head, low, high, reward):
    """Values learned from truncated distributions stay within the support, and so do the targets that follow."""
    head, value = head(low, high), 0.9 * (low if reward < 0 else high)
    assert abs(reward / (1 - 0.99)) > 1.9 * max(-low, high), "the true return lies far outside"
    for _ in range(500):
        target = head.backup(tf.constant([reward]), tf.constant([0.99]), _logits_of(head, value))
        before, value = value, float(head.values(tf.math.log(target.encoded + 1e-30))[0])
        if abs(value - before) < 1e-5:
            break
    assert low <= value <= high
    assert not head.limits[0] <= float(target.value[0]) <= head.limits[1]


def _logits_of(head, value):
    """The logits with which a head has a value: those of its two nearest atoms or bins."""
    support = head._support if isinstance(head, mtq.heads.Categorical) else head._centers
    place = np.clip(np.interp(value, support, np.arange(len(support))), 0, len(support) - 1)
    near = np.maximum(1 - np.abs(np.arange(len(support)) - place), 1e-30)
    return tf.constant(np.log(near)[None], tf.float32)


def test_targets_that_fit_are_not_clipped():
    head = mtq.heads.HLGauss(-20.0, 120.0)
    for value in (0.0, 50.0, 100.0):
        assert head.limits[0] <= value <= head.limits[1]
        encoded = head.backup(tf.constant([value]), tf.constant([0.0]), tf.zeros([1, 51])).encoded
        assert float(head.values(tf.math.log(encoded + 1e-30))[0]) == pytest.approx(value, abs=0.05)


@pytest.mark.thorough
def test_bytes_reduced_are_those_that_are_said(monkeypatch):
    names = {"chain": "Chain", "catch": "Catch"}
    tasks = mtq.TaskSet([mtq.Task(name, f"in_graph/{env}", num_envs=2) for name, env in names.items()])
    strategy = tf.distribute.MirroredStrategy(["/cpu:0", "/cpu:1"])
    with strategy.scope():
        network = mtq.networks.shared_q_network(
            tasks,
            mtq.networks.mlp([4]),
            heads={"chain": "hl_gauss", "catch": "scalar"},
            return_scaling={"chain": "running", "catch": "popart"},
        )
        model = mtq.MultiTaskDQN(network, tasks)
        model.compile("adam")
    experience, reduced = mtq.Experience(model, warmup_steps=40, steps_per_update=4, replay_capacity=400), []
    reduce_to = strategy.extended.reduce_to

    def counted(how, value, destinations):
        vector = strategy.experimental_local_results(value)[0]
        reduced.append(vector.shape.num_elements() * vector.dtype.size)
        return reduce_to(how, value, destinations)

    monkeypatch.setattr(strategy.extended, "reduce_to", counted)
    model.fit(experience.batches(8), steps_per_epoch=1, verbose=0)
    further = model.q_learning.num_reduced(num_replicas=2)
    assert further == 1 + (1 + 2) + (2 + 2)
    assert model.make_update().bytes_reduced(model.paths, strategy, further=further) == sum(reduced)
