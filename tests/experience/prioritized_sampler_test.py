"""Prioritized replay, against priorities, probabilities and weights in NumPy, and through `fit`."""

import functools
import re

import keras
import numpy as np
import pytest
import tensorflow as tf
from hypothesis import given, settings
from hypothesis import strategies as st
from mtq.samplers import Prioritized
from scipy import stats

import mtq
from mtq.experience.memory import Memory, memory_spec
from mtq.experience.replay import Replay
from mtq.experience.sampler import Selection
from mtq.runs.checkpoint import Checkpoint
from tests.experience.sum_tree_test import check_sums
from tests.messages import error

ALPHA, BETA, EPSILON = 0.6, 0.4, 1e-6


def built(length, num_envs, seed=0, **settings):
    sampler = Prioritized(**settings)
    sampler.build(length, num_envs, seed)
    return sampler


def window(newest, length, n=1):
    """The first possible start after some steps, and the number of possible starts, as `Replay.draw` has them."""
    first = max(newest - length + 1, 0)
    return first, newest - n + 2 - first


def select(sampler, rows, first, number):
    drawn = sampler.select(rows, tf.constant(first, tf.int64), tf.constant(number, tf.int64))
    assert first <= drawn.step.numpy().min()
    assert drawn.step.numpy().max() < first + number
    assert drawn.copy.dtype == drawn.step.dtype == tf.int64
    return drawn


def selection(steps, copies):
    return Selection(tf.constant(steps, tf.int64), tf.constant(copies, tf.int64))


def table(sampler):
    """The priorities in the sampler, `[length, N]`."""
    check_sums(sampler._tree)
    return sampler._tree.tables[0].numpy()[: sampler._tree.size].reshape(-1, sampler._num_envs)


class Model:
    """The priorities of all starts, in a dict."""

    def __init__(self, length, num_envs):
        self.length, self.num_envs, self.largest, self.priorities = length, num_envs, 1.0, {}

    def select(self, first, number):
        starts = [(step, copy) for step in range(first, first + number) for copy in range(self.num_envs)]
        self.priorities = {start: self.priorities.get(start, self.largest) for start in starts}

    def update(self, steps, copies, errors):
        new = {}
        for step, copy, e in zip(steps, copies, errors, strict=True):
            if (step, copy) in self.priorities and np.isfinite(e):
                new[step, copy] = max(new.get((step, copy), 0), (abs(e) + EPSILON) ** ALPHA)
        self.priorities.update(new)
        self.largest = max([self.largest, *new.values()])

    def check(self, sampler):
        expected = np.zeros([self.length, self.num_envs])
        for (step, copy), priority in self.priorities.items():
            expected[step % self.length, copy] = priority
        np.testing.assert_allclose(table(sampler), expected, rtol=1e-6)

    def weights(self, drawn, beta=BETA):
        """Equation 1 and section 3.4 of the paper, in double precision."""
        total = sum(self.priorities.values())
        pairs = zip(drawn.step.numpy(), drawn.copy.numpy(), strict=True)
        probabilities = np.array([self.priorities[pair] for pair in pairs]) / total
        weights = (len(self.priorities) * probabilities) ** -beta
        return weights / weights.max()


def test_priorities_by_hand():
    sampler = built(4, 2, alpha=0.5, epsilon=0.25, beta=1.0)
    drawn = select(sampler, 6, 0, 2)
    np.testing.assert_array_equal(table(sampler), [[1, 1], [1, 1], [0, 0], [0, 0]])
    np.testing.assert_array_equal(drawn.weight, np.ones(6))
    sampler.update(selection([0, 0, 1], [0, 1, 0]), tf.constant([2.0, -6.0, 0.0]))
    np.testing.assert_allclose(table(sampler), [[1.5, 2.5], [0.5, 1], [0, 0], [0, 0]])
    drawn = select(sampler, 100, 1, 4)  # step 4 replaces step 0; new ones have the largest priority
    np.testing.assert_allclose(table(sampler), [[2.5, 2.5], [0.5, 1], [2.5, 2.5], [2.5, 2.5]])
    expected = {(1, 0): 1.0, (1, 1): 0.5}
    pairs = zip(drawn.step.numpy(), drawn.copy.numpy(), strict=True)
    np.testing.assert_allclose(drawn.weight, [expected.get(pair, 0.2) for pair in pairs], rtol=1e-6)


