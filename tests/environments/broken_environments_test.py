"""What an environment answers and raises: good answers are taken, bad ones refused by an error that names the task."""

import fractions
import traceback

import gymnasium
import numpy as np
import pytest
import tensorflow as tf
from hypothesis import given, settings
from hypothesis import strategies as st

import mtq
from mtq.environments.copies import EnvironmentCopies
from tests.toy_environments import Corridor

fuzz = settings(deadline=None, derandomize=True, max_examples=60, database=None)


class Answering(gymnasium.Env):
    """Answers the third step as it is told to, or raises."""

    def __init__(self, space=None, step=None, reset=None, raises=None, after=3):
        self.observation_space = gymnasium.spaces.Box(-9, 9, (2,), np.float32) if space is None else space
        self.action_space = gymnasium.spaces.Discrete(2)
        self.answer, self.begin = {} if step is None else step, reset
        self.raises, self.after, self.taken = raises or {}, after, 0

    def _good(self):
        return np.zeros(self.observation_space.shape, self.observation_space.dtype)

    def _maybe_raise(self, call):
        if call in self.raises:
            raise self.raises[call]

    def reset(self, *, seed=None, options=None):
        self._maybe_raise("reset")
        return (self._good(), {}) if self.begin is None else self.begin

    def step(self, action):
        self.taken += 1
        answer = {"observation": self._good(), "reward": 0.5, "terminated": False, "truncated": False, "info": {}}
        if self.taken >= self.after:
            self._maybe_raise("step")
            if not isinstance(self.answer, dict):
                return self.answer
            answer |= self.answer
        return tuple(answer.values())

    def close(self):
        self._maybe_raise("close")


def task(**options):
    return mtq.Task("robot", lambda: Answering(**options))


IMAGES = gymnasium.spaces.Box(0, 255, (2,), np.uint8)
BITS = gymnasium.spaces.Box(0, 1, (2,), np.uint8)
COUNTS = gymnasium.spaces.Box(0, 50, (2,), np.int64)
GOOD_REWARDS = st.one_of(
    st.floats(-1e30, 1e30),
    st.integers(-(10**9), 10**9),
    st.booleans(),
    st.sampled_from([np.float32(2), np.int64(3), np.bool_(True), np.array(1.5), fractions.Fraction(1, 3)]),
)
BAD_REWARDS = st.one_of(
    st.sampled_from(
        [None, "1.0", b"1", np.nan, np.inf, -np.inf, 10**400, 1e300, [1.0], {}, 1j, np.float64(1e200), object()]
    ),
    st.lists(st.floats(-1, 1), max_size=3).map(np.array),
)
BAD_BOOLS = st.one_of(st.sampled_from([None, 0, 1, "False", 0.0, np.array(True), [False]]), st.binary(max_size=2))
GOOD_OBSERVATIONS = st.sampled_from(
    [
        *((None, good) for good in ([1.0, 2.0], np.ones(2), np.ones(2, int), (1, np.float32(2)), [True, False])),
        *((IMAGES, good) for good in (np.array([0, 255]), np.array([3.0, 4.0]))),
        *((BITS, good) for good in ([True, False], np.ones(2, np.uint8))),
        *((COUNTS, good) for good in (np.array([0, 50]), np.array([7.0, 8.0]), np.ones(2, np.int8))),
    ]
)
BAD_OBSERVATIONS = st.sampled_from(
    [
        *((None, bad) for bad in (None, {"a": 1}, [[1.0], [1.0, 2.0]], "ab", ["1", "2"], [None, None], 3.0)),
        *((None, bad) for bad in (np.ones(3), np.array([np.nan, 0]), np.array([1e300, 0]), np.ones(2, complex))),
        *((IMAGES, np.array(bad)) for bad in ([256, 0], [-1, 0], [0.5, 1.0], [np.nan, 0.0], [np.inf, 0.0], [1e9, 0])),
        *((BITS, bad) for bad in (np.array([2, 0], np.uint8), np.array([2, 0]))),
        *((COUNTS, np.array(bad)) for bad in ([51, 0], [0.5, 0], [-1.0, 0.0], [np.nan, 0.0])),
    ]
)
GOOD = st.one_of(
    GOOD_REWARDS.map(lambda reward: {"step": {"reward": reward}}),
    st.sampled_from([True, False, np.bool_(False)]).map(lambda ends: {"step": {"terminated": ends}}),
    GOOD_OBSERVATIONS.map(lambda pair: {"space": pair[0], "step": {"observation": pair[1]}}),
    GOOD_OBSERVATIONS.map(lambda pair: {"space": pair[0], "reset": (pair[1], {})}),
    st.just({"reset": [np.zeros(2), {}]}),
)
OBS = np.zeros(2, np.float32)
BAD = st.one_of(
    BAD_REWARDS.map(lambda reward: {"step": {"reward": reward}}),
    BAD_BOOLS.map(lambda value: {"step": {"terminated": value}}),
    BAD_BOOLS.map(lambda value: {"step": {"truncated": value}}),
    st.sampled_from([None, (), "", [], 0]).map(lambda info: {"step": {"info": info}}),
    BAD_OBSERVATIONS.map(lambda pair: {"space": pair[0], "step": {"observation": pair[1]}}),
    BAD_OBSERVATIONS.map(lambda pair: {"space": pair[0], "reset": (pair[1], {})}),
    st.sampled_from([(OBS, 0.0, False, {}), OBS, "abcde", (), 3, {1, 2, 3, 4, 5}, (OBS, 0.0, False, False, {}, 1)]).map(
        lambda answer: {"step": answer}
    ),
    st.sampled_from([OBS, (OBS,), (OBS, None), 3, np.zeros((2, 2)), (OBS, 0.0, False)]).map(
        lambda answer: {"reset": answer}
    ),
)


