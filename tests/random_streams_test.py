"""No two random streams of mtq share a window of numbers, by arithmetic on the states of their generators."""

import itertools

import numpy as np
import pytest
import tensorflow as tf
from gymnasium.utils import seeding

import mtq
from mtq.environments.copies import EnvironmentCopies
from mtq.environments.in_graph import InGraphCopies
from mtq.evaluation.evaluator import task_seed
from mtq.experience import replica_experience
from mtq.experience.exploration import EpsilonGreedy
from mtq.experience.memory import memory_spec
from mtq.experience.policy import EpsilonGreedyPolicy
from mtq.experience.replay import Replay
from mtq.random_numbers import Purpose, fold_in, make_generator, reseed, seed_words, stateless_uniform, stream_seeds
from tests.toy_environments import Corridor

WINDOW = 10_000_000


def have_a_window_in_common(states):
    """Whether any two Philox generators, `[S, 3]` int64 (counter, key), are within a window of each other.

    Each key is a permutation of its own. Generators of one key are places of one sequence, four 32-bit numbers a place.
    """
    by_key = {}
    for low, high, key in states.astype(np.uint64).tolist():
        by_key.setdefault(key, []).append(low + (high << 64))
    places = [sorted(counters) for counters in by_key.values()]
    gaps = [after - before for counters in places for before, after in itertools.pairwise(counters)]
    return any(gap * 4 < WINDOW for gap in gaps)


def seeds_of_experience(seeds, replicas, num_tasks):
    tasks = mtq.TaskSet([mtq.Task(f"t{i}", "in_graph/CartPole") for i in range(num_tasks)])
    return [
        one
        for seed, replica in itertools.product(seeds, replicas)
        for of_task in replica_experience._seeds(tasks, seed, replica).values()
        for one in of_task
    ]


def test_what_counts_as_a_common_window():
    by_counter = np.array([tf.random.Generator.from_seed(seed).state for seed in (3, 4)])
    assert have_a_window_in_common(by_counter)
    assert not have_a_window_in_common(np.array([make_generator(seed).state for seed in (3, 4)]))


@pytest.mark.thorough
def test_no_two_of_ten_thousand_streams_share_a_window():
    seeds = seeds_of_experience(range(150), range(4), num_tasks=6)  # environments, samplers and policies
    states = np.array([np.asarray(make_generator(seed).state) for seed in seeds])
    assert len(states) > 10_000
    assert not have_a_window_in_common(states)


def test_experience_evaluation_and_study_have_streams_of_their_own():
    tasks = mtq.TaskSet([mtq.Task(f"t{i}", "in_graph/CartPole") for i in range(5)])
    found = seeds_of_experience(range(300), range(2), num_tasks=5)
    found += [task_seed(tasks, name, seed) for name in tasks for seed in range(300)]
    found += [one for seed in range(300) for one in stream_seeds(seed, Purpose.STUDY, count=4)]
    assert len(set(found)) == len(found) > 10_000


def test_a_resumed_run_and_the_next_replica_draw_other_numbers(two_tasks):
    keys = itertools.product(range(3), range(3))
    by_task = [seeds for key in keys for seeds in replica_experience._seeds(two_tasks, 0, *key).values()]
    found = [seed for seeds in by_task for seed in seeds]
    assert len(set(found)) == len(found) == 9 * 2 * 3


def test_episodes_played_in_the_graph_draw_from_other_keys():
    """Stateless draws make key and counter of the seed: those of steps and evaluations must all differ."""
    evaluations = [seed_words(seed) for seed in stream_seeds(0, Purpose.EVALUATION, count=100)]

    @tf.function
    def steps_of(words):
        return tf.map_fn(lambda step: fold_in(words, step), tf.range(100), fn_output_signature=tf.int64)

    @tf.function
    def keys_of(seeds):
        key_of = lambda seed: tf.raw_ops.StatelessRandomGetKeyCounter(seed=seed)[0]  # noqa: E731
        return tf.map_fn(key_of, seeds, fn_output_signature=tf.uint64)

    steps = np.concatenate([steps_of(tf.constant(words)) for words in evaluations])
    assert len({tuple(one) for one in steps.tolist()}) == 10_000
    keys = keys_of(tf.constant(np.concatenate([evaluations, steps]))).numpy()
    assert len({key.tobytes() for key in keys}) == 100 + 10_000


def test_copies_of_gymnasium_environments_have_generators_of_their_own():
    """PCG64's sequences differ where their increments do."""
    task = mtq.Task("corridor", Corridor)
    increments = set()
    for seed in range(500):
        copies = EnvironmentCopies.__new__(EnvironmentCopies)
        copies._environments = [None] * 4
        copies.reseed(stream_seeds(seed, Purpose.EXPERIENCE, 0, 0, 0)[0])
        for one in copies._seeds:
            assert one < 2**32  # some environments of others' take no more
            increments.add(seeding.np_random(one)[0].bit_generator.state["state"]["inc"])
    assert len(increments) == 2_000
    assert task.num_actions  # the class stands for environments that are stepped in Python


def uniform_replay(seed):
    return Replay(memory_spec(mtq.Task("a", "in_graph/CartPole")), 1, 1_000, seed=seed).sampler._random


def policy(seed):
    task = mtq.Task("a", "in_graph/CartPole")
    return EpsilonGreedyPolicy(task, lambda x: x, EpsilonGreedy(0.5), lambda: tf.constant(0), seed)._random


def environment(seed):
    return InGraphCopies(mtq.Task("a", "in_graph/CartPole"), 2, seed, compiled=False)._environment._random


@pytest.mark.parametrize("make", [uniform_replay, policy, environment])
def test_every_stateful_stream_has_the_seed_as_its_key(make):
    for seed in (0, 1, 2**40 + 5, 2**64 - 1):
        assert int(np.asarray(make(seed).state).view(np.uint64)[2]) == seed
    first, second = (make(seed).uniform([10_000], 0, 2**62, tf.int64).numpy() for seed in (19, 47))
    assert not np.intersect1d(first, second).size


def test_a_generator_that_is_seeded_again_begins_anew():
    random = make_generator(5)
    first = random.uniform([100]).numpy()
    reseed(random, 6)
    assert (random.uniform([100]).numpy() != first).all()
    reseed(random, 5)
    np.testing.assert_array_equal(random.uniform([100]), first)


def test_stateless_numbers_of_neighbouring_seeds_differ():
    draws = [stateless_uniform([1_000], tf.constant(seed_words(seed))).numpy() for seed in (0, 1, 2**32, 2**63)]
    for first, second in itertools.combinations(draws, 2):
        assert (first != second).mean() > 0.99