def test_a_row_that_is_drawn_twice_gets_the_larger_priority_whatever_their_order():
    for errors in ([1.0, 3.0, 0.1], [3.0, 1.0, 0.1], [0.1, 3.0, 1.0]):
        sampler = built(8, 1, alpha=1.0, epsilon=1e-3)
        select(sampler, 2, 0, 4)
        sampler.update(selection([2, 2, 2], [0, 0, 0]), tf.constant(errors))
        np.testing.assert_allclose(table(sampler)[:, 0], [1, 1, 3.001, 1, 0, 0, 0, 0])


def test_a_row_that_is_replaced_before_the_update_keeps_the_new_priority():
    sampler = built(4, 1)
    select(sampler, 2, 0, 4)
    select(sampler, 2, 2, 4)  # steps 4 and 5 have replaced 0 and 1
    before = table(sampler)
    sampler.update(selection([0, 1, 9, -3], [0] * 4), tf.constant([50.0] * 4))
    np.testing.assert_array_equal(table(sampler), before)
    select(sampler, 2, 3, 4)
    np.testing.assert_array_equal(table(sampler), np.ones([4, 1]))  # nor did the largest priority change
    sampler.update(selection([3, 5], [0, 0]), tf.constant([np.nan, np.inf]))
    np.testing.assert_array_equal(table(sampler), np.ones([4, 1]))


STEPS = st.tuples(
    st.integers(0, 40), st.integers(0, 6), st.lists(st.floats(-1e3, 1e3, width=32), min_size=4, max_size=4)
)


@settings(max_examples=15, deadline=None)
@given(
    length=st.sampled_from([5, 16, 50, 130]),
    num_envs=st.sampled_from([1, 3, 4, 100]),
    n=st.integers(1, 4),
    rounds=st.lists(STEPS, min_size=1, max_size=12),
)
def test_any_run_has_the_priorities_of_a_dict(length, num_envs, n, rounds):
    """Steps are added and removed in any numbers, and batches are told back with rows that others have replaced."""
    sampler, model = built(length, num_envs), Model(length, num_envs)
    newest, removed, earlier = n - 1, 0, None
    for added, dropped, errors in rounds:
        newest += added
        for step in range(newest - added + 1, newest + 1):
            sampler.added(tf.constant(step, tf.int64))
        removed = min(max(removed, newest - length + 1) + dropped, newest - n + 1)  # a replay of images drops more
        first, number = window(newest, length, n)
        first, number = max(first, removed), number - max(removed - first, 0)
        drawn = select(sampler, 4, first, number)
        model.select(first, number)
        model.check(sampler)
        np.testing.assert_allclose(drawn.weight, model.weights(drawn), rtol=1e-6)
        for told in (drawn, earlier or drawn):
            sampler.update(told, tf.constant(errors))
            model.update(told.step.numpy(), told.copy.numpy(), np.array(errors, np.float64))
            model.check(sampler)
        earlier = drawn


