"""mtq's own interfaces have the shape of tf-agents', and parts of tf-agents work with mtq's."""

import inspect

import keras
import numpy as np
import pytest
import tensorflow as tf

import mtq
from mtq import interfaces
from mtq.environments.in_graph import InGraphEnvironment
from mtq.environments.specs import action_spec, observation_spec
from mtq.experience.memory import memory_spec
from mtq.experience.replay import Replay
from mtq.experience.sampler import Sampler, Selection, UniformSampler
from mtq.interfaces import TFPolicy, own, time_step_spec
from tests.interop import needs_tf_agents, tf_agents

CLASSES = ["Driver", "PolicyStep", "ReplayBuffer", "StepType", "TFEnvironment", "TFPolicy", "TimeStep"]


@needs_tf_agents
@pytest.mark.parametrize("name", CLASSES)
def test_all_that_our_own_class_has_tf_agents_has_too(name):
    ours, theirs = getattr(own, name), getattr(interfaces, name)
    public = {member for member in vars(ours) if not member.startswith("__")}
    assert public
    for member in public - {"_abc_impl", "_fields", "_field_defaults", "_make", "_replace", "_asdict"}:
        assert hasattr(theirs, member) or member in dir(theirs), member
    if hasattr(ours, "_fields"):
        assert ours._fields == theirs._fields
    of_theirs = {member for member in dir(theirs) if getattr(getattr(theirs, member), "__isabstractmethod__", False)}
    assert {member for member in public if getattr(vars(ours)[member], "__isabstractmethod__", False)} == of_theirs
    for method in public:
        if inspect.isfunction(vars(ours)[method]) and not method.startswith("_"):
            parameters = list(inspect.signature(vars(ours)[method]).parameters)
            assert set(parameters) <= set(inspect.signature(getattr(theirs, method)).parameters), method


@needs_tf_agents
def test_time_steps_are_alike():
    observation = tf.ones([2, 3])
    ours, theirs = own.restart(observation, 2), interfaces.restart(observation, 2)
    for one, other in zip(ours, theirs, strict=True):
        np.testing.assert_array_equal(one, other)
    for kind in ("is_first", "is_mid", "is_last"):
        np.testing.assert_array_equal(getattr(ours, kind)(), getattr(theirs, kind)())
    spec = tf.TensorSpec([3], tf.float32)
    assert [s.dtype for s in own.time_step_spec(spec)] == [s.dtype for s in interfaces.time_step_spec(spec)]


def chain(num_envs=2):
    return mtq.TaskSet([mtq.Task("chain", "in_graph/Chain", num_envs=num_envs)])


def model_of(tasks):
    model = mtq.MultiTaskDQN(mtq.networks.shared_q_network(tasks, mtq.networks.mlp([8]), seed=0), tasks)
    model.compile(keras.optimizers.Adam(1e-2))
    return model


