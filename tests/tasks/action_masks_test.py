"""Which tasks have masks of legal actions, and how they are saved."""

import dataclasses
import random

import gymnasium
import keras
import numpy as np
import pytest
import tensorflow as tf
from gymnasium import spaces

import mtq
from mtq.dynamics.checked import CheckedDynamics
from mtq.environments import EnvironmentCopies
from mtq.runs.models import check_same_tasks, with_masks_of_run
from mtq.tasks import TaskSpec
from tests.messages import error
from tests.toy_environments import TAXI, Corridor, Masked, MaskedDict, MaskedDynamics, legal_in

KEY = "action_mask"


def dict_env(**parts):
    class Other(MaskedDict):
        def __init__(self):
            super().__init__()
            self.observation_space = spaces.Dict(
                {name: part for name, part in {**self.observation_space.spaces, **parts}.items() if part is not None}
            )

        def answer(self):
            observation, info = super().answer()
            kept = {key: value for key, value in observation.items() if key in self.observation_space.spaces}
            return {**{key: part.sample() * 0 for key, part in parts.items() if part is not None}, **kept}, info

    return Other


@pytest.mark.parametrize("environment", [TAXI, Masked, MaskedDict, MaskedDynamics])
def test_masks_are_found(environment):
    task = mtq.Task("a", environment)
    assert task.spec.has_action_mask
    assert mtq.Task("a", environment, action_mask=True).spec.has_action_mask
    assert not mtq.Task("a", environment, action_mask=False).spec.has_action_mask


@pytest.mark.parametrize("environment", ["CartPole-v1", "in_graph/CartPole", Corridor])
def test_tasks_without_masks(environment):
    assert not mtq.Task("a", environment).spec.has_action_mask
    with pytest.raises(ValueError, match=error("action_mask of task 'a' must be None or False", "Received: True", KEY)):
        mtq.Task("a", environment, action_mask=True)
    with pytest.raises(ValueError, match=error("action_mask of task 'a' must be True, False or None", "'yes'")):
        mtq.Task("a", environment, action_mask="yes")


def test_the_mask_is_taken_out_of_a_dict():
    image = spaces.Box(0, 255, (40, 40, 3), np.uint8)
    spec = mtq.Task("a", MaskedDict).spec
    assert (spec.observation_shape, spec.parts, spec.first_action) == ((2,), (), 1)
    plain = mtq.Task("a", MaskedDict, action_mask=False).spec
    assert (plain.observation_shape, plain.part_names) == ((7,), (KEY, "observation"))
    of_image = mtq.Task("a", dict_env(observation=image)).spec
    assert (of_image.observation_shape, of_image.observation_dtype, of_image.parts) == ((40, 40, 3), "uint8", ())
    more = mtq.Task("a", dict_env(other=spaces.Discrete(4))).spec
    assert (more.observation_shape, more.part_names) == ((6,), ("observation", "other"))
    one = mtq.Task("a", dict_env(observation=None, other=spaces.Discrete(4))).spec
    assert (one.observation_shape, one.part_names) == ((4,), ("other",))
    assert all(each.has_action_mask for each in (spec, of_image, more, one))


def test_an_image_stays_an_image():
    task = mtq.Task("a", dict_env(observation=spaces.Box(0, 255, (40, 40, 3), np.uint8)), frame_stack=2)

    class Images(task.environment):
        def observe(self):
            return np.full((40, 40, 3), self.length, np.uint8)

    copies = EnvironmentCopies(dataclasses.replace(task, environment=Images), 2, 0)
    observation, mask = copies.reset()
    assert (observation.shape, mask.shape) == ((2, 40, 40, 6), (2, 5))
    step = copies.step(mask.argmax(axis=1))
    assert step.next_observation[0][0, 0, 0].tolist() == [0, 0, 0, 1, 1, 1]


def test_dicts_whose_mask_does_not_fit():
    for wrong in (spaces.MultiBinary(6), spaces.Discrete(5)):
        with pytest.raises(
            ValueError, match=error(f"'{KEY}' in the observation of task 'a' must", "Received:", "False")
        ):
            mtq.Task("a", dict_env(action_mask=wrong))
    with pytest.raises(ValueError, match=error("observation of task 'a' must hold more than", "Received: Dict")):
        mtq.Task("a", dict_env(observation=None))
    assert mtq.Task("a", dict_env(observation=None), action_mask=False).spec.observation_shape == (5,)