def distribution_of_draws(seed, length, num_envs, n, draws, rows):
    """Draws from a ring that was written over, whose priorities span seven orders of magnitude. Returns the counts of
    the starts, and their probabilities."""
    sampler, model, random = built(length, num_envs, seed), Model(length, num_envs), np.random.default_rng(seed)
    for newest in (length // 2, 2 * length + 17):
        first, number = window(newest, length, n)
        select(sampler, 1, first, number)
        model.select(first, number)
        steps, copies = (grid.ravel() for grid in np.mgrid[first : first + number, :num_envs])
        errors = 10.0 ** random.uniform(-4, 3, len(steps))
        sampler.update(selection(steps, copies), tf.constant(errors, tf.float32))
        model.update(steps, copies, errors.astype(np.float32).astype(np.float64))
    draw = tf.function(functools.partial(sampler.select, rows))
    counts = np.zeros([length, num_envs])
    for _ in range(draws // rows):
        drawn = draw(tf.constant(first, tf.int64), tf.constant(number, tf.int64))
        np.add.at(counts, (drawn.step.numpy() % length, drawn.copy.numpy()), 1)
    expected = np.zeros([length, num_envs])
    for (step, copy), priority in model.priorities.items():
        expected[step % length, copy] = priority
    return counts.ravel(), (expected / expected.sum()).ravel()


# Of eight seeds with the large ring, seed 1 had p = 0.00008 by chance: ten million draws from the same priorities had
# p = 0.36. A wrong probability would have shown more clearly.
@pytest.mark.parametrize("seed", [0, *(pytest.param(seed, marks=pytest.mark.thorough) for seed in (2, 3))])
@pytest.mark.parametrize("length", [100, pytest.param(25_000, marks=pytest.mark.thorough)])
def test_a_million_draws_have_the_probabilities_of_the_paper(seed, length):
    counts, probabilities = distribution_of_draws(seed, length, num_envs=4, n=3, draws=1_000_000, rows=20_000)
    assert not counts[probabilities == 0].any()
    order = np.argsort(probabilities)
    cells = np.minimum((np.cumsum(probabilities[order]) * 400).astype(int), 399)  # at least 1,000 draws in each
    cells = order if length == 100 else cells
    observed = counts[order] if length == 100 else np.bincount(cells, counts[order], 400)
    expected = probabilities[order] if length == 100 else np.bincount(cells, probabilities[order], 400)
    possible = expected * 1e6 >= 5
    rest = [observed[~possible].sum(), 1e6 * expected[~possible].sum()]
    observed, expected = observed[possible], 1e6 * expected[possible]
    if rest[1] >= 5:
        observed, expected = np.append(observed, rest[0]), np.append(expected, rest[1])
    assert stats.chisquare(observed, expected * observed.sum() / expected.sum()).pvalue > 0.01


def run(sampler, first, number, rounds=5, rows=32):
    """The steps, copies and weights of some batches, whose errors follow from them."""
    for _ in range(rounds):
        drawn = select(sampler, rows, first, number)
        sampler.update(drawn, tf.cast(drawn.step * 7 % 11 + drawn.copy, tf.float32) / 3)
        yield np.stack([drawn.step, drawn.copy, drawn.weight])


def test_reset_is_a_fresh_start():
    used, fresh = built(50, 3, seed=1), built(50, 3, seed=9)
    list(run(used, 20, 50))
    used.reset(9)
    for one, other in zip(used.state(), fresh.state(), strict=True):
        np.testing.assert_array_equal(one, other)
    np.testing.assert_array_equal(list(run(used, 0, 30)), list(run(fresh, 0, 30)))


def test_a_state_is_resumed_bit_for_bit():
    used, resumed = built(1_700, 3, seed=1), built(1_700, 3, seed=2)
    list(run(used, 500, 1_600))
    for one, other in zip(resumed.state(), used.state(), strict=True):
        one.assign(other)
    np.testing.assert_array_equal(list(run(used, 501, 1_650)), list(run(resumed, 501, 1_650)))


def test_beta_follows_a_schedule_over_batches():
    sampler = built(10, 1, beta=keras.optimizers.schedules.PolynomialDecay(0.0, 4, 1.0))
    select(sampler, 1, 0, 5)  # β = 0
    sampler.update(selection([0, 1], [0, 0]), tf.constant([0.5, 3.0]))
    model = Model(10, 1)
    model.select(0, 5)
    model.update([0, 1], [0, 0], [0.5, 3.0])
    for beta in (0.25, 0.5, 0.75, 1.0, 1.0):
        drawn = select(sampler, 64, 0, 5)
        np.testing.assert_allclose(drawn.weight, model.weights(drawn, beta), rtol=1e-6)


@pytest.mark.xla
@pytest.mark.thorough
def test_xla_draws_the_same():
    def state_after(jit_compile):
        sampler = built(1_700, 3)

        @tf.function(jit_compile=jit_compile, autograph=False)
        def round_of(first, number):
            drawn = sampler.select(32, first, number)
            sampler.update(drawn, tf.cast(drawn.step * 7 % 11 + drawn.copy, tf.float32) / 3)
            return drawn

        drawn = [
            round_of(*(tf.constant(value, tf.int64) for value in window(newest, 1_700, 3)))
            for newest in [500, 501, 503, 1_699, 1_700, *range(1_701, 3_500, 97)]
        ]
        return drawn, [variable.numpy() for variable in sampler.state()]

    (drawn, state), (others, other_state) = state_after(True), state_after(False)
    for one, other in zip(drawn, others, strict=True):
        np.testing.assert_array_equal(one.step, other.step)
        np.testing.assert_array_equal(one.copy, other.copy)
        np.testing.assert_allclose(one.weight, other.weight, rtol=1e-5)
    for one, other in zip(state, other_state, strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-5)


@pytest.mark.xla
@pytest.mark.thorough
def test_xla_copies_no_table():
    """It would, 400 kB at each update, if something read a table and no later write depended on what was read."""
    sampler, newest = built(25_000, 4), tf.Variable(0, dtype=tf.int64)
    weights = tf.Variable(tf.zeros([32]))

    @tf.function(jit_compile=True, autograph=False)
    def run():
        def update(done):
            drawn = sampler.select(32, tf.constant(0, tf.int64), newest.assign_add(1))
            weights.assign_add(drawn.weight)  # but the errors do not depend on the weights
            sampler.update(drawn, tf.cast(drawn.step + drawn.copy, tf.float32))
            return (done + 1,)

        return tf.while_loop(lambda done: done < 10, update, [tf.constant(0)], parallel_iterations=1)

    program = run.experimental_get_compiler_ir()(stage="optimized_hlo")
    size = sampler._tree.tables[0].shape[0]
    assert f"f32[{size}]{{0}} fusion(" in program  # the writes
    assert not re.findall(rf"f32\[{size}\]\S* copy\(", program)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"alpha": -0.1}, "alpha, the exponent of the priorities, must be from 0 to 1. Received: -0.1"),
        ({"alpha": 1.5}, "alpha, the exponent of the priorities, must be from 0 to 1. Received: 1.5"),
        ({"alpha": "high"}, "alpha, the exponent of the priorities, must be from 0 to 1. Received: 'high'"),
        ({"beta": 2}, "beta, the exponent of the weights, must be from 0 to 1. Received: 2"),
        ({"beta": None}, "beta, the exponent of the weights, must be from 0 to 1. Received: None"),
        ({"epsilon": 0}, "epsilon, which is added to the errors, must be above 0. Received: 0"),
        ({"epsilon": float("nan")}, "epsilon, which is added to the errors, must be finite and above 0. Received: nan"),
        (
            {"beta": keras.optimizers.schedules.ExponentialDecay(0.5, 100, 2.0)},
            "beta at batch 1000, the exponent of the weights, must be from 0 to 1. Received: 512.0",
        ),
    ],
)
def test_settings_out_of_range(arguments, message):
    with pytest.raises(ValueError, match=error(message)):
        Prioritized(**arguments)


