"""Actions that do not begin at 0: environments are given their own, exports answer them, batches count from 0."""

import gymnasium
import numpy as np
import pytest
import tensorflow as tf

import mtq
from mtq.cli.play_export import play_export
from mtq.evaluation.step_evaluator import StepEvaluator
from mtq.runs import save_tasks
from mtq.tasks.spec import TaskSpec
from tests.interop import HAS_TF_AGENTS, tf_agents
from tests.toy_environments import Corridor

array_spec, time_step = tf_agents("specs.array_spec"), tf_agents("trajectories.time_step")
PyEnvironment = tf_agents("environments.py_environment").PyEnvironment if HAS_TF_AGENTS else object


class Offset(Corridor):
    """A corridor whose actions are 5, to stay, and 6, to go on."""

    given: list = []  # noqa: RUF012  (by all copies)

    def __init__(self):
        super().__init__()
        self.action_space = gymnasium.spaces.Discrete(2, start=5)

    def step(self, action):
        assert self.action_space.contains(action), action
        Offset.given.append(int(action))
        return super().step(action - 5)


class TfAgentsOffset(PyEnvironment):
    """The same, of tf-agents, with images."""

    first, dtype = 5, np.int32

    def __init__(self):
        super().__init__()
        self.corridor = Corridor()
        self.corridor.reset(seed=0)

    def action_spec(self):
        return array_spec.BoundedArraySpec((), self.dtype, self.first, self.first + 1)

    def observation_spec(self):
        return array_spec.BoundedArraySpec((3,), np.uint8, 10, 30)

    def observe(self, observation):
        return (10 + 20 * observation).astype(np.uint8)

    def _reset(self):
        return time_step.restart(self.observe(self.corridor.reset()[0]))

    def _step(self, action):
        assert action in (self.first, self.first + 1), action
        if self._current_time_step.is_last():
            return self.reset()
        observation, reward, terminated, _, _ = self.corridor.step(int(action) - self.first)
        of = time_step.termination if terminated else time_step.transition
        return of(self.observe(observation), np.float32(reward))


class Negative(TfAgentsOffset):
    first, dtype = -1, np.int64


def batched(environment):
    """As a `TFPyEnvironment` makes it, but without a pool of threads, which nobody would close."""
    batch = tf_agents("environments.batched_py_environment").BatchedPyEnvironment
    return batch([environment], multithreading=False)


SOURCES = {
    "gymnasium": (Offset, 5),
    "tf_agents": (TfAgentsOffset, 5),
    "negative": (Negative, -1),
    "in_tensors": (
        lambda: tf_agents("environments.tf_py_environment").TFPyEnvironment(batched(TfAgentsOffset())),
        5,
    ),
}
if not HAS_TF_AGENTS:
    SOURCES = {"gymnasium": SOURCES["gymnasium"]}


def going_on(tasks):
    """A model that always goes on."""
    network = mtq.networks.shared_q_network(tasks, mtq.networks.mlp([4]), seed=0)
    for name in tasks:
        layer = network.get_layer(f"{name}_q_values")
        layer.set_weights([np.zeros(layer.kernel.shape), np.array([0.0, 1.0])])
    model = mtq.MultiTaskDQN(network, tasks)
    model.compile(jit_compile=False)
    return model


@pytest.mark.parametrize("name", SOURCES)
def test_from_training_to_the_export(name, tmp_path):
    source, first = SOURCES[name]
    tasks = mtq.TaskSet([mtq.Task("a", source)])
    assert (tasks["a"].spec.first_action, tasks["a"].num_actions) == (first, 2)
    model = going_on(tasks)
    assert mtq.evaluation.evaluate(model, episodes=2)["a"].lengths.tolist() == [3, 3]
    assert StepEvaluator(model, steps=6).greedy()["a"] == pytest.approx(0.99**2)
    experience = mtq.Experience(tasks, model, warmup_steps=10)
    batch = next(iter(experience.dataset(16)))["a"]
    assert set(batch.action.numpy()) == {0, 1}
    if name != "gymnasium":
        assert tasks["a"].spec == TaskSpec((3,), "uint8", 30.0, 2, first_action=first, observation_low=10.0)
    model.export(tmp_path / "export")
    loaded = tf.saved_model.load(tmp_path / "export").signatures
    observation = tf.cast(tf.constant([[10, 30, 10]]), tasks["a"].spec.observation_dtype)
    assert loaded["a"](observation=observation)["action"].numpy().tolist() == [first + 1]
    assert loaded["a"](observation=observation)["q_values"].numpy().tolist() == [[0.0, 1.0]]
    assert loaded["serving_default"](a=observation)["a_action"].numpy().tolist() == [first + 1]


def test_an_export_is_played_with_the_environments_own_actions(tmp_path):
    gymnasium.register("mtq_test/Offset-v0", Offset, max_episode_steps=9)
    try:
        tasks = mtq.TaskSet([mtq.Task("a", "mtq_test/Offset-v0")])
        going_on(tasks).export(tmp_path / "export")
        save_tasks(tasks, tmp_path / "tasks.json")
        Offset.given.clear()
        assert play_export(str(tmp_path / "export"), str(tmp_path / "tasks.json")) == {"a": 1.0}
        assert Offset.given == [6, 6, 6]
    finally:
        del gymnasium.registry["mtq_test/Offset-v0"]


def test_actions_beyond_int32():
    class Far(Corridor):
        def __init__(self):
            super().__init__()
            self.action_space = gymnasium.spaces.Discrete(2, start=2**40)

    with pytest.raises(ValueError, match=r"actions of task 'a' must fit into int32\. Received: 1099511627776"):
        mtq.Task("a", Far)
