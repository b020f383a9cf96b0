"""Settings: what is no number is refused by name, what is one is taken; nothing of tf.keras gets in."""

import keras
import numpy as np
import pytest
import tensorflow as tf

import mtq
from mtq import checks as numeric
from mtq.cli.main import _parser
from tests.batches import random_batch
from tests.toy_environments import Corridor

NO_NUMBERS = ["1", None, True, np.nan, [1], {}, b"1", 1j, np.array([1, 2]), object]
NO_INTEGERS = [*NO_NUMBERS, 1.5, np.float32(0.5), np.inf, -1, -np.inf]
NO_REALS = [*NO_NUMBERS, np.inf, -np.inf]
NO_FLAGS = ["false", 1, 0, None, 1.0, np.array([True])]


@pytest.fixture(scope="module")
def tasks():
    return mtq.TaskSet([mtq.Task("corridor", Corridor)])


@pytest.fixture(scope="module")
def model(tasks):
    made = mtq.MultiTaskDQN(mtq.networks.shared_q_network(tasks, mtq.networks.mlp([2])), tasks)
    made.compile()
    return made


def of_task(name):
    return lambda value, tasks, model: mtq.Task("a", Corridor, spec=tasks["corridor"].spec, **{name: value})


def of_experience(name):
    return lambda value, tasks, model: mtq.Experience(tasks, model, **{name: value})


def of_model(name):
    return lambda value, tasks, model: mtq.MultiTaskDQN(model.network, tasks, **{name: value})


def of_fit(name):
    return lambda value, tasks, model: model.fit(
        tf.data.Dataset.from_tensors(random_batch(tasks)), verbose=0, **{name: value}
    )


def calling(function, name):
    return lambda value, tasks, model: function(**{name: value})


def aggregator(cls, name):
    return calling(getattr(mtq.aggregators, cls), name)


def weighting(cls, name):
    return calling(getattr(mtq.weightings, cls), name)


