"""The replay stores one frame a step. Sampled rows are compared with whole steps that are kept beside it."""

import types

import numpy as np
import pytest
import tensorflow as tf

import mtq
from mtq.experience.bits import pack_bits, unpack_bits
from mtq.experience.memory import Memory, memory_spec
from mtq.experience.old_replays import converted
from mtq.experience.replay import Replay
from mtq.experience.transitions import transitions_of
from mtq.tasks.spec import TaskSpec

DISCOUNT = 0.5


def task_of(shape, dtype, stack=1):
    shape = (*shape[:-1], shape[-1] * stack)
    spec = TaskSpec(shape, dtype, 255.0 if dtype == "uint8" else None, 3, frame_stack=stack)
    return types.SimpleNamespace(spec=spec, discount=DISCOUNT, reward_scale=1.0, reward_clip=None)


class Beside:
    """A replay, and all of its steps with whole stacks in Python. Every frame is different."""

    def __init__(self, shape, dtype, num_envs, capacity, ending, seed, stack=1, is_binary=False):
        self.task, self.num_envs, self.ending, self.stack = task_of(shape, dtype, stack), num_envs, ending, stack
        self.is_binary, spec = is_binary, memory_spec(self.task)
        self.replay = Replay(spec, num_envs, capacity, seed=seed, frame_stack=stack, is_binary=is_binary)
        self.random, self.shape, self.dtype = np.random.default_rng(seed), shape, np.dtype(dtype)
        self.steps, self.current = [], self.first()
        self.add = tf.function(self.replay.add_batch)

    def first(self):
        return np.concatenate([self.frames()] * self.stack, axis=-1)

    def frames(self):
        size = (self.num_envs, *self.shape)
        high = 2 if self.is_binary else 256 if self.dtype == np.uint8 else 2**20
        return self.random.integers(high, size=size).astype(self.dtype)

    def step(self):
        reached = np.concatenate([self.current[..., self.shape[-1] :], self.frames()], axis=-1)
        ends = self.random.random(self.num_envs) < self.ending
        terminal = ends & (self.random.random(self.num_envs) < 0.5)
        numbers = self.random.integers(3, size=self.num_envs), self.random.normal(size=self.num_envs)
        action, reward = numbers[0].astype(np.int32), numbers[1].astype(np.float32)
        memory = Memory(self.current, action, reward, np.where(terminal, 0, 1).astype(np.float32), reached, ends)
        self.add(Memory(*map(tf.constant, memory)))
        self.steps.append(memory)
        self.current = np.where(ends.reshape(-1, *[1] * len(self.shape)), self.first(), reached)

    def restart(self):
        self.replay.end_episodes()
        newest = self.steps.pop()
        self.steps.append(newest._replace(is_last=np.ones_like(newest.is_last)))
        self.current = self.first()

    def expected(self, step, copy, n):
        first, reward, discount = self.steps[step], 0.0, 1.0
        for number in range(step, step + n):
            memory = self.steps[number]
            reward += discount * memory.reward[copy]
            discount *= DISCOUNT * memory.discount[copy]
            if memory.is_last[copy]:
                break
        return first.observation[copy], first.action[copy], reward, discount, memory.next_observation[copy]

    def check(self, rows, n):
        draw = self.replay.draw(rows, n)
        drawn = transitions_of(self.task, self.replay, draw)
        steps, copies = draw.selection.step.numpy(), draw.selection.copy.numpy()
        wanted = [self.expected(step, copy, n) for step, copy in zip(steps, copies, strict=True)]
        for got, expected in zip(drawn, zip(*wanted, strict=True), strict=True):
            np.testing.assert_allclose(got.numpy(), np.stack(expected), rtol=1e-5, atol=1e-6)
        return len(self.steps) - steps.min()


CASES = [
    ((3,), "float32", 0.2),  # a place for every observation
    ((5, 5, 1), "float32", 0.2),  # about as many places as are needed
    ((8, 8, 2), "uint8", 0.02),
    ((8, 8, 2), "uint8", 0.6),  # episodes so short that steps are removed
    ((2,), "float32", 1.0),  # of one step
]