@fuzz
@given(GOOD)
def test_good_answers_are_taken(options):
    mtq.environments.check_task(task(**options))


@fuzz
@given(BAD)
def test_bad_answers_are_refused_by_an_error_that_names_the_task(options):
    with pytest.raises(ValueError, match=r"^The environment of task 'robot' must .*Received: .*") as caught:
        mtq.environments.check_task(task(**options))
    assert len(str(caught.value).splitlines()) < 10


RAISED = st.sampled_from(
    [
        *(RuntimeError, StopIteration, SystemExit, GeneratorExit, ConnectionError, ValueError, TypeError, KeyError),
        *(NotImplementedError, MemoryError, AssertionError, ImportError, gymnasium.error.Error),
    ]
)


@fuzz
@given(RAISED, st.text(max_size=400), st.sampled_from(["reset", "step", "close"]))
def test_whatever_an_environment_raises_comes_back_as_one_error(kind, text, call):
    raised = kind(text)
    environments = []

    def make():  # the first two are the task's own, for its spec, and good
        good = len(environments) < 1
        environments.append(Answering(raises={} if good else {call: raised}))
        return environments[-1]

    robot = mtq.Task("robot", make)
    with pytest.raises(mtq.BrokenEnvironmentError, match=f"'robot' raised {kind.__name__} in {call}") as caught:
        mtq.environments.check_task(robot)
    assert caught.value.__cause__ is raised
    assert len(str(caught.value).splitlines()) < 10
    assert "_maybe_raise" in "".join(traceback.format_exception(caught.value))


def test_a_constructor_that_raises():
    def make():
        raise ConnectionError("no simulator")

    with pytest.raises(mtq.BrokenEnvironmentError, match="'robot' raised ConnectionError in its constructor: no sim"):
        mtq.Task("robot", make)


def test_a_keyboard_interrupt_passes_as_it_is():
    with pytest.raises(KeyboardInterrupt):
        mtq.environments.check_task(task(raises={"step": KeyboardInterrupt()}))


def test_what_raises_while_it_is_read():
    class Hostile:
        def __array__(self, *_, **__):
            raise StopIteration("of an array")

    for answer in ({"reward": Hostile()}, {"observation": Hostile()}):
        with pytest.raises(
            mtq.BrokenEnvironmentError, match=r"'robot' raised StopIteration in step(,| or reset,) when its"
        ):
            mtq.environments.check_task(task(step=answer))
    for bad in (np.timedelta64(1, "s"), np.ma.masked):
        with pytest.raises(ValueError, match=r"'robot' must return each reward from step as one number\. Received"):
            mtq.environments.check_task(task(step={"reward": bad}))


@pytest.mark.parametrize("call", ["reset", "step"])
def test_old_interfaces_below_gymnasiums_wrappers(call):
    options = {"step": (OBS, 0.0, False, {})} if call == "step" else {"reset": np.zeros(3)}
    words = "five values from step" if call == "step" else "an observation and a dict of infos from reset"
    wrapped = mtq.Task("robot", lambda: gymnasium.wrappers.RecordEpisodeStatistics(Answering(after=1, **options)))
    with pytest.raises(ValueError, match=f"'robot' must return {words}.* Received: (not enough|too many)"):
        mtq.environments.check_task(wrapped)


def test_a_value_error_of_the_environments_own_is_no_old_interface():
    raised = ValueError("not enough values to unpack (expected 5, got 4)")
    with pytest.raises(mtq.BrokenEnvironmentError) as caught:
        mtq.environments.check_task(task(raises={"step": raised}))
    assert caught.value.__cause__ is raised