# Whether None has a meaning of its own; then it is no bad value.
INTEGERS = {
    "num_envs": of_task("num_envs"),
    "max_episode_steps?": of_task("max_episode_steps"),
    "replay_capacity": of_experience("replay_capacity"),
    "warmup_steps": of_experience("warmup_steps"),
    "n_step": of_experience("n_step"),
    "seed": of_experience("seed"),
    "batch_size": lambda value, tasks, model: mtq.Experience(tasks, model).dataset(value),
    "target_update_period": of_model("target_update_period"),
    "steps_per_execution": lambda value, tasks, model: model.compile(steps_per_execution=value),
    "steps_per_epoch?": of_fit("steps_per_epoch"),
    "epochs?": of_fit("epochs"),
    "steps": calling(mtq.exploration.linear, "steps"),
    "episodes of EvaluateTasks": calling(mtq.callbacks.EvaluateTasks, "episodes"),
    "every of EvaluateTasks": calling(mtq.callbacks.EvaluateTasks, "every"),
    "seed of EvaluateTasks": calling(mtq.callbacks.EvaluateTasks, "seed"),
    "every of SaveCheckpoint": lambda value, *_: mtq.callbacks.SaveCheckpoint(None, every=value),
    "update_freq of GradientTelemetry": lambda value, *_: mtq.callbacks.GradientTelemetry("x", update_freq=value),
    "episodes": lambda value, tasks, model: mtq.evaluation.evaluate(model, tasks, episodes=value),
    "max_steps": lambda value, tasks, model: mtq.evaluation.evaluate(model, tasks, max_steps=value),
    "seed of an evaluation": lambda value, tasks, model: mtq.evaluation.evaluate(model, tasks, seed=value),
    "units of the backbone": lambda value, *_: mtq.networks.mlp([4, value]),
    "filters of the backbone": calling(mtq.networks.minatar_cnn, "filters"),
    "width of the backbone": calling(mtq.networks.bro_net, "width"),
    "blocks of the backbone": calling(mtq.networks.bro_net, "blocks"),
    "channels of the backbone": lambda value, *_: mtq.networks.impala_cnn([4, value]),
    "heads of task 'corridor'": lambda value, tasks, _: mtq.networks.shared_q_network(
        tasks, mtq.networks.mlp([2]), heads=[value]
    ),
    "period of DynamicWeightAverage": weighting("DynamicWeightAverage", "period"),
    "seed of RandomLossWeighting": weighting("RandomLossWeighting", "seed"),
    "seed of PCGrad": aggregator("PCGrad", "seed"),
    "seed of GradDrop": aggregator("GradDrop", "seed"),
    "seed of GradVac": aggregator("GradVac", "seed"),
    "seed of RandomGradientWeighting": aggregator("RandomGradientWeighting", "seed"),
}
REALS = {
    "discount": of_task("discount"),
    "reward_scale": of_task("reward_scale"),
    "reward_clip?": of_task("reward_clip"),
    "reference_return?": of_task("reference_return"),
    "weight": of_task("weight"),
    "steps_per_update": of_experience("steps_per_update"),
    "exploration?": of_experience("exploration"),
    "target_update_tau?": of_model("target_update_tau"),
    "initial": calling(mtq.exploration.linear, "initial"),
    "final": calling(mtq.exploration.linear, "final"),
    "repeat_exponent?": lambda value, *_: mtq.exploration.EpsilonGreedy(0.1, repeat_exponent=value),
    "c of CAGrad": aggregator("CAGrad", "c"),
    "alpha of FairGrad": aggregator("FairGrad", "alpha"),
    "beta of GradVac": aggregator("GradVac", "beta"),
    "temperature of DynamicWeightAverage": weighting("DynamicWeightAverage", "temperature"),
    "step_size of ExcessMTL": weighting("ExcessMTL", "step_size"),
    "learning_rate of FAMO": weighting("FAMO", "learning_rate"),
    "gamma of FAMO": weighting("FAMO", "gamma"),
    "alpha of GradNorm": weighting("GradNorm", "alpha"),
    "learning_rate of IMTLL": weighting("IMTLL", "learning_rate"),
    "temperature of ReturnProgress": weighting("ReturnProgress", "temperature"),
    "mu of SmoothTchebycheff": weighting("SmoothTchebycheff", "mu"),
    "ideal of SmoothTchebycheff": weighting("SmoothTchebycheff", "ideal"),
    "learning_rate of Uncertainty": weighting("Uncertainty", "learning_rate"),
    "weight of task 'corridor'": lambda value, _, model: model.set_task_weights({"corridor": value}),
    "weight of task 'corridor': ": lambda value, *_: mtq.weightings.Constant({"corridor": value}),
    "seconds of LearningCurves": lambda value, *_: mtq.callbacks.LearningCurves("x.png", seconds=value),
}
FLAGS = {
    "double": of_model("double"),
    "overlap": of_experience("overlap"),
    "run_eagerly": lambda value, _, model: model.compile(run_eagerly=value),
    "dueling": lambda value, tasks, _: mtq.networks.shared_q_network(tasks, mtq.networks.mlp([2]), dueling=value),
}
OTHERS = {
    "jit_compile": (lambda value, _, model: model.compile(jit_compile=value), [1, 0, "yes", None, np.bool_(True)]),
    "optimizer": (lambda value, _, model: model.compile(value), [None, 3, keras.optimizers.Adam]),
    "tasks": (lambda value, *_: mtq.TaskSet(value), [3, None, "a", mtq.Task("a", Corridor), [1]]),
    "tasks of experience": (lambda value, _, model: mtq.Experience(value, model), [3, {}, []]),
    "model of Experience": (lambda value, tasks, _: mtq.Experience(tasks, value), [None, "model"]),
    "tasks of the model": (lambda value, _, model: mtq.MultiTaskDQN(model.network, value), [None, [], "a"]),
    "backbone": (lambda value, tasks, _: mtq.networks.shared_q_network(tasks, value), [None, "mlp", [32]]),
    "encoders": (
        lambda value, tasks, _: mtq.networks.shared_q_network(tasks, mtq.networks.mlp([2]), value),
        ["a", 3, [None]],
    ),
    "units of the backbone": (lambda value, *_: mtq.networks.mlp(value), [32, "32", None, {}, []]),
    "channels of the backbone": (lambda value, *_: mtq.networks.impala_cnn(value), [32, "32", None, {}, []]),
    "normalization of the backbone": (
        lambda value, *_: mtq.networks.mlp(normalization=value),
        ["batch", 1, True, [], ["layer"]],
    ),
    "loss_weights": (lambda value, _, model: model.compile(loss_weights=value), [3, [1.0], True]),
    "spec": (lambda value, *_: mtq.Task("a", Corridor, spec=value), [1, "x", {}]),
    "task": (lambda value, *_: mtq.environments.check_task(value), [None, "CartPole-v1"]),
}