@pytest.mark.parametrize("beta", [0.3, keras.optimizers.schedules.PolynomialDecay(0.4, 1_000, 1.0)])
def test_the_config_makes_the_same_sampler(beta):
    sampler = Prioritized(alpha=0.5, beta=beta, epsilon=0.01)
    for again in (
        Prioritized.from_config(sampler.get_config()),
        mtq.samplers.deserialize(mtq.samplers.serialize(sampler)),
    ):
        assert mtq.samplers.serialize(again) == mtq.samplers.serialize(sampler)
    assert Prioritized.from_config({"alpha": 0.1}).beta == 0.4


class OwnSchedule(keras.optimizers.schedules.LearningRateSchedule):
    """A schedule that is neither registered nor has a config."""

    def __call__(self, step):
        return tf.minimum(0.5 + 0.01 * tf.cast(step, tf.float32), 1.0)


def test_a_schedule_of_ones_own_needs_no_config():
    tasks, beta = tasks_of("in_graph/CartPole"), OwnSchedule()
    replays = mtq.Experience(model_of(tasks), sampler=Prioritized(beta=beta)).replays
    assert [replay.sampler.beta for replay in replays.values()] == [beta, beta]
    assert len({id(replay.sampler) for replay in replays.values()}) == len(tasks)


def test_a_schedule_that_leaves_its_range_during_the_training_is_refused():
    beta = keras.optimizers.schedules.PiecewiseConstantDecay([2, 9], [0.4, 5.0, 0.5])  # 5 at batches 3 to 9
    model = model_of(tasks_of("in_graph/CartPole"))
    experience = mtq.Experience(model, warmup_steps=20, sampler=Prioritized(beta=beta))
    message = error("beta, the exponent of the weights, must stay from 0 to 1. Received: 5 from Piecewise", "Fix")
    with pytest.raises(ValueError, match=message):
        model.fit(experience.batches(4), epochs=2, steps_per_epoch=6, verbose=0)


