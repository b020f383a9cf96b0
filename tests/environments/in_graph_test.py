"""Acting, storing, sampling and learning in one compiled loop, and whole episodes in a graph."""

import functools

import keras
import numpy as np
import pytest
import scipy.stats
import tensorflow as tf

import mtq
from mtq.dynamics import CartPole, Dynamics
from mtq.evaluation.evaluator import Evaluator, evaluate, evaluate_random
from mtq.evaluation.playing import InGraphPlayer, play
from mtq.random_numbers import make_generator, stateless_uniform, uniform
from mtq.tasks.spec import TaskSpec


def two_tasks(num_envs=2):
    return mtq.TaskSet(
        [
            mtq.Task("cart_pole", "in_graph/CartPole", num_envs=num_envs),
            mtq.Task("mountain_car", "in_graph/MountainCar", num_envs=num_envs, max_episode_steps=50),
        ]
    )


def learn(updates=20, tasks=None, fit=True, jit_compile="auto", steps_per_execution=10, **options):
    tasks = tasks or two_tasks()
    network = mtq.networks.shared_q_network(tasks, mtq.networks.mlp([16]), seed=0)
    model = mtq.MultiTaskDQN(network, tasks, target_update_period=7)
    model.compile(keras.optimizers.Adam(1e-2), steps_per_execution=steps_per_execution, jit_compile=jit_compile)
    experience = mtq.Experience(tasks, model, **{"warmup_steps": 20, "steps_per_update": 2, **options})
    dataset = experience.dataset(8)
    if fit:
        model.fit(dataset, steps_per_epoch=updates, verbose=0)
    else:
        for batch in dataset.take(updates):
            model.train_on_batch(batch)
    return model, experience


@pytest.mark.parametrize(("num_envs", "ratio", "each"), [pytest.param(4, 8, 80, marks=pytest.mark.thorough), (3, 1, 9)])
def test_the_replay_ratio_is_exact_and_nothing_is_learnt_before_the_warm_up(num_envs, ratio, each):
    model, experience = learn(10, two_tasks(num_envs), warmup_steps=12, steps_per_update=ratio)
    assert experience.env_steps == {"cart_pole": 12 + each, "mountain_car": 12 + each}
    assert {int(replay.num_frames()) for replay in experience.replays.values()} == {12 + each}
    assert int(model.updates) == 10


def test_the_warm_up_leaves_the_weights_as_they_were():
    tasks = two_tasks()
    network = mtq.networks.shared_q_network(tasks, mtq.networks.mlp([16]), seed=0)
    model = mtq.MultiTaskDQN(network, tasks)
    model.compile("adam")
    before = model.network.get_weights()
    source = mtq.Experience(tasks, model, warmup_steps=100)
    source.prepare()
    source.prepare()  # once is enough
    assert int(model.updates) == 0
    for old, new in zip(before, model.network.get_weights(), strict=True):
        np.testing.assert_array_equal(old, new)


def test_the_warm_up_is_taken_once():
    tasks = two_tasks()
    model = mtq.MultiTaskDQN(mtq.networks.shared_q_network(tasks, mtq.networks.mlp([16])), tasks)
    experience = mtq.Experience(tasks, model, warmup_steps=20)
    assert experience.batches(8) is experience.batches(8)
    for _ in range(2):
        experience.prepare()
        assert experience.env_steps["cart_pole"] == 20
    experience.next_batch(4)
    assert experience.env_steps["cart_pole"] == 20  # the first step of both copies is due with the second batch


@pytest.mark.thorough
def test_a_single_batch_after_fit_is_the_one_that_was_given():
    model, experience = learn(10, steps_per_execution=1)
    batch = experience.next_batch(8)
    before = experience.env_steps
    model.train_on_batch(batch)
    assert int(model.updates) == 11
    assert experience.env_steps == before
    model.fit(experience.dataset(8), steps_per_epoch=10, verbose=0)
    assert int(model.updates) == 21
    assert experience.env_steps["cart_pole"] == before["cart_pole"] + 20