def refused(name, call, values, *given):
    for value in values:
        with pytest.raises((ValueError, TypeError)) as caught:
            call(value, *given)
        message = str(caught.value)
        assert name.rstrip("?: ") in message, (value, message)
        assert "Received:" in message, (value, message)


@pytest.mark.parametrize("name", INTEGERS)
def test_integers(name, tasks, model):
    refused(name, INTEGERS[name], [v for v in NO_INTEGERS if v is not None or "?" not in name], tasks, model)


@pytest.mark.parametrize("name", REALS)
def test_reals(name, tasks, model):
    bad = [v for v in NO_REALS if v is not None or "?" not in name]
    if name == "exploration?":
        bad.remove({})
    refused(name, REALS[name], bad, tasks, model)


@pytest.mark.parametrize("name", FLAGS)
def test_flags(name, tasks, model):
    refused(name, FLAGS[name], NO_FLAGS, tasks, model)


@pytest.mark.parametrize("name", OTHERS)
def test_other_arguments(name, tasks, model):
    call, values = OTHERS[name]
    refused(name, call, values, tasks, model)


def test_what_is_a_number_is_taken():
    for value in (3, 3.0, np.int64(3), np.float32(3), np.array(3), np.array(3.0), np.uint8(3)):
        assert type(numeric.integer("n", value)) is int
        assert type(numeric.real("n", value)) is float
    assert numeric.integer("n", 1e4) == 10_000
    task = mtq.Task("a", Corridor, discount=np.float32(0.5), num_envs=np.int64(2), max_episode_steps=1e3)
    assert (task.discount, task.num_envs, task.max_episode_steps) == (0.5, 2, 1_000)
    assert type(task.num_envs) is int
    assert mtq.exploration.EpsilonGreedy(np.float32(0.5)).epsilon == 0.5


def test_settings_of_numpy_work_in_a_whole_run(tasks, model):
    model.compile(steps_per_execution=2.0)
    experience = mtq.Experience(
        tasks, model, replay_capacity=1e2, warmup_steps=np.float32(8), exploration=np.float32(1)
    )
    history = model.fit(experience.dataset(np.int64(4)), steps_per_epoch=4.0, epochs=np.array(2), verbose=0)
    assert len(history.epoch) == 2
    assert experience.env_steps == {"corridor": 16}
    with pytest.raises(ValueError, match=r"steps_per_epoch of fit must be an integer of at least 1\. Received: 0"):
        model.fit(experience.dataset(4), steps_per_epoch=0, verbose=0)
    with pytest.raises(ValueError, match=r"epochs of fit must be an integer of at least 1\. Received: 0"):
        model.fit(experience.dataset(4), steps_per_epoch=4, epochs=0, verbose=0)


def test_nothing_of_tf_keras(tasks, model):
    old = pytest.importorskip("tf_keras")
    schedule = old.optimizers.schedules.PolynomialDecay(1.0, 10, 0.0)
    tries = {
        "optimizer": lambda: model.compile(old.optimizers.Adam()),
        "loss": lambda: model.compile(loss=old.losses.Huber()),
        "loss ": lambda: model.compile(loss=old.losses.huber),
        "loss_weights": lambda: model.compile(loss_weights={"corridor": schedule}),
        "loss_weights ": lambda: mtq.weightings.Schedule({"corridor": schedule}),
        "exploration": lambda: mtq.Experience(tasks, model, exploration=schedule),
        "exploration ": lambda: mtq.exploration.EpsilonGreedy(schedule),
        "backbone": lambda: mtq.networks.shared_q_network(tasks, old.Sequential([old.layers.Dense(2)])),
        "encoder": lambda: mtq.networks.shared_q_network(
            tasks, mtq.networks.mlp([2]), {"corridor": old.layers.Dense(2)}
        ),
        "network": lambda: mtq.MultiTaskDQN(old.Sequential(), tasks),
    }
    for role, attempt in tries.items():
        with pytest.raises(
            ValueError, match=rf"{role.strip()}.* must be an object of Keras 3, not of Keras 2.* Received: tf_keras"
        ):
            attempt()


