"""In-graph environments against Gymnasium's, and against an independent integration of the equations."""

import math

import gymnasium
import numpy as np
import pytest
import tensorflow as tf
from scipy.integrate import solve_ivp
from scipy.stats import ks_2samp

import mtq
from mtq.dynamics import BY_NAME, Acrobot, CarOnHill, CartPole, Catch, Chain, InvertedPendulum, MountainCar
from mtq.environments import make_copies

N = 10_000
TWINS = {
    "CartPole-v1": (CartPole(), [2.5, 3.0, 0.22, 3.0]),
    "Acrobot-v1": (Acrobot(), [math.pi, math.pi, 4 * math.pi, 9 * math.pi]),
    "MountainCar-v0": (MountainCar(), [0.9, 0.07]),
}


@pytest.fixture(params=TWINS)
def twin(request):
    dynamics, scale = TWINS[request.param]
    return gymnasium.make(request.param, disable_env_checker=True).unwrapped, dynamics, np.array(scale)


def test_ten_thousand_transitions_equal_gymnasiums(twin):
    environment, dynamics, scale = twin
    random = np.random.default_rng(0)
    states = random.uniform(-scale, scale, (N, len(scale))).astype(np.float32)
    if isinstance(dynamics, MountainCar):
        states[:, 0] -= 0.3
    actions = random.integers(dynamics.num_actions, size=N)
    reached, rewards, terminated = dynamics.step(tf.constant(states), tf.constant(actions, tf.int32), tf.zeros([N, 4]))
    environment.reset(seed=0)
    expected = []
    for state, action in zip(states, actions, strict=True):
        environment.state = state.astype(np.float64)
        environment.steps_beyond_terminated = None
        expected.append(environment.step(int(action))[:3])
    observations, expected_rewards, expected_terminated = map(np.array, zip(*expected, strict=True))
    np.testing.assert_allclose(dynamics.observe(reached), observations, atol=1e-5)
    np.testing.assert_array_equal(rewards, expected_rewards)
    np.testing.assert_array_equal(terminated, expected_terminated)
    assert terminated.numpy().any()


def test_resets_are_distributed_as_gymnasiums(twin):
    environment, dynamics, _ = twin
    ours = dynamics.observe(dynamics.initial_state(tf.random.stateless_uniform([4_000, 4], (0, 1)))).numpy()
    theirs = np.array([environment.reset(seed=seed)[0] for seed in range(4_000)])
    for our, their in zip(ours.T, theirs.T, strict=True):
        if np.ptp(their) == 0:
            np.testing.assert_array_equal(our, their)
        else:
            assert ks_2samp(our, their).pvalue > 1e-3
            np.testing.assert_allclose([our.min(), our.max()], [their.min(), their.max()], atol=2e-3)


def car_on_hill(state, force):
    p, v = state
    slope = 2 * p + 1 if p < 0 else (1 + 5 * p**2) ** -1.5
    curvature = 2 if p < 0 else -15 * p * (1 + 5 * p**2) ** -2.5
    return [v, (force - 9.81 * slope - v**2 * slope * curvature) / (1 + slope**2)]


def inverted_pendulum(state, force):
    angle, spin = state
    m, cart, length = 2.0, 8.0, 0.5
    alpha = 1 / (m + cart)
    top = 9.8 * np.sin(angle) - alpha * m * length * spin**2 * np.sin(2 * angle) / 2 - alpha * np.cos(angle) * force
    return [spin, top / (4 / 3 * length - alpha * m * length * np.cos(angle) ** 2)]


def integrate(equations, states, forces):
    """Short steps, for the hill's second derivative jumps at its foot and adaptive ones would miss where."""
    ends = [
        solve_ivp(lambda _, y, f=force: equations(y, f), (0, 0.1), state, rtol=1e-9, atol=1e-9, max_step=1e-3).y[:, -1]
        for state, force in zip(states.astype(np.float64), forces, strict=True)
    ]
    return np.array(ends)


def test_car_on_hill_equals_scipys_integration():
    random = np.random.default_rng(0)
    states = random.uniform([-1.0, -3.0], [1.0, 3.0], (500, 2)).astype(np.float32)
    actions = random.integers(2, size=500)
    reached, reward, ended = CarOnHill().step(tf.constant(states), tf.constant(actions, tf.int32), tf.zeros([500, 1]))
    expected = integrate(car_on_hill, states, np.where(actions == 1, 4.0, -4.0))
    np.testing.assert_allclose(reached, expected, atol=1e-5)
    assert np.sum(np.sign(states[:, 0]) != np.sign(expected[:, 0])) > 20  # they pass the foot of the hill
    lost = (expected[:, 0] < -1) | (np.abs(expected[:, 1]) > 3)
    won = (expected[:, 0] > 1) & ~lost
    np.testing.assert_array_equal(reward, np.where(lost, -1.0, np.where(won, 1.0, 0.0)))
    np.testing.assert_array_equal(ended, lost | won)
    assert lost.any()
    assert won.any()


@pytest.mark.thorough
def test_car_on_hill_near_the_foot_at_any_speed():
    """Where the car passes it slowly, or turns just beyond it."""
    random = np.random.default_rng(1)
    scales = np.array([1e-4, 1e-3, 1e-2])[random.integers(3, size=(300, 2))]
    states = (random.uniform(-1.0, 1.0, (300, 2)) * scales * [1.0, 10.0]).astype(np.float32)
    states[:4] = [[1e-4, -1e-5], [2e-4, -1e-4], [0.0, 0.0], [-1e-4, 1e-2]]
    actions = np.concatenate([[0, 0, 1, 0], random.integers(2, size=296)])
    reached, _, _ = CarOnHill().step(tf.constant(states), tf.constant(actions, tf.int32), tf.zeros([300, 1]))
    expected = integrate(car_on_hill, states, np.where(actions == 1, 4.0, -4.0))
    np.testing.assert_allclose(reached, expected, atol=1e-5)


