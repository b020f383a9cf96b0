"""Greedy and random policies, recordings, `act` and exports take legal actions only."""

import json

import gymnasium
import keras
import numpy as np
import pytest
import tensorflow as tf

import mtq
from mtq.cli.play_export import play_export
from mtq.evaluation import Evaluator, StepEvaluator, evaluate_random, greedy_policy, play, record
from mtq.export import check_exportable
from tests.messages import error
from tests.toy_environments import TAXI, Corridor, Masked, MaskedDict, MaskedDynamics, legal_in

SOURCES = {"info": Masked, "dict": MaskedDict, "graph": MaskedDynamics}


@pytest.fixture(scope="module")
def model():
    tasks = mtq.TaskSet([mtq.Task(name, source, max_episode_steps=60) for name, source in SOURCES.items()])
    model = mtq.MultiTaskDQN(mtq.networks.shared_q_network(tasks, mtq.networks.mlp([16]), seed=0), tasks)
    model.compile("adam")
    return model


def legal_of(observation, number):
    return np.stack([legal_in(int(state), number) for state in observation[:, 0]])


def test_evaluators(model):
    """An illegal action raises an error in Python, and costs a million in the graph."""
    for played in (Evaluator(model, episodes=8).greedy(), evaluate_random(model.tasks, episodes=8)):
        for name in SOURCES:
            np.testing.assert_array_equal(played[name].returns, played[name].lengths)
            assert played[name].lengths.max() > 1
    steps = StepEvaluator(model, steps=200)
    assert all(score > 0 for score in steps.greedy().values())
    assert all(score > 0 for score in steps.random(times=2).values())


def test_in_graph_tasks_that_are_stepped_from_python(model):
    played = play(model.tasks["graph"], greedy_policy(model.paths["graph"]), episodes=4, seed=0)
    assert (played.returns > 0).all()


def test_states_without_a_legal_action():
    class Stuck(MaskedDynamics):
        def action_mask(self, state):
            return super().action_mask(state) & (state[:, :1] > 90)

    tasks = mtq.TaskSet([mtq.Task("stuck", Stuck, max_episode_steps=20)])
    for evaluate in (evaluate_random, lambda tasks: StepEvaluator(None, tasks, steps=100).random()):
        with pytest.raises(ValueError, match=error("dynamics of task 'stuck' must allow an action in every state")):
            evaluate(tasks)


def test_masks_that_a_task_ignores():
    """An illegal action then costs what the environment makes it cost."""
    tasks = mtq.TaskSet([mtq.Task("graph", MaskedDynamics, action_mask=False, max_episode_steps=20)])
    assert evaluate_random(tasks)["graph"].mean < -1e5


def test_recordings(tmp_path):
    class Pictures(Masked):
        def __init__(self):
            super().__init__()
            self.metadata, self.render_mode = {"render_modes": ["rgb_array"]}, "rgb_array"

        def render(self):
            return np.full((20, 20, 3), self.state, np.uint8)

    tasks = mtq.TaskSet([mtq.Task("game", Pictures)])
    model = mtq.MultiTaskDQN(mtq.networks.shared_q_network(tasks, mtq.networks.mlp([8])), tasks)
    played = record(model, "game", tmp_path / "game.gif", episodes=3)
    np.testing.assert_array_equal(played.returns, played.lengths)


def test_act(model):
    observations = np.array([[3, 0], [50, 1], [99, 2]], np.float32)
    masks, q_values = legal_of(observations, 5), model.paths["dict"](observations).numpy()
    best = np.where(masks, q_values, -np.inf).argmax(axis=1) + 1
    np.testing.assert_array_equal(model.act("dict", observations, masks), best)
    np.testing.assert_array_equal(model.act("dict", observations, action_mask=masks.astype(np.int8)), best)
    assert model.act("dict", observations[1], masks[1].tolist()) == best[1]
    np.testing.assert_array_equal(model.act("dict", observations), q_values.argmax(axis=1) + 1)
    for wrong in (masks[0], masks[:, :3], 2 * masks, "all", [[1], [1, 0]]):
        with pytest.raises(ValueError, match=error("action_mask of task 'dict' must be", "shape (3, 5)", "Received:")):
            model.act("dict", observations, wrong)
    with pytest.raises(ValueError, match=error("action_mask of task 'dict' must allow", "Received:")):
        model.act("dict", observations[0], np.zeros(5))


@pytest.fixture(scope="module")
def exported(model, tmp_path_factory):
    path = tmp_path_factory.mktemp("masks") / "export"
    check_exportable(model)
    model.export(path)
    return path


def test_exports_have_a_signature_for_masks(model, exported):
    signatures = tf.saved_model.load(exported).signatures
    assert set(signatures) == {*SOURCES, *(f"{name}_masked" for name in SOURCES), "serving_default"}
    observations = tf.constant([[3, 0], [50, 1], [99, 2]], tf.float32)
    for name, task in model.tasks.items():
        masks = legal_of(observations.numpy(), task.num_actions)
        answer = signatures[f"{name}_masked"](observation=observations, action_mask=tf.constant(masks.astype(np.int8)))
        np.testing.assert_array_equal(answer["action"], model.act(name, observations, masks))
        np.testing.assert_allclose(answer["q_values"], model.paths[name](observations), rtol=1e-6)
        plain = signatures[name](observation=observations)
        np.testing.assert_array_equal(plain["action"], model.act(name, observations))
        for wrong in (np.zeros_like(masks), masks[:, :-1], masks[:2]):
            with pytest.raises(tf.errors.InvalidArgumentError, match=f"(action_mask.*{name}|{name}.*action_mask)"):
                signatures[f"{name}_masked"](observation=observations, action_mask=tf.constant(wrong.astype(np.int8)))


def test_an_export_may_be_replaced(model, exported):
    model.export(exported, overwrite=True)
    tasks = mtq.TaskSet([mtq.Task("corridor", Corridor), mtq.Task("corridor_masked", Corridor)])
    other = mtq.MultiTaskDQN(mtq.networks.shared_q_network(tasks, mtq.networks.mlp([8])), tasks)
    path = exported.parent / "other"
    other.export(path)
    other.export(path, overwrite=True)


def test_an_export_plays(tmp_path):
    tasks = mtq.TaskSet([mtq.Task("taxi", TAXI)])
    model = mtq.MultiTaskDQN(mtq.networks.shared_q_network(tasks, mtq.networks.mlp([8]), seed=0), tasks)
    model.export(tmp_path / "export")
    (tmp_path / "tasks.json").write_text(json.dumps(keras.saving.serialize_keras_object(tasks)))
    returns = play_export(str(tmp_path / "export"), str(tmp_path / "tasks.json"))
    assert returns["taxi"] == mtq.evaluation.evaluate(model, episodes=1)["taxi"].mean
    assert returns["taxi"] >= -200, "no illegal drop-off, each of which costs 10"


def test_recordings_of_observations(tmp_path):
    class Images(Masked):
        def __init__(self):
            super().__init__()
            self.observation_space = gymnasium.spaces.Box(0, 255, (40, 40, 1), np.uint8)

        def observe(self):
            return np.full((40, 40, 1), self.state, np.uint8)

    tasks = mtq.TaskSet([mtq.Task("game", Images)])
    model = mtq.MultiTaskDQN(mtq.networks.shared_q_network(tasks, mtq.networks.minatar_cnn(4, 8)), tasks)
    played = record(model, "game", tmp_path / "game.gif", episodes=2)
    np.testing.assert_array_equal(played.returns, played.lengths)