def test_an_epoch_without_end_is_refused():
    model, experience = learn(10)
    with pytest.raises(ValueError, match=r"steps_per_epoch must say how many updates an epoch has"):
        model.fit(experience.dataset(8))


@pytest.mark.thorough
def test_one_evaluation_callback_for_two_models():
    callback = mtq.callbacks.EvaluateTasks(episodes=2, verbose=0)
    for names in (["in_graph/CartPole"], ["in_graph/CartPole", "in_graph/Chain"]):
        tasks = mtq.TaskSet([mtq.suites.task(name) for name in names])
        encoders = {name: mtq.networks.dense_encoder(task, 4) for name, task in tasks.items()}
        model = mtq.MultiTaskDQN(mtq.networks.shared_q_network(tasks, mtq.networks.mlp([4]), encoders), tasks)
        model.compile("adam", jit_compile=False)
        dataset = mtq.Experience(tasks, model, warmup_steps=10).dataset(4)
        history = model.fit(dataset, steps_per_epoch=1, verbose=0, callbacks=[callback]).history
        assert {f"val_{task}/return" for task in tasks} <= set(history)


@pytest.mark.thorough
@pytest.mark.xla
def test_dynamics_that_xla_cannot_compile_are_learnt_without_it():
    class Strange(CartPole):
        def step(self, state, action, random):
            state, reward, terminated = super().step(state, action, random)
            return tf.ensure_shape(tf.numpy_function(lambda x: x, [state], tf.float32), state.shape), reward, terminated

    tasks = mtq.TaskSet([mtq.Task("strange", Strange)])
    model = mtq.MultiTaskDQN(mtq.networks.shared_q_network(tasks, mtq.networks.mlp([4])), tasks)
    model.compile("adam", jit_compile=False)
    dataset = mtq.Experience(tasks, model, warmup_steps=5_001).dataset(4)
    model.fit(dataset, steps_per_epoch=2, verbose=0)
    assert next(iter(dataset))["strange"].observation.shape == (4, 4)
    assert evaluate(model, episodes=2)["strange"].mean > 0


def test_jit_compile_is_one_of_three():
    with pytest.raises(ValueError, match=r"jit_compile must be True, False or 'auto'\. Received: 'yes'"):
        learn(1, jit_compile="yes")


@functools.cache
def weights_after_ten(**options):
    return learn(10, **options)[0].get_weights()


def test_fit_and_a_loop_over_the_dataset_learn_the_same():
    looped = learn(10, fit=False, steps_per_execution=1, jit_compile=False)[0].get_weights()
    for a, b in zip(weights_after_ten(jit_compile=False), looped, strict=True):
        np.testing.assert_allclose(a, b, atol=1e-4)


def test_random_numbers_are_the_same_with_and_without_xla():
    def draw(jit_compile):
        random = make_generator(3)

        @tf.function(jit_compile=jit_compile)
        def draws():
            return uniform(random, [3, 500]), stateless_uniform([3, 500], tf.constant([1, 2]))

        return np.concatenate(draws())

    with_xla, without = draw(True), draw(None)
    np.testing.assert_array_equal(with_xla, without)
    assert with_xla.min() >= 0
    assert with_xla.max() < 1
    assert scipy.stats.kstest(with_xla.ravel(), "uniform").pvalue > 1e-3


OPTIONS = [{}, {"overlap": True, "n_step": 3}]


@pytest.mark.parametrize(
    ("options", "updates"),
    [
        *(pytest.param(options, 40, marks=pytest.mark.slow) for options in OPTIONS),  # and with XLA
        pytest.param({"overlap": True, "n_step": 3, "jit_compile": False}, 20, marks=pytest.mark.thorough),
    ],
)
def test_the_same_seed_gives_the_same_bits(options, updates):
    first, second = (learn(updates, **options)[0].get_weights() for _ in range(2))
    for a, b in zip(first, second, strict=True):
        np.testing.assert_array_equal(a, b)


@pytest.mark.xla
def test_with_and_without_xla_the_same_is_learnt():
    for a, b in zip(learn(10)[0].get_weights(), weights_after_ten(jit_compile=False), strict=True):
        np.testing.assert_allclose(a, b, atol=1e-4)