@needs_tf_agents
@pytest.mark.parametrize("n_step", [pytest.param(1, marks=pytest.mark.thorough), 3])
def test_a_stock_replay_buffer_is_one_argument(n_step):
    """Its samples are transitions of the chain: a reward only where the goal is reached, and as many steps as ours."""
    buffer = tf_agents("replay_buffers.tf_uniform_replay_buffer").TFUniformReplayBuffer
    made = []

    def replay(spec, num_envs, capacity):
        made.append(buffer(spec, num_envs, max_length=capacity // num_envs))
        return made[-1]

    tasks = chain()
    experience = mtq.Experience(model_of(tasks), warmup_steps=40, replay=replay, n_step=n_step, replay_capacity=100)
    experience.model.fit(experience.batches(16), steps_per_epoch=30, verbose=0)
    assert experience.replays["chain"] is made[0]
    assert int(made[0].num_frames()) == 40 + 30 == experience.env_steps["chain"]
    assert "chain/replay/0" in experience.replicas[0].state()
    batch = next(iter(experience.batches(64)))["chain"]
    moved = np.abs(batch.next_observation - batch.observation).sum(axis=1) > 0
    assert moved.any()
    assert {round(float(discount), 4) for discount in batch.discount} <= {0.0, 0.99, 0.9801, 0.9703}


@needs_tf_agents
def test_stock_replay_buffers_of_several_tasks_are_refused_before_they_starve_each_other():
    buffer = tf_agents("replay_buffers.tf_uniform_replay_buffer").TFUniformReplayBuffer
    tasks = mtq.TaskSet([mtq.Task(name, "in_graph/Chain") for name in ("a", "b")])
    replay = lambda spec, num_envs, capacity: buffer(spec, num_envs, max_length=capacity // num_envs)  # noqa: E731
    with pytest.raises(
        ValueError, match=r"replay must not return a stock TFUniformReplayBuffer .*Received: one for .a"
    ):
        mtq.Experience(model_of(tasks), replay=replay)


@needs_tf_agents
def test_a_stock_driver_runs_our_policy_and_environment():
    tasks = chain(num_envs=1)
    task = tasks["chain"]
    environment = InGraphEnvironment(task, 1, seed=0)
    policy = tf_agents("policies.random_tf_policy").RandomTFPolicy(
        time_step_spec(observation_spec(task)), action_spec(task)
    )
    seen = []

    class Held(type(environment)):
        """With the current time step that the stock driver asks for."""

        def _reset(self):
            self.now = super()._reset()
            return self.now

        def _current_time_step(self):
            return self.now

        def _step(self, action):
            ended, self.now = self.step_and_restart(action)
            return ended

    held = Held(task, 1, seed=0)
    held.reset()
    driver = tf_agents("drivers.dynamic_step_driver").DynamicStepDriver(
        held, policy, observers=[lambda trajectory: seen.append(trajectory)], num_steps=1
    )
    tf.config.run_functions_eagerly(True)
    try:
        driver.run()
    finally:
        tf.config.run_functions_eagerly(False)
    assert seen[0].observation.shape == (1, task.spec.observation_shape[0])


class Always(TFPolicy):
    """Selects action 1."""

    def __init__(self, task, network):
        super().__init__(time_step_spec(observation_spec(task)), action_spec(task), automatic_state_reset=False)
        self.network = network

    def _variables(self):
        return []

    def _action(self, time_step, policy_state, seed=None):
        return interfaces.PolicyStep(tf.ones([time_step.observation.shape[0]], tf.int32), policy_state)

    def _distribution(self, time_step, policy_state):
        raise NotImplementedError


def test_a_policy_of_ones_own():
    tasks = chain()
    experience = mtq.Experience(model_of(tasks), warmup_steps=10, policy=Always)
    next(iter(experience.batches(4)))
    assert set(experience.replays["chain"].gather_all().action.numpy().ravel()) == {1}
    assert not experience.compilable


@pytest.mark.parametrize(("action", "stored"), [(7, 1), (-1, 0)])
def test_an_action_that_does_not_exist_is_clipped(action, stored):
    class Beyond(Always):
        def _action(self, time_step, policy_state, seed=None):
            return interfaces.PolicyStep(tf.fill([time_step.observation.shape[0]], action), policy_state)

    experience = mtq.Experience(model_of(chain()), warmup_steps=10, policy=Beyond)
    next(iter(experience.batches(4)))
    assert set(experience.replays["chain"].gather_all().action.numpy().ravel()) == {stored}


def test_actions_that_are_no_integers_are_refused():
    class Float(Always):
        def _action(self, time_step, policy_state, seed=None):
            return interfaces.PolicyStep(tf.fill([time_step.observation.shape[0]], 0.9), policy_state)

    with pytest.raises(TypeError, match="float32"):
        next(iter(mtq.Experience(model_of(chain()), warmup_steps=10, policy=Float).batches(4)))


def test_mtqs_replay_as_ones_own_draws_from_the_seed():
    model = model_of(chain())

    def drawn(experience):
        return np.concatenate([np.ravel(field) for field in next(iter(experience.batches(8)))["chain"]])

    own, other = (mtq.Experience(model, warmup_steps=20, seed=seed, replay=Replay) for seed in (3, 4))
    expected = drawn(own)
    assert not np.array_equal(expected, drawn(other))
    other.reset(3)
    np.testing.assert_array_equal(drawn(other), expected)


def test_a_replay_that_holds_steps_is_left_as_it_is():
    model = model_of(chain())
    first = mtq.Experience(model, warmup_steps=20)
    next(iter(first.batches(8)))
    frames = int(first.replays["chain"].num_frames())
    mtq.Experience(model, warmup_steps=20, replay=lambda *_: first.replays["chain"])
    assert int(first.replays["chain"].num_frames()) == frames > 0


class Newest(Sampler):
    """Selects the newest start of the first copy, and notes what was added."""

    def build(self, length, num_envs, seed):
        self.seen = tf.Variable(-1, dtype=tf.int64, trainable=False)

    def added(self, step):
        self.seen.assign(step)

    def select(self, batch_size, first, number):
        return Selection(tf.fill([batch_size], first + number - 1), tf.zeros([batch_size], tf.int64))

    def state(self):
        return [self.seen]


def test_a_sampler_of_ones_own():
    tasks = chain()
    experience = mtq.Experience(model_of(tasks), warmup_steps=10, sampler=Newest, steps_per_update=2)
    batch = next(iter(experience.batches(4)))["chain"]
    newest = experience.replays["chain"].gather_all().observation[0, -1]
    np.testing.assert_array_equal(batch.observation, np.tile(newest, [4, 1]))
    assert int(experience.replays["chain"].sampler.seen) == 5  # ten steps of the warm-up, and two more, of two copies
    assert "chain/replay/2" in experience.replicas[0].state()


class Weighted(UniformSampler):
    """Selects uniformly, with weights of 0 for every other row, and keeps the errors that it is told."""

    has_weights = needs_errors = True

    def build(self, length, num_envs, seed):
        super().build(length, num_envs, seed)
        self.errors, self.steps = tf.Variable(tf.zeros([8])), tf.Variable(tf.zeros([8], tf.int64))

    def select(self, batch_size, first, number):
        weight = tf.constant([0.0, 2.0] * (batch_size // 2))
        return super().select(batch_size, first, number)._replace(weight=weight)

    def update(self, selection, errors):
        self.errors.assign(errors)
        self.steps.assign(selection.step)


def errors_by_hand(model, name, batch):
    q_t = model.target_paths[name](batch.next_observation).numpy()
    q_tm1 = model.paths[name](batch.observation).numpy()
    return batch.reward + batch.discount * q_t.max(axis=1) - q_tm1[np.arange(len(q_tm1)), batch.action]


@pytest.mark.parametrize("environment", ["in_graph/Chain", pytest.param("FrozenLake-v1", marks=pytest.mark.thorough)])
@pytest.mark.parametrize(
    "loss",
    [
        "squared",
        "mse",
        *(pytest.param(loss, marks=pytest.mark.thorough) for loss in ("huber", keras.losses.MeanSquaredError())),
    ],
)
def test_weights_count_in_the_loss_and_errors_come_back(environment, loss):
    tasks = mtq.TaskSet([mtq.Task("a", environment, num_envs=2)])
    model = mtq.MultiTaskDQN(mtq.networks.shared_q_network(tasks, mtq.networks.mlp([8]), seed=0), tasks)
    model.compile(keras.optimizers.SGD(0.0), loss=loss)
    experience = mtq.Experience(model, warmup_steps=40, sampler=Weighted, steps_per_update=2)
    batches = []

    def noted(batch):
        tf.py_function(lambda *fields: batches.append([field.numpy() for field in fields]), list(batch["a"]), [])
        return batch

    logs = model.fit(experience.batches(8).map(noted), steps_per_epoch=1, verbose=0).history
    batch = mtq.value_learning.WeightedTransition(*batches[-1])
    np.testing.assert_array_equal(batch.weight, [0, 2] * 4)
    errors = errors_by_hand(model, "a", batch)
    sampler = experience.replays["a"].sampler
    np.testing.assert_allclose(sampler.errors, errors, rtol=1e-4, atol=1e-6)
    assert int(tf.reduce_max(sampler.steps)) <= 21
    kind = np.where(np.abs(errors) <= 1, errors**2 / 2, np.abs(errors) - 0.5) if loss == "huber" else errors**2
    assert logs["a/loss"][0] == pytest.approx(np.mean(kind * batch.weight), rel=1e-4)
    assert logs["a/td_error"][0] == pytest.approx(np.abs(errors).mean(), rel=1e-4)


def test_evaluation_is_uniform_whatever_the_sampler(monkeypatch):
    model = model_of(chain())
    model.compile("sgd", loss="squared")
    experience, uniform = (mtq.Experience(model, warmup_steps=10, sampler=kind) for kind in (Weighted, None))
    losses = [model.evaluate(of.batches(8), steps=4, verbose=0, return_dict=True) for of in (experience, uniform)]
    assert losses[0] == losses[1]
    weights = []

    def noted(batch):
        weights.append(batch["chain"].weight.shape)  # like the batches of fit
        return batch

    fitted = experience.batches(8).map(noted)
    history = model.fit(fitted, steps_per_epoch=1, validation_data=fitted, validation_steps=2, verbose=0).history
    assert np.isfinite(history["val_loss"][0])
    assert set(weights) == {(8,)}


class Unannounced(Weighted):
    has_weights = needs_errors = False


class Unweighted(UniformSampler):
    has_weights = True


@pytest.mark.parametrize("sampler", [Unannounced, Unweighted])
def test_weights_must_be_announced(sampler):
    model = model_of(chain())
    with pytest.raises(ValueError, match="must return weights if, and only if, has_weights is True"):
        model.fit(mtq.Experience(model, warmup_steps=20, sampler=sampler).batches(8), steps_per_epoch=1, verbose=0)


def test_a_function_of_unknown_shapes_may_keep_the_rows():
    model = model_of(chain())

    def unknown(batch):
        fields = batch["chain"]
        again = tf.numpy_function(lambda *of: of, list(fields), [field.dtype for field in fields])
        for field, before in zip(again, fields, strict=True):
            field.set_shape([None, *before.shape[1:]])
        return {"chain": type(fields)(*again)}

    batches = mtq.Experience(model, warmup_steps=20, sampler=Weighted).batches(8).map(unknown)
    model.fit(batches, steps_per_epoch=1, verbose=0)
    assert int(model.updates) == 1


def test_a_function_that_drops_rows_is_refused_if_their_errors_are_needed():
    model = model_of(chain())
    batches = mtq.Experience(model, warmup_steps=20, sampler=Weighted).batches(8)
    half = batches.map(lambda batch: {"chain": type(batch["chain"])(*(field[:4] for field in batch["chain"]))})
    with pytest.raises(ValueError, match=r"must keep the rows .* Received: 4 of 8 rows of task 'chain'"):
        model.fit(half, steps_per_epoch=1, verbose=0)


def test_a_sampler_that_needs_errors_is_drawn_from_by_fit_alone():
    experience = mtq.Experience(model_of(chain()), warmup_steps=10, sampler=Weighted)
    with pytest.raises(ValueError, match="Batches whose sampler needs the errors of each update must be drawn by fit"):
        next(iter(experience.batches(8)))


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"replay": 3}, "replay of experience must be a function"),
        ({"sampler": lambda: "uniform"}, "sampler must be a function without arguments that returns a Sampler"),
        ({"replay": lambda *_: "none"}, "replay must be a function .* that returns a replay buffer"),
        ({"policy": lambda *_: "none"}, "policy must be a function .* that returns a policy"),
        ({"policy": Always, "exploration": 0.1}, "exploration must be left out if policy is given"),
        ({"replay": Replay, "sampler": Newest}, "sampler must be left out if replay is given"),
    ],
)
def test_what_is_no_part_is_refused(arguments, message):
    tasks = chain()
    with pytest.raises(ValueError, match=f"^{message}.*Received: "):
        mtq.Experience(model_of(tasks), **arguments)


def test_the_replay_is_a_replay_buffer_as_any_other():
    task = chain()["chain"]
    replay = Replay(memory_spec(task), 2, 6)
    for number in range(5):
        fill = lambda spec, number=number: tf.cast(tf.fill([2, *spec.shape], number), spec.dtype)  # noqa: E731
        replay.add_batch(tf.nest.map_structure(fill, memory_spec(task)))
    assert (int(replay.num_frames()), replay.capacity) == (6, 6)
    np.testing.assert_array_equal(replay.gather_all().reward, [[2, 3, 4]] * 2)
    steps, rows = replay.get_next(4, 2)
    assert steps.reward.shape == rows.shape == (4, 2)
    np.testing.assert_array_equal(steps.reward[:, 1] - steps.reward[:, 0], np.ones(4))
    single, _ = replay.get_next()
    assert single.observation.shape == task.spec.observation_shape
    apart, _ = replay.get_next(4, 2, time_stacked=False)
    assert [step.reward.shape for step in apart] == [(4,), (4,)]
    all_once = list(replay.as_dataset(single_deterministic_pass=True))
    assert sorted(float(step.reward) for step, _ in all_once) == [2, 2, 3, 3, 4, 4]
    assert next(iter(replay.as_dataset(sample_batch_size=3)))[0].reward.shape == (3,)
    replay.clear()
    assert int(replay.num_frames()) == 0


def test_clear_also_clears_the_sampler():
    """Otherwise new steps would inherit the priorities of those that are gone."""
    task = chain()["chain"]
    sampler = mtq.samplers.Prioritized(alpha=1.0)
    replay = Replay(memory_spec(task), 2, 16, sampler=sampler)
    step = tf.nest.map_structure(lambda spec: tf.zeros([2, *spec.shape], spec.dtype), memory_spec(task))
    for _ in range(4):
        replay.add_batch(step)
    drawn = replay.draw(4, 2)
    sampler.update(drawn.selection, tf.fill([4], 7.0))
    assert float(sampler._largest) > 7
    replay.clear()
    fresh = Replay(memory_spec(task), 2, 16, sampler=mtq.samplers.Prioritized(alpha=1.0))
    for variable, of_fresh in zip(sampler.state(), fresh.sampler.state(), strict=True):
        np.testing.assert_array_equal(variable, of_fresh)
