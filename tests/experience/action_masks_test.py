"""Masks of legal actions, from three kinds of environments to the batches: no illegal action is taken or stored."""

import dataclasses

import keras
import numpy as np
import pytest
import tensorflow as tf

import mtq
from mtq import value_learning as vl
from mtq.experience.exploration import EpsilonGreedy
from mtq.experience.further_columns import FurtherColumns
from mtq.experience.memory import memory_spec, with_fields
from mtq.experience.policy import EpsilonGreedyPolicy
from mtq.experience.prioritized_sampler import PrioritizedSampler
from mtq.interfaces import PolicyStep, TFPolicy, restart, time_step_spec
from mtq.runs.checkpoint import Checkpoint
from tests.messages import error
from tests.toy_environments import Masked, MaskedDict, MaskedDynamics, legal_in

SOURCES = {"info": Masked, "dict": MaskedDict, "graph": lambda: MaskedDynamics(max_episode_steps=20)}


def masked_tasks(num_envs=4, sources=SOURCES):
    return mtq.TaskSet([mtq.Task(name, sources[name], num_envs=num_envs) for name in sources])


def make(tasks, noisy=False, optimizer=1e-3, scope=None, **options):
    with tf.distribute.get_strategy().scope() if scope is None else scope:
        network = mtq.networks.shared_q_network(tasks, mtq.networks.mlp([16]), seed=0, noisy=noisy)
        model = mtq.MultiTaskDQN(network, tasks, **options)
        model.compile(keras.optimizers.Adam(optimizer))
    return model


def masks_of(observation, num_actions):
    """The masks that the environments gave with observations `[B, 2]`."""
    states = observation[:, 0].astype(int)
    masks = np.stack([legal_in(state, num_actions) for state in states])
    return masks & (states < Masked.terminal)[:, None]


def check_batch(batch, tasks):
    for name, rows in batch.items():
        number = tasks[name].num_actions
        rows = rows._replace(**{field: value.numpy() for field, value in rows._asdict().items()})
        np.testing.assert_array_equal(rows.action_mask, masks_of(rows.observation, number))
        np.testing.assert_array_equal(rows.next_action_mask, masks_of(rows.next_observation, number))
        assert rows.action_mask[np.arange(len(rows.action)), rows.action].all(), name
        np.testing.assert_array_equal(rows.next_action_mask.any(axis=1), rows.discount > 0)


WAYS = {
    "random": ({"exploration": 1.0, "sampler": PrioritizedSampler}, {}),
    "greedy": ({"exploration": 0.0}, {"double": True}),
    "noisy": ({"exploration": 0.0, "n_step": 3}, {"noisy": True}),
    "repeats": ({"exploration": EpsilonGreedy(0.5, repeat_exponent=1.5), "n_step": 3}, {"munchausen": True}),
}


def play(way, steps):
    """Takes so many steps of each of three tasks, and checks a batch now and then."""
    options, of_model = WAYS[way]
    tasks = masked_tasks()
    model = make(tasks, **of_model)
    experience = mtq.Experience(model, warmup_steps=400, steps_per_update=40, replay_capacity=600, seed=1, **options)
    batches, finished, total = experience.batches(64), 0.0, 0.0
    while experience.env_steps["graph"] < steps:
        model.fit(batches, steps_per_epoch=10, epochs=1, verbose=0)
        check_batch(experience.replicas[0].sample(64).batch, tasks)
        for replay in experience.replays.values():
            replay.check_valid()
        number, returns = experience.take_finished()["graph"]
        finished, total = finished + number, total + returns
    assert finished > 20
    assert total > 0, "each illegal action in the graph costs a million; those in Python raise an error"


@pytest.mark.parametrize(
    "way", [pytest.param(way, marks=() if number < 2 else pytest.mark.thorough) for number, way in enumerate(WAYS)]
)
def test_no_illegal_action_is_taken_or_stored(way):
    play(way, 2_000)