def test_a_reset_without_a_seed():
    class Old(Corridor):
        def reset(self):
            return super().reset()

    with pytest.raises(ValueError, match=r"'robot' must take a seed in reset.*Received: .*seed=None"):
        mtq.environments.check_task(mtq.Task("robot", Old))


@pytest.fixture
def experience():
    def make(raised, **options):
        tasks = mtq.TaskSet([task(raises={"step": raised}, after=60)])
        model = mtq.MultiTaskDQN(mtq.networks.shared_q_network(tasks, mtq.networks.mlp([2])), tasks)
        model.compile(**options)
        return model, mtq.Experience(tasks, model, warmup_steps=10)

    return make


def _loop(dataset):
    for _ in dataset:
        pass


WAYS = {
    "fit": lambda model, dataset: model.fit(dataset, steps_per_epoch=100, verbose=0),
    "fit_of_a_map": lambda model, dataset: model.fit(dataset.map(lambda batch: batch).take(90), verbose=0),
    "loop": lambda model, dataset: _loop(dataset),
    "loop_over_a_map": lambda model, batches: _loop(batches.map(lambda batch: batch)),
}


@pytest.mark.parametrize(("way", "raised"), [(way, StopIteration()) for way in WAYS], ids=list(WAYS))
def test_what_is_raised_in_a_graph_keeps_its_cause(experience, way, raised):
    model, data = experience(raised)
    with pytest.raises(mtq.BrokenEnvironmentError, match="'robot' raised") as caught:
        WAYS[way](model, data.dataset(4))
    assert caught.value.__cause__ is raised
    report = "".join(traceback.format_exception(caught.value))
    assert "_maybe_raise" in report
    assert "tensorflow.python.framework.errors_impl" not in report


@pytest.mark.parametrize(
    "derive", [lambda batches: batches.prefetch(2).take(90), lambda batches: batches.as_numpy_iterator()]
)
def test_a_loop_over_a_dataset_of_batches_raises_as_tensorflow_does_and_is_told_the_cause(experience, derive):
    _, data = experience(ConnectionError("hung\nup"))
    with pytest.raises(tf.errors.OpError, match="The environment of task 'robot' raised ConnectionError in step: hung"):
        _loop(derive(data.batches(4)))


@pytest.mark.thorough
def test_what_is_raised_in_an_eager_fit_keeps_its_cause(experience):
    raised = StopIteration("over")
    model, data = experience(raised, run_eagerly=True)
    with pytest.raises(mtq.BrokenEnvironmentError, match="'robot' raised StopIteration in step: over") as caught:
        model.fit(data.dataset(4), steps_per_epoch=100, verbose=0)
    assert caught.value.__cause__ is raised


def test_observations_are_copied_from_a_buffer_that_is_written_again():
    buffer = np.zeros(1, np.float32)  # of all copies

    class Shared(Corridor):
        length = 1

        def __init__(self, number):
            super().__init__()
            self.number = number
            self.observation_space = gymnasium.spaces.Box(-9, 9, (1,), np.float32)

        def _observe(self):
            buffer[0] = self.number
            return buffer

        def step(self, action):
            return self._observe(), 0.0, True, False, {}

    numbers = iter(range(9))
    copies = EnvironmentCopies(mtq.Task("robot", lambda: Shared(next(numbers))), 3, 0)
    assert copies.reset()[:, 0].tolist() == [1, 2, 3]
    step = copies.step(np.zeros(3, int))
    assert step.observation[:, 0].tolist() == step.next_observation[:, 0].tolist() == [1, 2, 3]


def test_one_environment_for_all_copies():
    one = Corridor()
    tasks = {
        "itself": lambda: one,
        "wrapped": lambda: gymnasium.wrappers.TimeLimit(one, 5),
        "twice": iter([Corridor(), *[one] * 9]).__next__,
    }
    for name, make in tasks.items():
        with pytest.raises(
            ValueError,
            match=f"task '{name}' must be a new object each time that its callable or id makes it. Received:.*lam",
        ):
            EnvironmentCopies(mtq.Task(name, make), 2, 0)
        one = Corridor()


def test_copies_with_other_spaces_than_the_task():
    sizes = iter([2, 2, 3])

    def make():
        environment = Corridor()
        environment.action_space = gymnasium.spaces.Discrete(next(sizes))
        return environment

    with pytest.raises(
        ValueError,
        match=r"(?s)task 'robot' must have the shapes of the task's spec, .*num_actions=2.*Received: .*num_actions=3",
    ):
        EnvironmentCopies(mtq.Task("robot", make), 2, 0)
