"""From the environments through driver, replay and dataset to the batch that is learnt from."""

import random
import time

import gymnasium
import keras
import numpy as np
import pytest
import tensorflow as tf

import mtq
from mtq.environments import gymnasium_environment
from mtq.experience.exploration import EpsilonGreedy
from tests.interop import needs_tf_agents
from tests.toy_environments import Corridor, CountingEnvironment


def batches(experience, number, batch_size=100):
    iterator = iter(experience.dataset(batch_size))
    return [next(iterator) for _ in range(number)]


def in_graph(make_model):
    tasks = mtq.TaskSet([mtq.Task("chain", "in_graph/Chain", num_envs=2)])
    return mtq.Experience(make_model(tasks, compile_options={"jit_compile": True}), warmup_steps=8).batches(4)


def test_options_of_map_are_refused(make_model):
    with pytest.raises(ValueError, match=r"num_parallel_calls of map must be left out.* Call as_dataset\(\)\.map"):
        in_graph(make_model).map(lambda batch: batch, num_parallel_calls=4)


def test_a_loop_within_a_graph_is_refused(make_model):
    batches = in_graph(make_model)

    @tf.function
    def count():
        for _ in batches:
            return 1
        return 0

    with pytest.raises(ValueError, match=r"must be drawn outside of a tf.function. Received: a loop within one"):
        count()
    assert len(list(batches.take(2))) == 2


@pytest.mark.xla
@pytest.mark.parametrize("draw", [lambda batches: next(iter(batches)), lambda batches: list(batches.take(1))])
def test_what_xla_would_remove_or_cannot_compile_is_run_in_every_loop(make_model, draw):
    def with_host_call(batch):
        reward = tf.numpy_function(lambda reward: reward + 1, [batch["chain"].reward], tf.float32)
        return {"chain": batch["chain"]._replace(reward=tf.ensure_shape(reward, [4]))}

    def with_assertion(batch):
        with tf.control_dependencies([tf.debugging.assert_less(batch["chain"].reward, -100.0)]):
            return {"chain": batch["chain"]._replace(reward=tf.identity(batch["chain"].reward))}

    draw(in_graph(make_model).map(with_host_call))
    with pytest.raises(tf.errors.OpError):
        draw(in_graph(make_model).map(with_assertion))


def counting(make_model, num_envs=2, ends_at=5, **options):
    environment = type("Counting", (CountingEnvironment,), {"ends_at": ends_at, "steps": 0})
    tasks = mtq.TaskSet([mtq.Task("counting", environment, num_envs=num_envs, discount=0.9)])
    settings = {"warmup_steps": 200, "steps_per_update": num_envs, "exploration": 0.5, **options}
    return mtq.Experience(tasks, make_model(tasks), **settings)


@pytest.mark.parametrize(("num_envs", "ends_at"), [(1, 5), (3, 5), (2, 1), (2, 2)])
def test_no_pair_across_episodes_in_ten_thousand_transitions(make_model, num_envs, ends_at):
    experience = counting(make_model, num_envs, ends_at, replay_capacity=500)
    seen = 0
    for batch in batches(experience, 50, batch_size=200):
        t = batch["counting"]
        same_episode = t.observation[:, 0] == t.next_observation[:, 0]
        next_step = t.observation[:, 1] + 1 == t.next_observation[:, 1]
        assert np.all(same_episode & next_step)
        seen += len(t.action)
    assert seen >= 10_000


def test_a_terminal_bootstraps_nothing_and_a_time_limit_bootstraps(make_model):
    experience = counting(make_model)
    terminals = limits = 0
    for batch in batches(experience, 20):
        t = batch["counting"]
        last = t.next_observation[:, 1] == CountingEnvironment.ends_at
        terminal = last & (t.next_observation[:, 0] % 2 == 1)
        np.testing.assert_allclose(t.discount, np.where(terminal, 0.0, 0.9), rtol=1e-6)
        terminals, limits = terminals + np.sum(terminal), limits + np.sum(last & ~terminal)
    assert terminals > 20
    assert limits > 20