def removing_replay(sampler):
    """A replay of images whose short episodes remove steps early."""
    task = mtq.suites.task("breakout")
    return Replay(memory_spec(task), 2, 600, sampler=sampler, is_binary=True)


def test_starts_that_a_replay_of_images_removed_have_no_priority():
    sampler = Prioritized()
    replay = removing_replay(sampler)
    spec, model = memory_spec(mtq.suites.task("breakout")), Model(300, 2)
    ended = tf.tile(tf.constant([True]), [2])
    add, draw = tf.function(replay.add_batch), tf.function(lambda: replay.draw(16, 2))
    for number in range(500):
        step = Memory(*(tf.zeros([2, *s.shape], s.dtype) for s in spec))
        add(step._replace(is_last=ended if number % 3 else ~ended))
        if number < 2 or number % 7:
            continue
        drawn = draw().selection
        first, end = sampler._range.numpy().tolist()
        model.select(first, end - first)
        model.check(sampler)
        errors = np.random.default_rng(number).normal(size=16).astype(np.float32)
        sampler.update(drawn, tf.constant(errors))
        model.update(drawn.step.numpy(), drawn.copy.numpy(), errors.astype(np.float64))
    assert first > 500 - 300


def tasks_of(environment, num_envs=2):
    return mtq.TaskSet([mtq.Task(name, environment, num_envs=num_envs) for name in ("a", "b")])


def model_of(tasks, strategy=None, **options):
    is_image = len(tasks["a"].spec.observation_shape) == 3
    with (strategy or tf.distribute.get_strategy()).scope():
        backbone = mtq.networks.minatar_cnn() if is_image else mtq.networks.mlp([8])
        model = mtq.MultiTaskDQN(mtq.networks.shared_q_network(tasks, backbone, seed=0), tasks)
        model.compile(keras.optimizers.Adam(1e-2), **options)
    return model


def fitted(environment="in_graph/CartPole", updates=30, num_envs=2, strategy=None, sampler="prioritized", **settings):
    tasks = tasks_of(environment, num_envs)
    model = model_of(tasks, strategy, steps_per_execution=5)
    settings = {"warmup_steps": 40, "steps_per_update": 4, "replay_capacity": 120, "n_step": 3, **settings}
    experience = mtq.Experience(model, sampler=sampler, **settings)
    logs = model.fit(experience.batches(16), steps_per_epoch=updates, verbose=0).history
    assert np.isfinite(logs["loss"]).all()
    return model, experience


def check_experience(experience):
    """The starts that can be selected, and no others, have a priority, and most of them have learned it."""
    for replica in experience.replicas:
        for replay in replica.replays.values():
            priorities = table(replay.sampler)
            assert (priorities > 0).sum() == (replay.length - 2) * replay.num_envs
            assert len(np.unique(priorities)) > 0.5 * priorities.size