class Spike(keras.optimizers.schedules.LearningRateSchedule):
    """Good wherever it is looked at beforehand, and bad once between."""

    def __init__(self, good, bad, at):
        self.good, self.bad, self.at = good, bad, at

    def __call__(self, step):
        return tf.where(tf.equal(tf.cast(step, tf.int64), self.at), self.bad, self.good)

    def get_config(self):
        return {"good": self.good, "bad": self.bad, "at": self.at}


@pytest.mark.parametrize("bad", [-0.5, np.nan, np.inf])
def test_a_weight_that_a_schedule_makes_bad_between_the_looks(tasks, model, bad):
    model.compile(loss_weights={"corridor": Spike(1.0, bad, int(model.updates) + 5)})
    before = [variable.numpy() for variable in model.network.variables]
    with pytest.raises(mtq.NonFiniteLossError, match="The weight of task 'corridor' must stay finite"):
        model.fit(tf.data.Dataset.from_tensors(random_batch(tasks)).repeat(), steps_per_epoch=20, verbose=0)
    assert np.isfinite(np.concatenate([variable.numpy().ravel() for variable in model.network.variables])).all()
    assert any((a != b.numpy()).any() for a, b in zip(before, model.network.variables, strict=True))


@pytest.mark.parametrize(("environment", "bad"), [(Corridor, np.nan), ("in_graph/CartPole", -0.5)])
def test_an_epsilon_that_a_schedule_makes_bad_between_the_looks(environment, bad):
    tasks = mtq.TaskSet([mtq.Task("robot", environment)])
    model = mtq.MultiTaskDQN(mtq.networks.shared_q_network(tasks, mtq.networks.mlp([2])), tasks)
    model.compile()
    experience = mtq.Experience(tasks, model, warmup_steps=4, exploration=Spike(0.5, bad, 5))
    with pytest.raises(ValueError, match=r"exploration of task 'robot' must stay a probability.*Received: .*Spike"):
        model.fit(experience.dataset(4), steps_per_epoch=20, verbose=0)


def test_numbers_beyond_what_is_counted(tasks, model):
    mtq.MultiTaskDQN(model.network, tasks, target_update_period=2**63 - 1)
    for period in (2**63, 2**64 - 1, 2**64):
        with pytest.raises(ValueError, match=r"target_update_period must be at most 9223372036854775807. Received: "):
            mtq.MultiTaskDQN(model.network, tasks, target_update_period=period)


@pytest.mark.parametrize("verbose", [7, -1, "yes", None, 0.5])
def test_verbose(verbose, model, tasks):
    with pytest.raises(ValueError, match=r"verbose of fit must be 'auto', 0, 1 or 2. Received: "):
        model.fit(tf.data.Dataset.from_tensors(random_batch(tasks)), verbose=verbose)


def test_the_startup_timeout_has_a_former_name_that_scripts_and_older_runs_may_use(tmp_path, capsys):
    parse = _parser().parse_args
    train = ["train", "--tasks", "cart_pole", "--steps", "1", "--out", "x"]
    assert parse(train).startup_timeout == 300
    for name in ("--startup-timeout", "--seconds-to-meet"):
        assert parse([*train, name, "5"]).startup_timeout == 5
    with pytest.raises(SystemExit):
        parse(["train", "--help"])
    assert "--startup-timeout" in (shown := capsys.readouterr().out)
    assert "--seconds-to-meet" not in shown
    mtq.runs.Run(tmp_path / "run", {"seed": 0, "seconds_to_meet": 5})
    mtq.runs.Run(tmp_path / "run", {"seed": 0, "startup_timeout": 7}, resume=True)