def test_only_environments_that_name_the_key_are_reset():
    resets = []

    class Counted(Corridor):
        def reset(self, *, seed=None, options=None):
            resets.append(self)
            return super().reset(seed=seed)

    class Named(Counted):
        def reset(self, *, seed=None, options=None):
            observation, info = super().reset(seed=seed)
            return observation, info | _infos()

    class Hidden(Counted):
        def reset(self, *, seed=None, options=None):
            return super().reset(seed=seed)[0], self.infos()

        def infos(self):
            return {"action" + "_mask".strip(): np.ones(2)}

        def step(self, action):
            return *super().step(action)[:4], self.infos()

    assert not mtq.Task("a", Counted).spec.has_action_mask
    assert not mtq.Task("a", lambda: gymnasium.wrappers.RecordEpisodeStatistics(Counted())).spec.has_action_mask
    assert not mtq.Task("hidden", Hidden).spec.has_action_mask
    assert not mtq.Task("a", Named, action_mask=False).spec.has_action_mask
    assert not resets
    assert mtq.Task("a", lambda: gymnasium.wrappers.RecordEpisodeStatistics(Named())).spec.has_action_mask
    assert len(resets) == 1
    assert mtq.Task("hidden", Hidden, action_mask=True).spec.has_action_mask
    with pytest.warns(UserWarning, match=error("'hidden' returns masks", "does not use", "action_mask=True")):
        mtq.environments.check_task(mtq.Task("hidden", Hidden))
    mtq.environments.check_task(mtq.Task("hidden", Hidden, action_mask=False))


def _infos():
    return {KEY: np.ones(2)}


def test_reading_a_spec_draws_no_random_numbers():
    class Global(Masked):
        def reset(self, *, seed=None, options=None):
            random.random()
            np.random.random()
            return super().reset(seed=seed)

    states = random.getstate(), np.random.get_state()
    mtq.Task("a", Global)
    assert states[0] == random.getstate()
    assert all(np.array_equal(one, other) for one, other in zip(states[1], np.random.get_state(), strict=True))


def test_a_reset_that_raises_is_reported_when_the_environment_is_used():
    class Raises(Masked):
        def reset(self, *, seed=None, options=None):
            raise SystemExit("no license")

    task = mtq.Task("a", Raises)
    with pytest.raises(mtq.BrokenEnvironmentError, match=error("'a' raised SystemExit in reset: no license")):
        mtq.environments.check_task(task)


def test_changing_the_setting_reads_the_spec_again():
    task = mtq.Task("a", MaskedDict)
    plain = dataclasses.replace(task, action_mask=False)
    assert plain.spec == mtq.Task("a", MaskedDict, action_mask=False).spec
    assert not plain.spec.has_action_mask
    assert dataclasses.replace(plain, action_mask=True).spec.has_action_mask
    with pytest.raises(ValueError, match=error("action_mask of task 'a' must be None or True", "Received: False")):
        dataclasses.replace(task, environment=None, action_mask=False)


def test_files():
    task = mtq.Task("taxi", TAXI)
    config = task.get_config()
    assert config["spec"]["has_action_mask"]
    assert mtq.Task.from_config(config).spec.has_action_mask
    without = mtq.Task("taxi", TAXI, action_mask=False).get_config()
    assert "has_action_mask" not in without["spec"]
    loaded = mtq.Task.from_config(without)
    assert (loaded.action_mask, loaded.spec.has_action_mask) == (False, False)
    assert not {"action_mask"} & mtq.Task("a", Corridor).get_config().keys()
    for field, value in (
        ("action_mask", 1),
        ("action_mask", False),
        ("spec", {**config["spec"], "has_action_mask": 1}),
    ):
        with pytest.raises(ValueError, match=error("in the config of task 'taxi' must be", "Received:")):
            mtq.Task.from_config({**config, field: value})


def test_files_of_earlier_versions_have_no_masks():
    """Their models have learned to act without them, and those of a Dict see the mask."""
    old = mtq.Task("taxi", TAXI).get_config()
    del old["spec"]["has_action_mask"]
    loaded = mtq.Task.from_config(old)
    assert not loaded.spec.has_action_mask
    assert loaded == mtq.Task("taxi", TAXI)
    with pytest.warns(UserWarning, match=error("task 'taxi' returns masks of legal actions, which the task does not")):
        mtq.environments.check_task(loaded)
    spec = mtq.Task("a", MaskedDict, action_mask=False).spec
    assert EnvironmentCopies(mtq.Task("a", MaskedDict, spec=spec), 1, 0).reset().shape == (1, 7)


