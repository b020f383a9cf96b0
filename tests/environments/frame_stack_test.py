"""Tasks that stack frames: in Python, in the graph, in the replay, and in files."""

import dataclasses

import gymnasium
import numpy as np
import pytest
import tensorflow as tf

import mtq
from mtq.dynamics.checked import CheckedDynamics
from mtq.environments.copies import EnvironmentCopies
from mtq.environments.in_graph import InGraphCopies
from mtq.evaluation.recording import _drawn
from mtq.runs.checkpoint import Checkpoint
from mtq.tasks.spec import TaskSpec, stacked_spec
from tests.toy_environments import CountingEnvironment


class Clock(gymnasium.Env):
    """Frames of a given shape whose pixels are all the number of the step; an episode has 6 steps."""

    def __init__(self, shape=(40, 40), dtype=np.uint8):
        self.observation_space = gymnasium.spaces.Box(0, 255, shape, dtype)
        self.action_space = gymnasium.spaces.Discrete(3)

    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        self.time = 0
        return self.frame(), {}

    def frame(self):
        return np.full(self.observation_space.shape, self.time, self.observation_space.dtype)

    def step(self, action):
        self.time += 1
        return self.frame(), 1.0, self.time == 6, False, {}


class InGraphClock(mtq.dynamics.Dynamics):
    observation_dtype, observation_high, num_actions = "uint8", 255, 3

    def __init__(self, shape=(40, 40)):
        super().__init__(6)
        self.observation_shape = shape

    def initial_state(self, random):
        return tf.zeros([random.shape[0], 1])

    def step(self, state, action, random):
        return state + 1, tf.ones([state.shape[0]]), tf.zeros([state.shape[0]], tf.bool)

    def observe(self, state):
        ones = tf.ones([state.shape[0], *self.observation_shape])
        return tf.cast(ones * tf.reshape(state, [-1] + [1] * len(self.observation_shape)), tf.uint8)


STACKS = [[0, 0, 0, 1], [0, 0, 1, 2], [0, 1, 2, 3], [1, 2, 3, 4], [2, 3, 4, 5], [3, 4, 5, 6], [0, 0, 0, 1]]