@pytest.mark.parametrize("terminates", [pytest.param(True, marks=pytest.mark.thorough), False])
def test_values_learnt_past_a_terminal_and_past_a_time_limit(terminates):
    """Through the whole of `fit`: an episode of one step with reward 1 is worth 1 if it ends, 1/(1 − γ) if cut off."""

    class OneStep(Corridor):
        length = 1

        def step(self, action):
            return self._observe(), 1.0, terminates, not terminates, {}

    import keras

    tasks = mtq.TaskSet([mtq.Task("one_step", OneStep, discount=0.5)])
    network = mtq.networks.shared_q_network(tasks, mtq.networks.mlp([8]), seed=0)
    model = mtq.MultiTaskDQN(network, tasks, target_update_period=10)
    model.compile(keras.optimizers.Adam(0.02), aggregator="sum", steps_per_execution=50)
    experience = mtq.Experience(tasks, model, warmup_steps=50)
    model.fit(experience.dataset(16), steps_per_epoch=400, verbose=0)
    values = model.predict({"one_step": np.ones((1, 1), np.float32)}, verbose=0)["one_step"]
    np.testing.assert_allclose(values, 1.0 if terminates else 2.0, rtol=0.02)


def test_n_step_windows_end_with_the_episode(make_model):
    experience = counting(make_model, n_step=3)
    for batch in batches(experience, 20):
        t = batch["counting"]
        steps = t.next_observation[:, 1] - t.observation[:, 1]
        assert np.all(t.observation[:, 0] == t.next_observation[:, 0])
        np.testing.assert_array_equal(steps, np.minimum(3, CountingEnvironment.ends_at - t.observation[:, 1]))
        np.testing.assert_allclose(t.reward, [sum(0.9**k for k in range(int(m))) for m in steps], rtol=1e-5)
        terminal = (t.next_observation[:, 1] == CountingEnvironment.ends_at) & (t.next_observation[:, 0] % 2 == 1)
        np.testing.assert_allclose(t.discount, np.where(terminal, 0.0, 0.9**steps), rtol=1e-5)


def test_rewards_are_scaled_then_clipped_when_sampled_and_returns_are_not(make_model):
    tasks = mtq.TaskSet([mtq.Task("counting", CountingEnvironment, reward_scale=3.0, reward_clip=2.0)])
    experience = mtq.Experience(tasks, make_model(tasks), warmup_steps=50)
    (batch,) = batches(experience, 1)
    assert set(batch["counting"].reward.numpy()) == {2.0}
    assert experience.take_mean_returns() == {"counting": 5.0}
    assert experience.take_mean_returns() == {"counting": None}


@pytest.mark.parametrize(
    ("num_envs", "ratio", "after"),
    [(1, 1, 10), (4, 4, 40), (4, 8, 80), (2, 0.5, 4), (4, 1, 8), (1, 2.5, 25), (3, 1, 9)],
)
def test_the_replay_ratio_is_exact(make_model, num_envs, ratio, after):
    """`after` is counted by the environment itself, after ten updates and without the warm-up."""
    environment = type("Counting", (CountingEnvironment,), {})
    tasks = mtq.TaskSet([mtq.Task("counting", environment, num_envs=num_envs)])
    experience = mtq.Experience(tasks, make_model(tasks), warmup_steps=12, steps_per_update=ratio)
    CountingEnvironment.steps = 0
    batches(experience, 10)
    assert CountingEnvironment.steps == experience.env_steps["counting"] == 12 + after


def test_batches_are_made_when_asked_for_and_not_before(make_model):
    experience = counting(make_model, num_envs=2, warmup_steps=20)
    iterator = iter(experience.dataset(8))
    assert experience.env_steps["counting"] == 0
    for number in range(1, 6):
        next(iterator)
        assert experience.env_steps["counting"] == 20 + 2 * number