@pytest.mark.parametrize("num_envs", [pytest.param(1, marks=pytest.mark.thorough), 4])
@pytest.mark.parametrize(("shape", "dtype", "ending"), CASES)
@pytest.mark.parametrize(
    ("n", "stack"),
    [
        pytest.param(1, 1, marks=pytest.mark.thorough),
        pytest.param(3, 1, marks=pytest.mark.thorough),
        pytest.param(5, 1, marks=pytest.mark.thorough),
        pytest.param(1, 4, marks=pytest.mark.thorough),
        pytest.param(3, 4),
        pytest.param(5, 2, marks=pytest.mark.thorough),
    ],
)
def test_sampled_rows_equal_whole_steps(shape, dtype, ending, num_envs, n, stack):
    length = 300
    beside = Beside(shape, dtype, num_envs, length * num_envs, ending, seed=n, stack=stack)
    for _ in range(n):
        beside.step()
    oldest = []
    for _ in range(30):  # the replay is written over three times
        for _ in range(beside.random.integers(1, 60)):
            beside.step()
        if beside.random.random() < 0.3:
            beside.restart()
        oldest.append(beside.check(200, n))
    assert max(oldest) <= length
    stored = int(beside.replay.num_frames()) // num_envs
    if ending < 0.1 or beside.replay.num_places == 2 * length + 1 + stack:
        assert stored == length
    assert stored >= beside.replay._least_steps


@pytest.mark.slow
@pytest.mark.parametrize("num_envs", [1, 4])
@pytest.mark.parametrize("n", [1, 3, 5])
@pytest.mark.parametrize("stack", [1, 4])
def test_a_hundred_thousand_sampled_rows(num_envs, n, stack):
    for number, (shape, dtype, ending) in enumerate(CASES):
        beside = Beside(shape, dtype, num_envs, 1_000 * num_envs, ending, seed=number, stack=stack)
        for turn in range(20):
            for _ in range(200):
                beside.step()
            if turn % 3 == 2:
                beside.restart()
            beside.check(1_000, n)


def test_memory_is_one_observation_a_step():
    size = lambda replay: sum(v.shape.num_elements() * v.dtype.size for v in replay.state())  # noqa: E731
    breakout = Replay(memory_spec(mtq.suites.task("breakout")), 1, 100_000)
    assert size(breakout) / 100_000 <= 500
    in_bits = Replay(memory_spec(mtq.suites.task("breakout")), 1, 100_000, is_binary=True)
    assert size(in_bits) / 100_000 <= 6 * 4 + 1.13 * (400 / 8 + 8)
    vector = Replay(memory_spec(task_of((17,), "float32")), 1, 100_000)
    assert size(vector) / 100_000 <= 6 * 4 + 1.13 * (17 * 4 + 8)
    for num_envs in (1, 8):
        atari = Replay(memory_spec(task_of((84, 84, 1), "uint8", 4)), num_envs, 100_000, frame_stack=4)
        assert size(atari) / 100_000 <= 7_300


def test_a_stack_that_does_not_divide_the_observation_is_refused():
    with pytest.raises(ValueError, match=r"frame_stack of a Replay must divide .* 2\. Received: 3"):
        Replay(memory_spec(task_of((8, 8, 2), "uint8")), 1, 100, frame_stack=3)


@pytest.mark.parametrize(("shape", "dtype", "ending"), [CASES[0], CASES[3]])
def test_replays_without_ages_are_converted(shape, dtype, ending):
    beside = Beside(shape, dtype, 2, 200, ending, seed=1)
    for _ in range(150):
        beside.step()
    saved = {f"a/replay/{number}": variable.numpy() for number, variable in enumerate(beside.replay.state())}
    beside.replay.reset(3)
    new = converted(saved | {"a/replay/0": saved["a/replay/0"][:, :5]}, {"a": beside.replay})
    for name, part in saved.items():
        np.testing.assert_array_equal(new[name], part)


def test_a_window_longer_than_what_is_always_stored_is_refused():
    replay = Replay(memory_spec(task_of((8, 8, 2), "uint8")), 1, 1_000)
    with pytest.raises(ValueError, match=r"num_steps must be at most 593, .* Received: 594"):
        replay.draw(4, 594)