@pytest.mark.thorough
def test_inverted_pendulum_equals_scipys_integration():
    random = np.random.default_rng(0)
    states = random.uniform([-1.5, -3.0], [1.5, 3.0], (500, 2)).astype(np.float32)
    actions, noise = random.integers(3, size=500), random.random((500, 1)).astype(np.float32)
    reached, reward, fallen = InvertedPendulum().step(
        tf.constant(states), tf.constant(actions, tf.int32), tf.constant(noise)
    )
    forces = 50.0 * (actions - 1) + 10.0 * (2 * noise[:, 0] - 1)
    expected = integrate(inverted_pendulum, states, forces)
    np.testing.assert_allclose(reached, expected, atol=1e-5)
    np.testing.assert_array_equal(fallen, np.abs(expected[:, 0]) > np.pi / 2)
    np.testing.assert_array_equal(reward, np.where(fallen, -1.0, 0.0))
    assert fallen.numpy().any()


def test_chain_and_catch_by_hand():
    chain = make_copies(mtq.Task("chain", lambda: Chain(3)), 1, 0)
    assert chain.reset().tolist() == [[1, 0, 0]]
    steps = [chain.step(np.array([action])) for action in (1, 0, 1, 1)]
    assert [float(step.reward[0]) for step in steps] == [0.0, 0.0, 0.0, 1.0]
    assert [bool(step.is_last[0]) for step in steps] == [False, False, False, True]
    assert steps[-1].observation.tolist() == [[1, 0, 0]]
    catch = Catch(rows=3, columns=3)
    state = catch.initial_state(tf.constant([[0.99]]))
    assert state.numpy().tolist() == [[0.0, 2.0, 1.0]]
    assert catch.observe(state).numpy().reshape(3, 3).tolist() == [[0, 0, 1], [0, 0, 0], [0, 1, 0]]
    state, reward, ended = catch.step(state, tf.constant([2]), tf.zeros([1, 1]))
    assert (float(reward[0]), bool(ended[0])) == (0.0, False)
    _, reward, ended = catch.step(state, tf.constant([1]), tf.zeros([1, 1]))
    assert (float(reward[0]), bool(ended[0])) == (1.0, True)


@pytest.mark.parametrize(
    "name",
    [pytest.param(name, marks=() if name in ("CartPole", "Catch") else pytest.mark.thorough) for name in BY_NAME],
)
def test_every_one_is_a_task_whose_steps_chain_and_repeat(name):
    task = mtq.Task("task", f"in_graph/{name}", max_episode_steps=7)
    mtq.environments.check_task(task)

    def play(seed):
        copies, random = make_copies(task, 3, seed), np.random.default_rng(0)
        return [copies.reset()] + [copies.step(random.integers(task.num_actions, size=3)) for _ in range(20)]

    first, *steps = play(1)
    assert first.shape == (3, *task.spec.observation_shape)
    lengths = np.zeros(3, int)
    for step in steps:
        lengths += 1
        assert np.all(step.is_last[lengths == 7])
        assert np.all((step.discount == 0) <= step.is_last)
        np.testing.assert_array_equal(step.observation[~step.is_last], step.next_observation[~step.is_last])
        lengths[step.is_last] = 0
    for step, again in zip(steps, play(1)[1:], strict=True):
        np.testing.assert_array_equal(step.next_observation, again.next_observation)


@pytest.mark.thorough
def test_they_compile_under_xla():
    for name, dynamics in BY_NAME.items():
        made = dynamics()
        random = tf.random.stateless_uniform([5, made.num_random], (1, 2))
        state, action = made.initial_state(random), tf.constant([0, 1, 0, 1, 0])
        compiled = tf.function(made.step, jit_compile=True)(state, action, random)
        for plain, fast in zip(made.step(state, action, random), compiled, strict=True):
            np.testing.assert_allclose(tf.cast(plain, tf.float32), tf.cast(fast, tf.float32), atol=1e-5, err_msg=name)


@pytest.mark.slow
def test_the_classic_suite_trains_and_is_saved_by_name(tmp_path):
    import keras

    tasks = mtq.suites.classic(num_envs=4)
    network = mtq.networks.shared_q_network(tasks, mtq.networks.mlp([16]), seed=0)
    model = mtq.MultiTaskDQN(network, tasks)
    model.compile("adam", steps_per_execution=10)
    experience = mtq.Experience(tasks, model, warmup_steps=40, steps_per_update=4)
    history = model.fit(experience.dataset(8), steps_per_epoch=20, verbose=0).history
    assert np.isfinite(history["loss"][0])
    assert set(experience.env_steps.values()) == {40 + 20 * 4}
    model.save(tmp_path / "model.keras")
    loaded = keras.models.load_model(tmp_path / "model.keras")
    played = mtq.evaluation.evaluate(loaded, episodes=2)
    assert set(played) == set(tasks)


def test_names_on_the_command_line():
    task = mtq.suites.task("in_graph/MountainCar", num_envs=2)
    assert (task.name, task.environment, task.num_envs) == ("mountain_car", "in_graph/MountainCar", 2)


def test_an_unknown_in_graph_environment():
    with pytest.raises(ValueError, match=r"'task' must be one of the in-graph environments. Received: 'in_graph/Cart'"):
        mtq.Task("task", "in_graph/Cart")