def test_fit_traces_the_drawing_of_a_batch_once_and_datasets_are_made_when_asked_for(
    two_tasks, make_model, monkeypatch
):
    model = make_model()
    experience = mtq.Experience(two_tasks, model, warmup_steps=10)
    batches, traced, replica = experience.batches(4), [], experience.replicas[0]
    next_batch = replica.next_batch
    monkeypatch.setattr(replica, "next_batch", lambda num_rows: traced.append(1) or next_batch(num_rows))
    for _ in range(2):
        model.fit(batches, steps_per_epoch=2, verbose=0)
    assert len(traced) == 1
    assert batches.element_spec["corridor"].action == tf.TensorSpec([4], tf.int32)
    assert len(traced) == 1
    taken = batches.take(2)
    assert isinstance(taken, tf.data.Dataset)
    assert len([batch["counting"].reward for batch in taken]) == 2
    assert next(iter(batches))["corridor"].action.shape == (4,)
    assert len(traced) == 2  # the loop and the dataset draw by one function
    with pytest.raises(AttributeError, match="'Batches' object has no attribute 'batch_sizes'"):
        batches.batch_sizes  # noqa: B018


def test_a_mapped_batch_is_drawn_in_the_graph_of_fit(two_tasks, make_model):
    """Rewards of zero for one task: its values go to zero, and its loss says so from the first update."""
    model = make_model(compile_options={"loss": "squared"}, target_update_period=10**6)
    experience = mtq.Experience(two_tasks, model, warmup_steps=10)

    def without_rewards(batch):
        corridor = batch["corridor"]
        return {**batch, "corridor": corridor._replace(reward=0 * corridor.reward, discount=0 * corridor.discount)}

    batches = experience.batches(8).map(without_rewards)
    assert np.all(next(iter(batches))["corridor"].reward == 0)
    assert np.all(next(iter(batches.as_dataset()))["corridor"].discount == 0)
    model.network.get_layer("corridor_q_values").bias.assign([3.0, 3.0])
    model.network.get_layer("corridor_q_values").kernel.assign(np.zeros([16, 2]))
    history = model.fit(batches, steps_per_epoch=1, verbose=0).history
    assert history["corridor/loss"] == pytest.approx([9.0])
    assert history["counting/loss"] != pytest.approx([9.0])


@pytest.mark.thorough
def test_mapped_batches_have_the_shapes_that_the_function_gives_them(two_tasks, make_model):
    experience = mtq.Experience(two_tasks, make_model(), warmup_steps=10)
    batches = experience.batches(8).map(lambda batch: {"corridor": batch["corridor"].reward[:3]})
    assert batches.element_spec == {"corridor": tf.TensorSpec([3], tf.float32)}
    assert next(iter(batches.as_dataset()))["corridor"].shape == (3,)


def test_every_start_is_equally_likely(make_model):
    experience = counting(make_model, num_envs=2, ends_at=10**6, warmup_steps=80, replay_capacity=60)
    batch = experience.next_batch(30_000)
    steps, counts = np.unique(batch["counting"].observation[:, 1], return_counts=True)
    np.testing.assert_array_equal(steps, np.arange(11, 41))  # the last 30 of each copy's 41
    assert counts.min() / 1000 > 0.8
    assert counts.max() / 1000 < 1.2
    experience.replays["counting"].check_valid()


def test_acting_follows_the_model_after_the_warm_up(make_model):
    """Greedy from the first step after the warm-up: the head says action 1, so the corridor is walked without rest."""
    tasks = mtq.TaskSet([mtq.Task("corridor", Corridor)])
    model = make_model(tasks)
    model.network.get_layer("corridor_q_values").bias.assign([0.0, 100.0])
    experience = mtq.Experience(tasks, model, warmup_steps=30, exploration=0.0)
    iterator, replay = iter(experience.dataset(4)), experience.replays["corridor"]
    next(iterator)
    before = int(replay.num_frames())
    for _ in range(30):
        next(iterator)
    rows = replay.read(tf.range(before, replay.num_frames()))
    assert len(rows.action) == 30
    assert np.all(rows.action == 1)