def test_a_model_keeps_them(tmp_path):
    tasks = mtq.TaskSet([mtq.Task("taxi", TAXI), mtq.Task("corridor", Corridor)])
    model = mtq.MultiTaskDQN(mtq.networks.shared_q_network(tasks, mtq.networks.mlp([8])), tasks)
    model.save(tmp_path / "model.keras")
    loaded = keras.saving.load_model(tmp_path / "model.keras")
    assert {name: task.spec.has_action_mask for name, task in loaded.tasks.items()} == {"taxi": True, "corridor": False}


def test_names_of_signatures():
    masked, plain = mtq.Task("a", Masked), mtq.Task("a", Corridor)
    other = mtq.Task("a_masked", Corridor)
    mtq.TaskSet([plain, other])
    with pytest.raises(ValueError, match=error("Received: ['a', 'a_masked']", "a signature of the export of 'a'")):
        mtq.TaskSet([masked, other])


def test_dynamics_through_wrappers():
    for wrap in (lambda d: d, lambda d: mtq.dynamics.Sticky(d, 0.5), lambda d: d.with_limit(3)):
        dynamics = wrap(MaskedDynamics())
        for frame_stack in (1, 3):
            checked = CheckedDynamics("a", dynamics, frame_stack, uses_masks=True)
            assert checked.has_action_mask
            state = checked.initial_state(tf.random.stateless_uniform([20, dynamics.num_random], (0, 1)))
            observation, mask = checked.acted_on(state)
            states = observation[:, 2 * (frame_stack - 1)].numpy().astype(int)
            np.testing.assert_array_equal(mask, [legal_in(each, 7) for each in states])
    assert not mtq.dynamics.Sticky(mtq.dynamics.Catch(), 0.5).has_action_mask
    assert mtq.dynamics.Catch().action_mask(tf.zeros([1, 3])) is None


def test_sticky_actions_are_legal():
    dynamics = mtq.dynamics.Sticky(MaskedDynamics(), 0.9)
    random = tf.random.stateless_uniform([200, dynamics.num_random], (0, 1))
    state = dynamics.initial_state(random)
    for seed in range(5):
        action = tf.argmax(dynamics.action_mask(state), axis=1, output_type=tf.int32)
        random = tf.random.stateless_uniform([200, dynamics.num_random], (0, seed))
        reached, reward, terminated = dynamics.step(state, action, random)
        assert tf.reduce_min(reward) == 1
        state = tf.where(terminated[:, None], dynamics.initial_state(random), reached)


def test_masks_of_dynamics_are_checked():
    class Wrong(MaskedDynamics):
        def action_mask(self, state):
            return tf.ones([state.shape[0], 7])

    with pytest.raises(
        ValueError, match=error("'a' must return the mask from action_mask as bool", "Received: float32")
    ):
        mtq.environments.check_task(mtq.Task("a", Wrong))
    spec = TaskSpec((4,), "float32", None, 2, in_graph=True, has_action_mask=True)
    with pytest.raises(ValueError, match=error("environment of task 'a' must have the shapes", "has_action_mask=True")):
        mtq.Task("a", "in_graph/CartPole", spec=spec).make_environment()


def test_runs_of_earlier_versions_are_resumed_without_masks(tmp_path):
    tasks = mtq.TaskSet([mtq.Task("taxi", TAXI), mtq.Task("corridor", Corridor)])
    assert with_masks_of_run(tasks, tmp_path / "new") is tasks
    file = tmp_path / "tasks.json"
    mtq.runs.save_tasks(tasks, file)
    assert with_masks_of_run(tasks, tmp_path)["taxi"].spec.has_action_mask
    file.write_text(file.read_text().replace('"has_action_mask": true', '"has_action_mask": false'))
    with pytest.raises(ValueError, match=error("must be resumed with the masks", "'taxi' False → True", "=False")):
        check_same_tasks(file, tasks)
    resumed = with_masks_of_run(tasks, tmp_path)
    assert not resumed["taxi"].spec.has_action_mask
    check_same_tasks(file, resumed)
