"""Each replica has environments, seeds and a replay of its own; together they do what one would."""

import numpy as np
import pytest
import tensorflow as tf

import mtq

EXPLORATION = mtq.exploration.linear(1.0, 0.0, 40)


@pytest.fixture(scope="module")
def tasks():
    return mtq.TaskSet(
        [mtq.Task("chain", mtq.dynamics.Chain(), num_envs=2), mtq.Task("catch", mtq.dynamics.Catch(), num_envs=2)]
    )


def make(tasks, replicas, compile_options=None, **options):
    with mtq.distribution.strategy("mirrored", devices=replicas).scope():
        network = mtq.networks.shared_q_network(tasks, mtq.networks.mlp([8]), seed=1)
        model = mtq.MultiTaskDQN(network, tasks, target_update_period=3)
        model.compile("adam", **(compile_options or {}))
    options = {"warmup_steps": 16, "steps_per_update": 4, "replay_capacity": 400, "exploration": EXPLORATION, **options}
    return model, mtq.Experience(tasks, model, **options)


@pytest.fixture(scope="module")
def trained(tasks):
    model, experience = make(tasks, 2)
    model.fit(experience.dataset(8), steps_per_epoch=6, verbose=0)
    return model, experience


def test_together_they_take_the_steps_of_one(trained):
    _, experience = trained
    assert experience.env_steps == {"chain": 16 + 6 * 4, "catch": 16 + 6 * 4}
    for replica in experience.replicas:
        assert {int(replay.num_frames()) for replay in replica.replays.values()} == {20}
        assert replica.replays["chain"].capacity == 200


@pytest.mark.thorough
@pytest.mark.xla
def test_a_long_warm_up(tasks):
    """XLA, which has short work of a long one, cannot reach the variables of several devices."""
    _, experience = make(tasks, 2, warmup_steps=6_000)
    experience.prepare()
    assert experience.env_steps == {"chain": 6_000, "catch": 6_000}


def test_shards_see_other_things_and_only_their_own(trained):
    first, second = [replica.replays["catch"].gather_all() for replica in trained[1].replicas]
    assert not np.array_equal(first.observation, second.observation)
    assert not np.array_equal(first.action, second.action)


def test_the_first_shard_has_the_seeds_of_a_run_of_one(tasks):
    _, alone = make(tasks, 1, warmup_steps=8)
    _, sharded = make(tasks, 2)
    for experience in (alone, sharded):
        experience.warm_up()
    of_one, of_two = alone.replays["catch"].gather_all(), sharded.replays["catch"].gather_all()
    tf.nest.map_structure(np.testing.assert_array_equal, of_one, of_two)


def test_exploration_counts_the_steps_of_all(trained):
    """After 16 and 24 steps of all replicas 24 of the 40 are gone, in which ε falls from 1 to 0."""
    policy = trained[1].replicas[1].drivers["chain"].policy
    assert float(policy._exploration.at(policy._step())) == pytest.approx(1 - 24 / 40)


def test_returns_are_those_of_all_shards(tasks):
    _, experience = make(tasks, 2)
    for replica, finished in zip(experience.replicas, ([2.0, 6.0], [1.0, 9.0]), strict=True):
        replica.statistics["chain"]._finished.assign(finished)
    assert experience.take_mean_returns() == {"chain": 5.0, "catch": None}


def test_the_same_seed_gives_the_same_bits(tasks, trained):
    model, experience = make(tasks, 2, {"steps_per_execution": 6})
    model.fit(experience.dataset(8), steps_per_epoch=6, verbose=0)
    for one, other in zip(trained[0].get_weights(), model.get_weights(), strict=True):
        np.testing.assert_array_equal(one, other)


@pytest.mark.thorough
def test_drawn_by_the_host_the_numbers_are_the_same(tasks, monkeypatch, trained):
    """As it is done for a TPU."""
    monkeypatch.setattr("mtq.learning.train_function.draws_on_host", lambda strategy: True)
    model, experience = make(tasks, 2)
    model.fit(experience.dataset(8), steps_per_epoch=6, verbose=0)
    for one, other in zip(trained[0].get_weights(), model.get_weights(), strict=True):
        np.testing.assert_array_equal(one, other)


@pytest.mark.thorough
@pytest.mark.parametrize(
    ("aggregator", "loss_weights", "replicas"),
    [
        ("mean", "famo", 2),
        ("upgrad", None, 2),
        pytest.param("sum", None, 2, marks=pytest.mark.slow),
        pytest.param("sum", "gradnorm", 2, marks=pytest.mark.slow),
        pytest.param("mean", "famo", 4, marks=pytest.mark.slow),
    ],
)
def test_bytes_reduced_are_those_that_are_said(tasks, monkeypatch, aggregator, loss_weights, replicas):
    compile_options = {"aggregator": aggregator, "loss_weights": loss_weights}
    model, experience = make(tasks, replicas, compile_options, replay_capacity=800)
    extended, reduced = model.distribute_strategy.extended, []
    reduce_to = extended.reduce_to

    def counted(how, value, destinations):
        vector = model.distribute_strategy.experimental_local_results(value)[0]
        reduced.append(vector.shape.num_elements() * vector.dtype.size)
        return reduce_to(how, value, destinations)

    monkeypatch.setattr(extended, "reduce_to", counted)
    model.fit(experience.dataset(8), steps_per_epoch=1, verbose=0)
    assert model.make_update().bytes_reduced(model.paths, model.distribute_strategy) == sum(reduced)