@pytest.mark.parametrize(
    ("environment", "settings"),
    [
        ("in_graph/CartPole", {}),
        ("CartPole-v1", {"overlap": True}),
        pytest.param("CartPole-v1", {"overlap": False}, marks=pytest.mark.thorough),
        pytest.param(
            "CartPole-v1", {"overlap": True, "steps_per_update": 2, "replay_capacity": 16}, marks=pytest.mark.thorough
        ),
        pytest.param("in_graph/CartPole", {"steps_per_update": 0.5}, marks=pytest.mark.thorough),
        pytest.param("in_graph/MinAtar-Breakout", {}, marks=pytest.mark.thorough),
        pytest.param("in_graph/CartPole", {}, marks=[pytest.mark.thorough, pytest.mark.xla]),
    ],
)
def test_fit_learns_the_priorities(environment, settings):
    model, experience = fitted(environment, updates=60, **settings)
    assert int(model.updates) == 60
    if not settings.get("replay_capacity") and settings.get("steps_per_update") != 0.5:
        check_experience(experience)


def test_fit_traces_the_sampler_once(monkeypatch):
    calls, update = [], Prioritized.update

    def noted(sampler, *told):
        calls.append(sampler)
        update(sampler, *told)

    monkeypatch.setattr(Prioritized, "update", noted)
    model, experience = fitted()
    model.fit(experience.batches(16), steps_per_epoch=10, epochs=2, verbose=0)
    assert len(calls) == 2  # of two tasks


@pytest.mark.thorough
def test_tasks_and_replicas_have_priorities_of_their_own():
    strategy = tf.distribute.MirroredStrategy(["/cpu:0", "/cpu:1"])
    _, experience = fitted(strategy=strategy, replay_capacity=240, warmup_steps=80, steps_per_update=8, updates=60)
    check_experience(experience)
    tables = [table(replay.sampler) for replica in experience.replicas for replay in replica.replays.values()]
    assert len({priorities.tobytes() for priorities in tables}) == 4


@pytest.mark.thorough
@pytest.mark.parametrize("environment", ["in_graph/CartPole", "CartPole-v1"])
def test_the_same_seed_gives_the_same_bits_also_after_reset(environment):
    def weights(model):
        return np.concatenate([variable.numpy().ravel() for variable in model.network.variables])

    expected = weights(fitted(environment, seed=5)[0])
    np.testing.assert_array_equal(weights(fitted(environment, seed=5)[0]), expected)
    tasks = tasks_of(environment)
    fresh = model_of(tasks, steps_per_execution=5)
    fresh_experience = mtq.Experience(
        fresh, sampler="prioritized", warmup_steps=40, steps_per_update=4, replay_capacity=120, n_step=3, seed=8
    )
    initial = [variable.numpy() for variable in fresh.variables]
    fresh.fit(fresh_experience.batches(16), steps_per_epoch=10, verbose=0)
    for variable, value in zip(fresh.variables, initial, strict=True):
        variable.assign(value)
    for variable in fresh.optimizer.variables:
        if "learning_rate" not in variable.path:
            variable.assign(np.zeros_like(variable.numpy()))
    fresh_experience.reset(5)
    fresh.fit(fresh_experience.batches(16), steps_per_epoch=30, verbose=0)
    np.testing.assert_array_equal(weights(fresh), expected)


def test_experience_takes_names_samplers_configs_and_dicts_by_task():
    tasks = tasks_of("in_graph/CartPole")
    model = model_of(tasks)

    def made(sampler):
        experience = mtq.Experience(model, sampler=sampler)
        return [experience.replays[name].sampler for name in tasks]

    ours = Prioritized(alpha=0.3)
    for sampler in (
        ours,
        mtq.samplers.serialize(ours),
        functools.partial(Prioritized, alpha=0.3),
        {"a": ours, "b": mtq.samplers.serialize(ours)},
    ):
        one, other = made(sampler)
        assert one is not other
        assert one is not ours
        assert (one.alpha, other.alpha) == (0.3, 0.3)
    one, other = made({"a": "uniform", "b": "prioritized"})
    assert isinstance(one, mtq.samplers.Uniform)
    assert other.alpha == ALPHA
    assert all(isinstance(sampler, mtq.samplers.Uniform) for sampler in [*made("uniform"), *made(None)])