@pytest.mark.thorough
def test_a_second_fit_goes_on_and_another_dataset_is_noticed():
    model, experience = learn(10)
    dataset = experience.dataset(4)
    model.fit(dataset, steps_per_epoch=10, verbose=0)
    function = model.train_function
    model.fit(dataset, steps_per_epoch=10, verbose=0)
    assert model.train_function is function
    assert experience.env_steps["cart_pole"] == 20 + 30 * 2
    assert int(model.updates) == 30


def test_what_a_train_step_adds_to_the_logs_is_heard():
    class Telling(mtq.MultiTaskDQN):
        def train_step(self, batch):
            logs = super().train_step(batch)
            return {**logs, "doubled": 2.0 * tf.cast(self.updates.value, tf.float32), "loss": tf.constant(7.0)}

    tasks = two_tasks()
    model = Telling(mtq.networks.shared_q_network(tasks, mtq.networks.mlp([16]), seed=0), tasks)
    model.compile("adam", steps_per_execution=5)
    dataset = mtq.Experience(tasks, model, warmup_steps=20).dataset(8)
    logs = model.fit(dataset, steps_per_epoch=10, verbose=0).history
    assert logs["doubled"] == [20.0]
    assert logs["loss"] == [7.0]
    assert np.isfinite(logs["cart_pole/loss"]).all()


@pytest.mark.parametrize("jit_compile", [False, pytest.param("auto", marks=pytest.mark.slow)])
def test_overlap_changes_nothing_where_all_tasks_are_in_graph(jit_compile):
    overlapped = learn(10, overlap=True, jit_compile=jit_compile)[0].get_weights()
    for a, b in zip(overlapped, weights_after_ten(jit_compile=jit_compile), strict=True):
        np.testing.assert_array_equal(a, b)


@pytest.mark.xla
@pytest.mark.parametrize(("jit_compile", "uses_xla"), [("auto", False), (True, True)])
def test_unusual_convolutions_are_not_compiled_on_a_cpu_unless_asked_for(jit_compile, uses_xla):
    tasks = mtq.TaskSet([mtq.Task("catch", mtq.dynamics.Catch())])
    assert mtq.MultiTaskDQN(mtq.networks.shared_q_network(tasks, mtq.networks.mlp([4])), tasks).uses_xla
    layers = [keras.layers.Reshape((-1, 1, 1)), keras.layers.DepthwiseConv2D(1), keras.layers.Flatten()]
    backbone = keras.Sequential(layers)
    model = mtq.MultiTaskDQN(mtq.networks.shared_q_network(tasks, backbone), tasks)
    model.compile(jit_compile=jit_compile)
    assert model.uses_xla is uses_xla


@pytest.mark.xla
@pytest.mark.parametrize(("size", "compiled"), [((10, 10, 4), True), ((84, 84, 4), False), ((5,), False)])
def test_updates_of_small_images_are_compiled_by_themselves(size, compiled):
    tasks = mtq.TaskSet([mtq.Task("images", None, spec=TaskSpec(size, "float32", None, 3))])
    backbone = keras.Sequential([keras.layers.Conv2D(4, 3), keras.layers.Flatten()])
    backbone = backbone if len(size) == 3 else mtq.networks.mlp([4])
    model = mtq.MultiTaskDQN(mtq.networks.shared_q_network(tasks, backbone), tasks)
    model.compile()
    assert model.compiles_update is compiled
    model.compile(jit_compile=False)
    assert not model.compiles_update
    model.compile(run_eagerly=True)
    assert not model.compiles_update
    model.compile(jit_compile=True)
    assert model.compiles_update


@pytest.mark.xla
@pytest.mark.parametrize("layer", ["Conv1D", "SeparableConv1D", "DepthwiseConv1D", "Conv1DTranspose"])
def test_all_kinds_of_convolutions_count(layer):
    tasks = mtq.TaskSet([mtq.Task("catch", mtq.dynamics.Catch())])
    arguments = (1,) if layer == "DepthwiseConv1D" else (2, 1)
    backbone = keras.Sequential(
        [keras.layers.Reshape((-1, 1)), getattr(keras.layers, layer)(*arguments), keras.layers.Flatten()]
    )
    assert not mtq.MultiTaskDQN(mtq.networks.shared_q_network(tasks, backbone), tasks).uses_xla