@pytest.mark.thorough
@pytest.mark.parametrize("way", WAYS)
def test_no_illegal_action_in_100_000_steps(way):
    play(way, 100_000 // len(SOURCES) + 1)


@pytest.mark.thorough
@pytest.mark.xla
def test_the_loop_that_xla_compiles():
    tasks = masked_tasks(sources={"graph": SOURCES["graph"]})
    model = make(tasks)
    experience = mtq.Experience(model, warmup_steps=100, steps_per_update=4, replay_capacity=400, exploration=0.3)
    assert experience.compilable
    model.fit(experience.batches(32), steps_per_epoch=200, epochs=1, verbose=0)
    check_batch(next(iter(experience.batches(32))), tasks)
    assert experience.take_mean_returns()["graph"] > 0


@pytest.mark.parametrize("num_actions", [1, 5, 24, 25, 48, 50])
def test_the_bits_of_masks(num_actions):
    class Wide(Masked):
        pass

    Wide.num_actions = num_actions
    spec = memory_spec(mtq.Task("wide", Wide))
    columns = FurtherColumns(spec)
    assert columns.number == 2 * -(-num_actions // 24)
    random = np.random.default_rng(0)
    masks = [tf.constant(random.random((6, num_actions)) < 0.5) for _ in range(2)]
    steps = with_fields(spec, action_mask=masks[0], next_action_mask=masks[1])
    stored = columns.unpack(columns.pack(steps))
    for name, mask in zip(("action_mask", "next_action_mask"), masks, strict=True):
        np.testing.assert_array_equal(stored[name], mask)


def test_random_actions_are_uniform_over_the_legal_ones():
    uniform = np.random.default_rng(0).random(40_000, np.float32)
    masks = np.array([[0, 1, 0, 1, 1], [1, 1, 1, 1, 1]], bool)
    for mask in masks:
        actions = vl.random_actions(tf.constant(uniform), 5, tf.constant(np.tile(mask, (40_000, 1)))).numpy()
        shares = np.bincount(actions, minlength=5) / 40_000
        np.testing.assert_allclose(shares, mask / mask.sum(), atol=0.01)
    np.testing.assert_array_equal(actions, vl.random_actions(tf.constant(uniform), 5))  # all are legal
    highest = tf.fill([3], np.float32(1 - 2.0**-24))
    assert vl.random_actions(highest, 5, tf.constant(np.tile(masks[0], (3, 1)))).numpy().tolist() == [4] * 3


def test_repeats_stop_where_the_action_becomes_illegal():
    task = mtq.Task("info", Masked, num_envs=2)
    exploration = EpsilonGreedy(1.0, repeat_exponent=1.01)
    policy = EpsilonGreedyPolicy(task, lambda observation: None, exploration, lambda: tf.constant(0), seed=0)
    q_values, is_first = tf.zeros([2, 30]), tf.constant([False, False])
    only = lambda *actions: tf.one_hot(actions, 30, on_value=True, off_value=False, dtype=tf.bool)  # noqa: E731
    policy._repeats.assign([5, 5])
    policy._repeated.assign([3, 4])
    every = tf.ones([2, 30], tf.bool)
    assert policy.select(q_values, is_first, every).numpy().tolist() == [3, 4]
    assert policy.select(q_values, is_first, only(3, 7)).numpy().tolist() == [3, 7]
    assert policy._repeats.numpy()[0] == 3
    policy._repeats.assign([3, 0])
    assert policy.select(q_values, is_first, only(3, 9)).numpy().tolist() == [3, 9]


def test_masks_that_allow_everything_change_no_number():
    class Free(Masked):
        def mask(self):
            return np.ones(self.num_actions, np.int8)

    batches = []
    for action_mask in (None, False):
        tasks = mtq.TaskSet([mtq.Task("free", Free, num_envs=2, action_mask=action_mask)])
        assert tasks["free"].spec.has_action_mask == (action_mask is None)
        model = make(tasks)
        exploration = EpsilonGreedy(0.5, repeat_exponent=2)
        experience = mtq.Experience(model, warmup_steps=20, steps_per_update=2, exploration=exploration, seed=3)
        model.fit(experience.batches(16), steps_per_epoch=30, epochs=1, verbose=0)
        batches.append((next(iter(experience.batches(16)))["free"], model.get_weights()))
    (masked, weights), (plain, plain_weights) = batches
    for field in vl.Transition._fields:
        np.testing.assert_array_equal(getattr(masked, field), getattr(plain, field))
    for one, other in zip(weights, plain_weights, strict=True):
        np.testing.assert_array_equal(one, other)


class OwnPolicy(TFPolicy):
    """Selects the first legal action, or always action 0."""

    def __init__(self, task, is_legal):
        from mtq.environments.specs import action_spec, observation_spec

        super().__init__(time_step_spec(observation_spec(task)), action_spec(task), automatic_state_reset=False)
        self.is_legal = is_legal

    def _variables(self):
        return []

    def _action(self, time_step, policy_state, seed=None):
        observation, mask = time_step.observation
        assert observation.shape[1:] == (2,)
        first = tf.argmax(mask, axis=-1, output_type=tf.int32)
        return PolicyStep(first if self.is_legal else tf.zeros_like(first), policy_state)

    def _distribution(self, time_step, policy_state):
        raise NotImplementedError


@pytest.mark.parametrize("source", SOURCES)
def test_a_policy_of_ones_own_receives_pairs(source):
    tasks = masked_tasks(sources={source: SOURCES[source]})
    model = make(tasks)
    legal = mtq.Experience(model, policy=lambda task, network: OwnPolicy(task, True), warmup_steps=40)
    check_batch(next(iter(legal.batches(16))), tasks)
    illegal = mtq.Experience(model, policy=lambda task, network: OwnPolicy(task, False), warmup_steps=40)
    with pytest.raises(ValueError, match=error(f"task '{source}' must be legal. Received: 0 where")):
        next(iter(illegal.batches(16)))


def test_the_time_steps_are_pairs():
    observation, mask = tf.zeros([2, 2]), tf.ones([2, 30], tf.bool)
    task = mtq.Task("info", Masked, num_envs=2)
    policy = EpsilonGreedyPolicy(task, lambda seen: tf.zeros([2, 30]), EpsilonGreedy(0.0), lambda: tf.constant(0), 0)
    assert policy.action(restart((observation, mask), batch_size=2)).action.shape == (2,)


@pytest.mark.parametrize("n_step", [1, 3])
def test_resuming_has_the_same_bits(tmp_path, n_step):
    def start():
        model = make(masked_tasks(2, {"graph": SOURCES["graph"]}))
        return model, mtq.Experience(model, warmup_steps=40, steps_per_update=2, n_step=n_step, exploration=0.5)

    def train(model, experience):
        model.fit(experience.batches(16), steps_per_epoch=20, epochs=1, verbose=0)

    model, experience = start()
    train(model, experience)
    checkpoint = Checkpoint(tmp_path / "checkpoint", model, experience)
    checkpoint.save(1, {})
    checkpoint.wait()
    train(model, experience)
    resumed, its_experience = start()
    Checkpoint(tmp_path / "checkpoint", resumed, its_experience).load()
    train(resumed, its_experience)
    for one, other in zip(model.get_weights(), resumed.get_weights(), strict=True):
        np.testing.assert_array_equal(one, other)
    one, other = (next(iter(each.batches(16)))["graph"] for each in (experience, its_experience))
    for field, value in one._asdict().items():
        np.testing.assert_array_equal(value, getattr(other, field))


@pytest.mark.thorough
def test_two_replicas():
    strategy = tf.distribute.MirroredStrategy(["/cpu:0", "/cpu:1"])
    tasks = masked_tasks(2)
    model = make(tasks, scope=strategy.scope())
    experience = mtq.Experience(model, warmup_steps=80, steps_per_update=8, n_step=2, exploration=0.5)
    model.fit(experience.batches(32), steps_per_epoch=20, epochs=1, verbose=0)
    for replica in experience.replicas:
        check_batch(replica.sample(32).batch, tasks)
    assert experience.take_mean_returns()["graph"] > 0


def test_a_model_whose_tasks_have_no_masks_is_refused():
    """Its evaluations and exports would ignore the masks with which it is trained."""
    tasks = masked_tasks(sources={"graph": SOURCES["graph"]})
    without = mtq.TaskSet([dataclasses.replace(task, action_mask=False) for task in tasks.values()])
    for of_model, of_experience in ((without, tasks), (tasks, without)):
        with pytest.raises(ValueError, match="must have masks of legal actions exactly if the model's task has them"):
            mtq.Experience(make(of_model), of_experience)


def test_states_without_a_legal_action_in_the_graph():
    class Stuck(MaskedDynamics):
        def action_mask(self, state):
            return super().action_mask(state) & (state[:, :1] > 10)

    tasks = mtq.TaskSet([mtq.Task("stuck", Stuck, num_envs=4)])
    model = make(tasks)
    with pytest.raises(ValueError, match=error("dynamics of task 'stuck' must allow an action", "without a legal")):
        model.fit(mtq.Experience(model, warmup_steps=400).batches(8), steps_per_epoch=1, epochs=1, verbose=0)


def test_datasets_and_evaluate():
    tasks = masked_tasks(2, {"info": Masked, "graph": SOURCES["graph"]})
    model = make(tasks)
    experience = mtq.Experience(model, warmup_steps=60)
    batches = experience.batches(8)
    for batch in batches.take(2):
        check_batch(batch, tasks)
    assert set(batches.element_spec["info"]._fields) == {*vl.Transition._fields, "action_mask", "next_action_mask"}
    model.evaluate(batches, steps=2, verbose=0)
    model.fit(batches.take(3), verbose=0)


def test_batches_of_ones_own():
    tasks = masked_tasks(1, {"info": Masked})
    model = make(tasks)
    x = np.zeros([2, 2], np.float32)
    masks = np.tile(legal_in(0, 30), (2, 1))
    rows = vl.Transition(x, np.zeros(2, np.int32), np.zeros(2, np.float32), np.ones(2, np.float32), x)
    with pytest.raises(ValueError, match=error("'info', which has masks", "Received: a Transition without")):
        model.train_on_batch({"info": rows})
    good = vl.with_fields(rows, action_mask=masks, next_action_mask=masks)
    model.train_on_batch({"info": good})
    nowhere = np.zeros_like(masks)
    with pytest.raises(ValueError, match=error("next_action_mask of a batch of task 'info' must allow an action")):
        model.train_on_batch({"info": good._replace(next_action_mask=nowhere)})
    model.train_on_batch({"info": good._replace(next_action_mask=nowhere, discount=np.zeros(2, np.float32))})
    numbers = masks.astype(np.int8)
    model.train_on_batch({"info": good._replace(action_mask=numbers, next_action_mask=numbers)})
    for role in ("action_mask", "next_action_mask"):
        for wrong in (2 * numbers, -numbers):  # would become True
            message = error(f"{role} of a batch of task 'info' must be from 0 to 1", "Received: from")
            batch = {"info": good._replace(**{role: wrong})}
            with pytest.raises(ValueError, match=message):
                model.train_on_batch(batch)
            with pytest.raises(ValueError, match=message):
                model.fit(tf.data.Dataset.from_tensors(batch), verbose=0)
    illegal = np.full(2, np.flatnonzero(~masks[0])[0], np.int32)
    with pytest.raises(ValueError, match=error("The action_mask of a batch of task 'info' must allow the row's")):
        model.train_on_batch({"info": good._replace(action=illegal)})
    with pytest.raises(ValueError, match=error("action_mask of a batch of task 'info' must be of shape")):
        model.train_on_batch({"info": good._replace(action_mask=masks[:, :-1])})