@pytest.mark.thorough
def test_exploration_schedules_by_task(two_tasks, make_model):
    model = make_model()
    for name in two_tasks:
        model.network.get_layer(f"{name}_q_values").bias.assign(np.eye(two_tasks[name].num_actions)[0] * 100)
    experience = mtq.Experience(
        two_tasks, model, exploration={"corridor": 0.0, "counting": mtq.exploration.linear(1.0, 1.0)}, warmup_steps=10
    )
    iterator = iter(experience.dataset(4))
    for _ in range(400):
        next(iterator)
    actions = {n: r.read(tf.range(20, r.num_frames() // 2)).action for n, r in experience.replays.items()}
    assert np.all(actions["corridor"] == 0)
    assert set(actions["counting"].numpy()) == {0, 1, 2}


@needs_tf_agents
@pytest.mark.filterwarnings(
    "ignore:Exception ignored in. <function Pool.__del__"
)  # tf-agents leaves its thread pool open
def test_tf_agents_environments_are_tasks_too(make_model):
    from tf_agents.environments import random_py_environment, tf_py_environment
    from tf_agents.specs import array_spec

    def make():
        return random_py_environment.RandomPyEnvironment(
            array_spec.BoundedArraySpec((3,), np.float32, -1.0, 1.0),
            array_spec.BoundedArraySpec((), np.int32, 0, 3),
            episode_end_probability=0.2,
            seed=0,
        )

    sources = {"python": make, "graph": lambda: tf_py_environment.TFPyEnvironment(make()), "object": make()}
    tasks = mtq.TaskSet([mtq.Task(name, source) for name, source in sources.items()])
    assert [task.num_actions for task in tasks.values()] == [4, 4, 4]
    experience = mtq.Experience(tasks, make_model(tasks), warmup_steps=100)
    (batch,) = batches(experience, 1, batch_size=200)
    for name in tasks:
        assert set(batch[name].discount.numpy()) == {0.0, np.float32(0.99)}
        assert batch[name].observation.shape == (200, 3)


@pytest.mark.thorough
def test_all_gymnasium_tasks_share_one_crossing_a_step(two_tasks, make_model, monkeypatch):
    experience = mtq.Experience(two_tasks, make_model(), warmup_steps=10, steps_per_update=2)
    crossings, packed = [], gymnasium_environment._packed_numbers
    monkeypatch.setattr(gymnasium_environment, "_packed_numbers", lambda s: crossings.append(len(s)) or packed(s))
    next_batch = tf.function(lambda: experience.next_batch(4), autograph=False)
    next_batch()
    crossings.clear()
    for _ in range(20):
        next_batch()
    assert crossings == [2] * 20  # of two tasks each


class Sleepy(Corridor):
    """Takes its time, now more and now less."""

    def step(self, action):
        time.sleep(random.choice([0.0, 0.0, 0.002]))
        return super().step(action)


@pytest.mark.parametrize(
    "options",
    [
        pytest.param({"n_step": 3, "replay_capacity": 40}, marks=pytest.mark.thorough),
        *(
            pytest.param(options, marks=pytest.mark.slow)
            for options in ({}, {"n_step": 3}, {"replay_capacity": 40}, {"steps_per_update": 8})
        ),
    ],
)
def test_steps_beside_updates_give_the_bits_of_strict_turns(options, make_model):
    tasks = mtq.TaskSet(
        [
            mtq.Task("sleepy", Sleepy, num_envs=2),
            mtq.Task("counting", CountingEnvironment, num_envs=4),
            mtq.Task("chain", "in_graph/Chain", num_envs=2),
        ]
    )
    settings = {"warmup_steps": 20, "steps_per_update": 4, "exploration": EpsilonGreedy(0.3, 2.0), **options}

    def learn(beside):
        sizes = {name: mtq.networks.dense_encoder(task, 8) for name, task in tasks.items()}  # built ones are kept
        model = mtq.MultiTaskDQN(mtq.networks.shared_q_network(tasks, mtq.networks.mlp([8]), sizes, seed=0), tasks)
        model.compile(keras.optimizers.Adam(1e-2), steps_per_execution=10)
        experience = mtq.Experience(tasks, model, **settings)
        replica = experience.replicas[0]
        assert replica._next_batch == replica._beside_the_last_step
        if not beside:
            replica._next_batch = replica._after_all_steps
        model.fit(experience.dataset(8), steps_per_epoch=50, verbose=0)
        remembered = [tf.nest.flatten(replay.gather_all()) for replay in experience.replays.values()]
        return [v.numpy() for v in model.network.variables] + [t.numpy() for t in tf.nest.flatten(remembered)]

    for beside, in_turns in zip(learn(True), learn(False), strict=True):
        np.testing.assert_array_equal(beside, in_turns)


def test_with_overlap_the_batch_does_not_hold_the_last_step(two_tasks, make_model):
    experience = mtq.Experience(two_tasks, make_model(), warmup_steps=2, steps_per_update=2, overlap=True)
    experience.prepare()
    batch = experience.batches(64).next_batch()["counting"]
    assert experience.env_steps["counting"] == 4
    assert len(np.unique(np.concatenate([batch.observation, batch.next_observation], axis=1), axis=0)) <= 2


@pytest.mark.thorough
def test_tasks_of_all_kinds_and_numbers_of_copies_learn_together(make_model):
    images = gymnasium.spaces.Box(0, 255, (2, 2, 1), np.uint8)

    class Images(CountingEnvironment):
        def __init__(self):
            super().__init__()
            self.observation_space = images

        def _observe(self):
            return np.full((2, 2, 1), 10 * self.step_in_episode, np.uint8)

    tasks = mtq.TaskSet(
        [
            mtq.Task("python", Corridor, num_envs=4),
            mtq.Task("images", Images, num_envs=2),
            mtq.Task("in_graph", "in_graph/Chain", num_envs=2),
            mtq.Task("counting", CountingEnvironment, num_envs=1),
        ]
    )
    sizes = {name: mtq.networks.dense_encoder(task, 8) for name, task in tasks.items()}
    sizes["images"] = lambda x: keras.layers.Dense(8)(keras.layers.Flatten()(x))
    network = mtq.networks.shared_q_network(tasks, mtq.networks.mlp([8]), encoders=sizes)
    model = mtq.MultiTaskDQN(network, tasks)
    model.compile("adam", steps_per_execution=5)
    experience = mtq.Experience(tasks, model, warmup_steps=8, steps_per_update=4)
    history = model.fit(experience.dataset(16), steps_per_epoch=10, verbose=0).history
    assert np.isfinite(history["loss"]).all()
    assert set(experience.env_steps.values()) == {8 + 10 * 4}
    batch = experience.next_batch(200)["images"]
    assert batch.observation.dtype == tf.uint8
    assert set(np.unique(batch.observation)) == {0, 10, 20, 30, 40}
    np.testing.assert_array_equal(batch.next_observation, batch.observation + 10)


@pytest.mark.thorough
def test_overlapping_collection_gives_the_same_bits_again(two_tasks, make_model):
    def learn():
        model = make_model(compile_options={"steps_per_execution": 10})
        experience = mtq.Experience(two_tasks, model, warmup_steps=20, steps_per_update=4, overlap=True)
        model.fit(experience.dataset(8), steps_per_epoch=100, verbose=0)
        assert set(experience.env_steps.values()) == {20 + 100 * 4}
        return model.get_weights()

    for a, b in zip(learn(), learn(), strict=True):
        np.testing.assert_array_equal(a, b)