def test_overlap_needs_whole_steps():
    with pytest.raises(ValueError, match=r"steps_per_update must be a multiple of every task's num_envs.*Received: 3"):
        learn(10, overlap=True, steps_per_update=3)


@pytest.mark.thorough
@pytest.mark.xla
def test_episodes_in_a_graph_are_those_that_python_plays():
    """CarOnHill begins always alike and is not random, so any way of playing it gives the same return."""
    tasks = mtq.TaskSet([mtq.Task("car", "in_graph/CarOnHill")])
    networks = [mtq.networks.shared_q_network(tasks, mtq.networks.mlp([16]), seed=seed) for seed in range(4)]
    model = mtq.MultiTaskDQN(networks[0], tasks)
    evaluator = Evaluator(model, episodes=2)
    for network in networks:
        model.network.set_weights(network.get_weights())
        in_graph = evaluator.greedy(0)["car"]
        policy = mtq.evaluation.greedy_policy(model.paths["car"])
        stepped = play(tasks["car"], policy, episodes=2, seed=0)
        np.testing.assert_array_equal(in_graph.returns, stepped.returns)
        np.testing.assert_array_equal(in_graph.lengths, stepped.lengths)


def test_random_episodes_in_a_graph_are_gymnasiums_in_distribution():
    gymnasium = evaluate_random(mtq.TaskSet([mtq.Task("cart_pole", "CartPole-v1")]), episodes=400)["cart_pole"]
    in_graph = evaluate_random(two_tasks(), episodes=400)
    error = (gymnasium.std**2 / 400 + in_graph["cart_pole"].std ** 2 / 400) ** 0.5
    assert abs(gymnasium.mean - in_graph["cart_pole"].mean) < 4 * error
    assert set(in_graph["mountain_car"].lengths) == {50}


def test_an_evaluator_follows_the_weights_and_its_seed():
    tasks = two_tasks()
    model = mtq.MultiTaskDQN(mtq.networks.shared_q_network(tasks, mtq.networks.mlp([16]), seed=0), tasks)
    evaluator = Evaluator(model, episodes=5)
    first, again, other = (evaluator.greedy(seed)["cart_pole"].returns for seed in (1, 1, 2))
    np.testing.assert_array_equal(first, again)
    assert not np.array_equal(first, other)
    model.network.get_layer("cart_pole_q_values").kernel.assign(np.zeros([16, 2]))
    model.network.get_layer("cart_pole_q_values").bias.assign([0.0, 1.0])
    assert evaluator.greedy(1)["cart_pole"].mean < 12  # always to the right


def test_episodes_are_cut_off():
    task = mtq.Task("mountain_car", "in_graph/MountainCar", max_episode_steps=1_000)
    stay = InGraphPlayer(task, lambda observation, _: tf.ones_like(observation[:, 0], tf.int32), 3, max_steps=20)
    assert stay(0).lengths.tolist() == [20, 20, 20]


class Overflowing(CartPole):
    def step(self, state, action, random):
        state, reward, terminated = super().step(state, action, random)
        return state, reward / 0.0, terminated


class Misshapen(CartPole):
    def observe(self, state):
        return state[:, :3]


@pytest.mark.parametrize(
    ("dynamics", "message"),
    [
        (Overflowing, r"dynamics of task 'broken' must return finite numbers. Received: rewards \[inf\]"),
        (Misshapen, r"dynamics of task 'broken' must return the observation .* of shape \(1, 4\).*\(1, 3\)"),
    ],
)
def test_broken_dynamics_are_found_before_training(dynamics: type[Dynamics], message):
    tasks = mtq.TaskSet([mtq.Task("broken", dynamics)])
    model = mtq.MultiTaskDQN(mtq.networks.shared_q_network(tasks, mtq.networks.mlp([4])), tasks)
    with pytest.raises(ValueError, match=message):
        mtq.Experience(tasks, model)