@pytest.mark.parametrize("make", [Clock, InGraphClock])
@pytest.mark.parametrize(("frame", "shape"), [((40, 40), (40, 40, 4)), ((5, 6, 2), (5, 6, 8)), ((3,), (12,))])
def test_observations_are_the_latest_frames_of_the_episode(make, frame, shape):
    task = mtq.Task("clock", lambda: make(frame), frame_stack=4)
    assert task.spec.observation_shape == shape
    is_in_graph = make is InGraphClock
    copies = InGraphCopies(task, 2, 0, compiled=False) if is_in_graph else EnvironmentCopies(task, 2, 0)
    times = lambda stacks: stacks.reshape(-1, shape[-1])[:, :: shape[-1] // 4]  # noqa: E731
    first = copies.reset()
    assert (first == 0).all()
    assert first.shape == (2, *shape)
    assert first.dtype == task.spec.observation_dtype
    for number, stack in enumerate(STACKS):
        step = copies.step(np.zeros(2, int))
        assert (times(step.next_observation) == stack).all()
        ended = number == 5
        assert (step.is_last == ended).all()
        assert (times(step.observation) == (0 if ended else stack)).all()


def test_a_copy_starts_again_alone():
    class Either(CountingEnvironment):
        def reset(self, *, seed=None, options=None):
            if seed is not None:
                Either.ends = 3 if getattr(Either, "ends", 5) == 5 else 5
                self.ends_at = Either.ends
            return super().reset(seed=seed)

    copies = EnvironmentCopies(mtq.Task("a", Either, frame_stack=2), 2, 0)
    copies.reset()
    for _ in range(3):
        step = copies.step(np.zeros(2, int))
    assert step.is_last.tolist() == [True, False]
    assert step.next_observation[:, 1::2].tolist() == [[2, 3], [2, 3]]
    assert step.observation.tolist() == [[1, 0, 1, 0], [0, 2, 0, 3]]


def test_training_reads_the_stacks_that_were_acted_on():
    """With several copies and steps a return; the observations are the times of the last four frames."""
    tasks = mtq.TaskSet(
        [
            mtq.Task("host", lambda: Clock((1,)), frame_stack=4, num_envs=2, discount=1.0),
            mtq.Task("graph", lambda: InGraphClock((1,)), frame_stack=4, num_envs=2, discount=1.0),
        ]
    )
    model = mtq.MultiTaskDQN(mtq.networks.shared_q_network(tasks, mtq.networks.mlp([8])), tasks)
    model.compile(optimizer="adam")
    experience = mtq.Experience(model, n_step=3, warmup_steps=40, replay_capacity=30)
    stacks = {0: [0, 0, 0, 0]} | {time: stack for time, stack in enumerate(STACKS[:6], 1)}
    for batch in experience.batches(16).take(20):
        for transition in batch.values():
            parts = transition.observation, transition.reward, transition.next_observation
            for first, reward, last in zip(*(part.numpy() for part in parts), strict=True):
                assert first.tolist() == stacks[int(first[-1])]
                assert last.tolist() == stacks[int(last[-1])]
                assert last[-1] == min(first[-1] + 3, 6)
                assert reward == last[-1] - first[-1]


@pytest.mark.thorough
def test_a_resumed_run_has_the_same_bits(tmp_path):
    def made():
        tasks = mtq.TaskSet([mtq.Task("breakout", "in_graph/MinAtar-Breakout", frame_stack=3)])
        network = mtq.networks.shared_q_network(tasks, mtq.networks.minatar_cnn(4, 8), seed=0)
        model = mtq.MultiTaskDQN(network, tasks)
        model.compile(optimizer="adam")
        return model, mtq.Experience(model, n_step=3, warmup_steps=50, replay_capacity=60)

    def trained(model, experience):
        model.fit(experience.batches(8), steps_per_epoch=20, verbose=0)
        return [variable.numpy() for variable in [*model.variables, *experience.replays["breakout"].gather_all()]]

    model, experience = made()
    trained(model, experience)
    Checkpoint(tmp_path, model, experience).save(1, {})
    whole = trained(model, experience)
    model, experience = made()
    model.fit(experience.batches(8), steps_per_epoch=1, verbose=0)
    Checkpoint(tmp_path, model, experience).load()
    for one, other in zip(whole, trained(model, experience), strict=True):
        np.testing.assert_array_equal(one, other)


def test_bounds_are_those_of_the_frames():
    space = gymnasium.spaces.Box(np.array([0, -5], np.float32), np.array([255, 5], np.float32))
    frame = TaskSpec((2,), "float32", (255.0, 5.0), 3, observation_low=(0.0, -5.0))
    spec = stacked_spec("a", frame, 3)
    assert spec.observation_high == (255.0, 5.0) * 3
    assert spec.observation_low == (0.0, -5.0) * 3
    assert space.shape == frame.observation_shape


@pytest.mark.parametrize("shape", [(3, 84, 84), (2, 5, 5), (4, 20, 20, 3)])
def test_frames_with_channels_first_are_refused(shape):
    with pytest.raises(ValueError, match=r"frame_stack of task 'a' needs .* channels last\. Received: frames of shape"):
        mtq.Task("a", lambda: Clock(shape), frame_stack=4)


def test_columns_with_bounds_of_their_own_are_refused():
    frame = TaskSpec((40, 2), "float32", (255.0, 5.0), 3)
    with pytest.raises(ValueError, match="the same in all columns"):
        stacked_spec("a", frame, 4)


def test_files_of_tasks_that_stack_no_frames_are_those_of_earlier_versions():
    config = mtq.Task("a", Clock).get_config()
    assert not {"frame_stack", "env_kwargs"} & {*config, *config["spec"]}
    assert mtq.Task.from_config(config).frame_stack == 1
    one = mtq.Task("pong", "ALE/Pong-v5", frame_stack=1)
    assert mtq.Task.from_config(one.get_config()) == one


def test_another_number_of_frames_reads_the_spec_again():
    task = mtq.Task("a", Clock, frame_stack=4)
    assert dataclasses.replace(task, frame_stack=1).spec.observation_shape == (40, 40)
    assert dataclasses.replace(task, frame_stack=2).spec.observation_shape == (40, 40, 2)
    loaded = mtq.Task.from_config(task.get_config())
    assert loaded.spec == task.spec
    assert loaded.frame_stack == 4
    with pytest.raises(
        ValueError, match=r"frame_stack of task 'a' must equal the frame_stack of its spec, 4\. Received: 2"
    ):
        dataclasses.replace(loaded, frame_stack=2)


@pytest.mark.parametrize("frames", [0, 3, 1.5, "4"])
def test_a_number_of_frames_in_a_file_must_fit(frames):
    config = mtq.Task("a", Clock, frame_stack=4).get_config()
    config["spec"]["frame_stack"] = frames
    with pytest.raises(ValueError, match="frame_stack in the config of task 'a' must be an integer of at least 1"):
        mtq.Task.from_config(config)


def test_pictures_show_the_newest_frame():
    task = mtq.Task("a", lambda: Clock((40, 40, 3)), frame_stack=2)
    old, new = np.full((40, 40, 3), 10, np.uint8), np.full((40, 40, 3), 200, np.uint8)
    assert (_drawn(np.concatenate([old, new], axis=-1), task) == 200).all()


def test_a_frame_of_another_shape_than_the_dynamics_declare_is_named():
    class Wrong(InGraphClock):
        def observe(self, state):
            return tf.zeros([state.shape[0], 3, 3], tf.uint8)

    dynamics = CheckedDynamics("clock", Wrong(), frame_stack=4)
    with pytest.raises(ValueError, match=r"dynamics of task 'clock' must return the observation .*\(2, 40, 40\)"):
        dynamics.initial_state(tf.zeros([2, 1]))


def test_stacks_as_long_as_the_replay_are_sampled():
    task = mtq.Task("clock", lambda: Clock((10, 10)), frame_stack=100)
    tasks = mtq.TaskSet([task])
    model = mtq.MultiTaskDQN(mtq.networks.shared_q_network(tasks, mtq.networks.minatar_cnn(2, 4), seed=0), tasks)
    experience = mtq.Experience(model, replay_capacity=100, warmup_steps=90, seed=0)
    batch = next(iter(experience.batches(64)))["clock"]
    newest = np.asarray(batch.next_observation)[:, 0, 0, -2:]
    np.testing.assert_array_equal(newest[:, 1] - newest[:, 0], 1)  # an action leads to the next frame