class Configured(mtq.samplers.Uniform):
    def __init__(self, setting):
        super().__init__()
        self.setting = setting


def test_what_is_no_sampler_is_refused():
    tasks = tasks_of("in_graph/CartPole")
    model = model_of(tasks)
    used = mtq.Experience(model, sampler="prioritized").replays["a"].sampler
    for sampler, message in [
        ("prioritised", ["The sampler must be one of", "'uniform'", "Received: 'prioritised'", "'prioritized'?"]),
        (3, ["sampler of experience must be a name, a Sampler", "Received: 3", "'prioritized'"]),
        ({"a": "uniform"}, ["sampler must have an entry for each task", "Received: ['a']", "['a', 'b']"]),
        (used, ["sampler of experience must be one that no replay buffer uses", "Received: a PrioritizedSampler"]),
        (lambda: used, ["sampler of a Replay must be one that no other replay uses", "Received:", "Make a sampler"]),
        ({"class_name": "Dense", "config": {}}, ["sampler"]),
    ]:
        with pytest.raises(ValueError, match=error(*message)):
            mtq.Experience(model, sampler=sampler)
    with pytest.raises(NotImplementedError, match=error("Configured must define get_config", "functools.partial")):
        mtq.Experience(model, sampler=Configured(3))


def test_a_batch_whose_errors_would_be_lost_is_refused():
    tasks = tasks_of("in_graph/CartPole")
    with pytest.raises(ValueError, match="whose sampler needs the errors of each update must be drawn by fit"):
        mtq.Experience(model_of(tasks), warmup_steps=20, sampler="prioritized").next_batch(4)
    with pytest.raises(ValueError, match="whose sampler needs the errors of each update must be drawn by fit"):
        mtq.Experience(model_of(tasks), warmup_steps=20, sampler="prioritized").batches(4).next_batch()


@pytest.mark.thorough
def test_a_run_is_resumed_with_its_priorities(tmp_path):
    """A checkpoint holds the priorities: both runs continue with the same bits."""
    model, experience = fitted(seed=3)
    Checkpoint(tmp_path, model, experience).save(1, {})
    resumed, resumed_experience = fitted(seed=3, updates=5)
    assert Checkpoint(tmp_path, resumed, resumed_experience).load() is not None
    for one, other in ((model, experience), (resumed, resumed_experience)):
        one.fit(other.batches(16), steps_per_epoch=20, verbose=0)
    for one, other in zip(model.network.variables, resumed.network.variables, strict=True):
        np.testing.assert_array_equal(one, other)
    for name, variable in experience.replicas[0].state().items():
        np.testing.assert_array_equal(variable, resumed_experience.replicas[0].state()[name])


def test_a_function_of_map_that_drops_the_weights_is_refused():
    tasks = mtq.TaskSet([mtq.Task("chain", "in_graph/Chain")])
    model = mtq.MultiTaskDQN(mtq.networks.shared_q_network(tasks, mtq.networks.mlp([4])), tasks)
    model.compile("adam")
    batches = mtq.Experience(model, warmup_steps=20, sampler="prioritized").batches(4)
    dropped = batches.map(lambda batch: {name: mtq.Transition(*rows[:5]) for name, rows in batch.items()})
    with pytest.raises(ValueError, match="The function of map must keep the weight of each row"):
        model.fit(dropped, steps_per_epoch=1, verbose=0)
    kept = batches.map(lambda batch: {name: rows._replace(reward=-rows.reward) for name, rows in batch.items()})
    model.fit(kept, steps_per_epoch=1, verbose=0)