@pytest.mark.parametrize(
    ("shape", "dtype", "ending"),
    [pytest.param(*case, marks=() if case in (CASES[1], CASES[3]) else pytest.mark.thorough) for case in CASES],
)
@pytest.mark.parametrize("count", [pytest.param(7, marks=pytest.mark.thorough), 150])
def test_replays_with_two_observations_a_step_are_converted(shape, dtype, ending, count):
    """Those of earlier checkpoints: a table per dtype with reward, discount, action and is_last, then observations."""
    beside, length = Beside(shape, dtype, 2, 200, ending, seed=1), 100
    for _ in range(count):
        beside.step()
    numbers, observations = np.zeros((200, 4), np.float32), np.zeros((200, 2 * int(np.prod(shape))), dtype)
    for number, step in enumerate(beside.steps):
        rows = number % length + np.arange(2) * length
        numbers[rows] = np.stack([step.reward, step.discount, step.action, step.is_last], axis=1)
        observations[rows] = np.concatenate([step.observation.reshape(2, -1), step.next_observation.reshape(2, -1)], 1)
    tables = [np.hstack([numbers, observations])] if dtype == "float32" else [numbers, observations]
    parts = [*tables, np.array(count - 1), beside.replay.state()[-1].numpy(), np.zeros((2, length))]  # two of a sampler
    beside.replay.reset(3)
    saved = {f"a/replay/{number}": part for number, part in enumerate(parts)} | {"other": np.zeros(1)}
    new = converted(saved, {"a": beside.replay})
    assert set(new) == {"other", *(f"a/replay/{number}" for number in range(len(beside.replay.state()) + 1))}
    assert new.pop(f"a/replay/{len(beside.replay.state())}").shape == (2, length)
    for number, variable in enumerate(beside.replay.state()):
        variable.assign(new[f"a/replay/{number}"])
    assert converted(new, {"a": beside.replay}).keys() == new.keys()  # nothing is converted twice
    for n in (1, 3):
        beside.check(300, n)
    for _ in range(250):
        beside.step()
        beside.check(2, 3)


def test_more_places_than_are_told_apart_are_refused():
    with pytest.raises(ValueError, match=r"at most 16,777,216 places .* Received: 20,000,002, for 10,000,000 steps"):
        Replay(memory_spec(task_of((1,), "float32")), 1, 10_000_000)


def test_the_first_step_does_not_continue_what_a_replay_held_before():
    held = []

    def replay(spec, num_envs, capacity):
        held.append(Replay(spec, num_envs, capacity))
        step = tf.nest.map_structure(lambda part: tf.zeros([num_envs, *part.shape], part.dtype), spec)
        held[0].add_batch(step._replace(discount=tf.ones([num_envs]), next_observation=step.next_observation + 7))
        return held[0]

    tasks = mtq.TaskSet([mtq.Task("a", "in_graph/Chain")])
    model = mtq.MultiTaskDQN(mtq.networks.shared_q_network(tasks, mtq.networks.mlp([4])), tasks)
    mtq.Experience(model, replay=replay, warmup_steps=5).prepare()
    first = held[0].read(tf.constant([0], tf.int64))
    assert first.is_last.numpy().all()
    assert (first.next_observation.numpy() == 7).all()


@pytest.mark.parametrize("shape", [(1,), (7,), (8,), (3, 9), (2, 5, 4)])
def test_bits_are_packed_as_numpy_packs_them(shape):
    bits = np.random.default_rng(0).integers(2, size=shape).astype(np.uint8)
    packed = pack_bits(tf.constant(bits))
    np.testing.assert_array_equal(packed, np.packbits(bits, axis=-1, bitorder="little"))
    np.testing.assert_array_equal(unpack_bits(packed, shape[-1]), bits)


@pytest.mark.parametrize(("shape", "num_envs", "stack"), [((3, 5), 1, 1), ((4, 4, 3), 2, 1), ((5, 5, 1), 3, 4)])
def test_binary_images_are_stored_as_bits(shape, num_envs, stack):
    beside = Beside(shape, "uint8", num_envs, 60, ending=0.1, seed=0, stack=stack, is_binary=True)
    assert beside.replay.state()[1].shape[1] == -(-np.prod(shape) // 8)
    for turn in range(4):
        for _ in range(25):
            beside.step()
        if turn % 2:
            beside.restart()
        beside.check(300, 2)


def test_a_checkpoint_of_bytes_is_read_into_bits():
    beside = Beside((4, 4, 3), "uint8", 2, 60, ending=0.1, seed=1, is_binary=True)
    for _ in range(50):
        beside.step()
    saved = {f"a/replay/{number}": variable.numpy() for number, variable in enumerate(beside.replay.state())}
    as_bytes = np.unpackbits(saved["a/replay/1"], axis=-1, count=48, bitorder="little")
    new = converted(saved | {"a/replay/1": as_bytes}, {"a": beside.replay})
    for name, part in saved.items():
        np.testing.assert_array_equal(new[name], part)


def test_in_graph_tasks_of_binary_images_have_replays_of_bits():
    tasks = mtq.suites.minatar(["breakout", "freeway"])
    network = mtq.networks.shared_q_network(tasks, mtq.networks.minatar_cnn(2, 4), seed=0)
    experience = mtq.Experience(mtq.MultiTaskDQN(network, tasks), replay_capacity=100, warmup_steps=32)
    assert [replay.state()[1].shape[1] for replay in experience.replays.values()] == [50, 88]
    assert not TaskSpec((10, 10, 4), "uint8", 255.0, 3).is_binary
    assert not TaskSpec((10, 10, 4), "float32", None, 3).is_binary
