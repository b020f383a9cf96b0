"""MinAtar's games in the graph, beside the package: from equal states, with the same random outcomes."""

from types import SimpleNamespace

import numpy as np
import pytest
import scipy.stats
import tensorflow as tf

import mtq
from mtq.dynamics import Block, Sticky, minatar
from mtq.evaluation.evaluator import evaluate_random
from tests.dynamics import minatar_package

NAMES = list(minatar_package.GAMES)


def number(count):
    """Cases of a count of transitions, of which the large one is not among the default tests."""
    return [pytest.param(count), pytest.param(100_000, marks=pytest.mark.slow)]


def packed(dynamics, state):
    """The state with these fields; a block is an array of its flag and features."""
    fields = SimpleNamespace()
    for name, values in state.items():
        declared = dynamics.fields.declared[name]
        if isinstance(declared, Block):
            alive, *features = np.moveaxis(values, -1, 0)
            values = SimpleNamespace(alive=alive, **dict(zip(declared.features, features, strict=True)))
        setattr(fields, name, values)
    return dynamics.fields.pack(fields)


@pytest.mark.parametrize("count", number(4_000))
@pytest.mark.parametrize(
    "name",
    [pytest.param(name, marks=() if name == "breakout" else pytest.mark.thorough) for name in NAMES],
)
def test_transitions_equal_the_packages(name, count):
    dynamics, played = minatar_package.GAMES[name].ours(), minatar_package.play(name, count)
    random = np.array(played.random, np.float32).reshape(count, dynamics.num_random)

    def step(state, action, random):
        reached, reward, ended = dynamics.step(state, action, random)
        return dynamics.observe(reached), reward, ended

    if name == "freeway":  # its only end is the limit of time, which is not part of the dynamics
        assert np.flatnonzero(played.ended).tolist() == list(range(2_500, count, 2_501))
        played = played._replace(ended=np.zeros(count, bool))
    inputs = packed(dynamics, played.state), tf.constant(played.action, tf.int32), tf.constant(random)
    for run in (step, tf.function(step, jit_compile=True)):
        image, reward, ended = run(*inputs)
        np.testing.assert_array_equal(reward, played.reward)
        np.testing.assert_array_equal(ended, played.ended)
        np.testing.assert_array_equal(image, played.image)
    print(f"{name}: {count} transitions, {played.left_out} left out, {int(played.reward.sum())} points")
    assert played.reward.sum() > 0
    assert played.ended.any() or name == "freeway"
    assert played.left_out <= 0.001 * count


def in_graph(dynamics, copies, frames, policy, summary):
    """Plays frames of all copies within one graph, and returns the largest of a summary over all of them."""

    @tf.function(autograph=False, jit_compile=True)
    def run():
        def draw(frame):
            return tf.random.stateless_uniform([copies, dynamics.num_random + 3], tf.stack([frame, 5]))

        def step(frame, state, largest):
            random = draw(frame + 1)
            reached, _, ended = dynamics.step(state, policy(state, random[:, :2]), random[:, 3:])
            largest = tf.maximum(largest, summary(reached))
            state = tf.where((ended | (random[:, 2] < 0.001))[:, None], dynamics.initial_state(random[:, 3:]), reached)
            return frame + 1, state, largest

        state = dynamics.initial_state(draw(0)[:, 3:])
        return tf.while_loop(lambda frame, *_: frame < frames, step, [0, state, summary(state)])[2]

    return run().numpy()


FRAMES = [pytest.param(100, marks=pytest.mark.thorough), pytest.param(2_000, marks=pytest.mark.slow)]


@pytest.mark.parametrize("frames", FRAMES)
@pytest.mark.parametrize("hardest", [False, True])
def test_seaquest_never_needs_all_slots(frames, hardest):
    """In 500 copies. At the greatest difficulty, and with a submarine that stays near the surface, more are in use."""

    class Hardest(minatar.Seaquest):
        def initial_state(self, random):
            s = self.fields.unpack(super().initial_state(random))
            s.spawn_interval, s.spawn_timer = tf.ones_like(s.x), tf.zeros_like(s.x)
            s.move_interval, s.ramps = 2 * tf.ones_like(s.x), 19 * tf.ones_like(s.x)
            return self.fields.pack(s)

    dynamics = Hardest() if hardest else minatar.Seaquest()
    blocks = ("bullets", "divers", "enemies", "enemy_bullets")

    def policy(state, random):
        action = tf.cast(6 * random[:, 0], tf.int32)
        surface = tf.where(random[:, 1] < 0.5, 5, 2)  # shoot, or go up
        return tf.where(hardest & (tf.range(500) % 2 == 0), surface, action)

    def used(state):
        s = dynamics.fields.unpack(state)
        return tf.stack([tf.reduce_max(tf.reduce_sum(tf.cast(getattr(s, name).alive, tf.int32), 1)) for name in blocks])

    largest = in_graph(dynamics, 500, frames, policy, used)
    print(dict(zip(blocks, largest.tolist(), strict=True)))
    assert (largest <= [2, 2, 30, 30]).all()
    assert (largest[:3] >= 1).all()


@pytest.mark.slow
@pytest.mark.parametrize("name", NAMES)
def test_random_policies_returns_agree_with_the_packages(name):
    """Sticky actions and starts of episodes included: 1,000 episodes each, Welch's test."""
    ours = mtq.Task(name, lambda: Sticky(minatar_package.GAMES[name].ours(), minatar.STICKY))
    theirs = mtq.Task(name, f"mtq/{name}")
    returns = [evaluate_random(mtq.TaskSet([task]), episodes=1_000, seed=3)[name].returns for task in (ours, theirs)]
    print(name, *(f"{each.mean():.3f} ± {each.std(ddof=1) / 1_000**0.5:.3f}" for each in returns))
    assert scipy.stats.ttest_ind(*returns, equal_var=False).pvalue > 1e-3


@pytest.mark.thorough
@pytest.mark.parametrize("name", ["asterix", pytest.param("space_invaders", marks=pytest.mark.thorough)])
def test_without_ramping_the_intervals_stay(name):
    dynamics = minatar_package.GAMES[name].ours(difficulty_ramping=False)

    def interval(state):
        return -tf.reduce_min(dynamics.fields.unpack(state).move_interval)

    start = interval(dynamics.initial_state(tf.zeros([1, 3])))
    assert in_graph(dynamics, 8, 400, lambda state, random: tf.fill([8], 5), interval) == start


def test_the_suite_plays_in_the_graph_and_the_package_on_request():
    ours, package = mtq.suites.minatar(num_envs=2), mtq.suites.minatar(in_graph=False)
    assert [task.environment for task in ours.values()][:2] == ["in_graph/MinAtar-Asterix", "in_graph/MinAtar-Breakout"]
    for name in NAMES:
        assert ours[name].spec == package[name].spec
        assert ours[name].reference_return == package[name].reference_return
    assert ours["freeway"].make_environment().max_episode_steps == 2_500
    assert mtq.suites.task("in_graph/MinAtar-SpaceInvaders").name == "space_invaders"
    with pytest.raises(ValueError, match=r"games must be some of .* Received: \['pong'\]"):
        mtq.suites.minatar(["pong"])
