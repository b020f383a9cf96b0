"""Bad input: an error before any training, which names the task, what was received and the remedy."""

import gymnasium
import keras
import numpy as np
import pytest

import mtq
from tests.messages import error
from tests.toy_environments import Broken, Continuous, Corridor


def one_task(environment=Corridor, **options):
    return mtq.TaskSet([mtq.Task("corridor", environment, **options)])


def one_model(tasks):
    model = mtq.MultiTaskDQN(mtq.networks.shared_q_network(tasks, mtq.networks.mlp([4]), seed=0), tasks)
    model.compile()
    return model


def test_two_tasks_of_one_name():
    with pytest.raises(ValueError, match=error("a different name", "Received: ['a', 'a']", "'a' more", "Rename")):
        mtq.TaskSet([mtq.Task("a", Corridor), mtq.Task("a", Corridor)])


@pytest.mark.parametrize("name", ["", "1st", "cart-pole", "cart pole", "backbone", 3])
def test_names_that_cannot_be(name):
    with pytest.raises(ValueError, match=error("The name of a task must be", "Received:", repr(name))):
        mtq.Task(name, Corridor)


def test_no_tasks():
    with pytest.raises(ValueError, match=error("at least one task")):
        mtq.TaskSet([])


def test_a_continuous_action_space():
    with pytest.raises(ValueError, match=error("'corridor'", "discrete action space", "Received: Box", "Discretize")):
        one_task(Continuous)


def test_an_environment_object_in_place_of_a_callable():
    with pytest.raises(ValueError, match=error("'corridor'", "must be a Gymnasium id", "Received:", "lambda")):
        one_task(Corridor())


def test_an_unknown_gymnasium_id():
    with pytest.raises(ValueError, match=error("'corridor'", "Received: 'CartPoll-v1'", "Check the id")):
        one_task("CartPoll-v1")


@pytest.mark.parametrize(
    ("option", "value"),
    [("discount", 1.5), ("reward_scale", np.nan), ("reward_clip", 0.0), ("num_envs", 0), ("max_episode_steps", 0)],
)
def test_settings_out_of_range(option, value):
    with pytest.raises(ValueError, match=error(option, "of task 'corridor' must be", "Received:")):
        one_task(**{option: value})


@pytest.mark.parametrize("weight", [-1.0, np.nan, np.inf, "1"])
def test_bad_weights(weight):
    with pytest.raises(ValueError, match=error("weight of task 'corridor'", "0 or more", "Received:", "weight to 0")):
        one_task(weight=weight)
    with pytest.raises(ValueError, match=error("weight of task 'corridor'", "Received:")):
        one_model(one_task()).compile(loss_weights={"corridor": weight})
    with pytest.raises(ValueError, match=error("weight of task 'corridor'", "Received:")):
        one_model(one_task()).set_task_weights({"corridor": weight})


def test_keys_of_loss_weights(make_model):
    with pytest.raises(
        ValueError,
        match=error("loss_weights has no entry for task 'counting'", "Received: {'corridor': 1.0}", "or pass none"),
    ):
        make_model(compile_options={"loss_weights": {"corridor": 1.0}})
    with pytest.raises(ValueError, match=error("'corridoor', which is not a task", "The tasks are")):
        make_model(compile_options={"loss_weights": {"corridor": 1.0, "counting": 1.0, "corridoor": 1.0}})
    with pytest.raises(ValueError, match=error("set_task_weights has an entry", "not a task", "The tasks are")):
        make_model().set_task_weights({"corridoor": 1.0})


def test_an_unknown_aggregator_suggests_the_nearest():
    with pytest.raises(ValueError, match=error("aggregator", "'normalised_sum'", "Did you mean 'normalized_sum'?")):
        mtq.aggregators.get("normalised_sum")
    with pytest.raises(ValueError, match=error("must be a name or an object of Aggregator", "Received: 3")):
        mtq.aggregators.get(3)


def test_an_unknown_loss():
    with pytest.raises(
        ValueError,
        match=error(
            "loss must be one of ['cross_entropy', 'huber', 'quantile_huber', 'squared']", "Received: 'square'"
        ),
    ):
        one_model(one_task()).compile(loss="square")


def test_network_outputs_that_do_not_match(two_tasks):
    inputs = {name: keras.Input(task.spec.observation_shape, name=name) for name, task in two_tasks.items()}
    dense = {name: keras.layers.Dense(task.num_actions)(inputs[name]) for name, task in two_tasks.items()}
    with pytest.raises(ValueError, match=error("outputs of the network", "Received: ['corridor']", "shared_q_network")):
        mtq.MultiTaskDQN(keras.Model(inputs, {"corridor": dense["corridor"]}), two_tasks)
    wrong = {**dense, "counting": keras.layers.Dense(7)(inputs["counting"])}
    with pytest.raises(ValueError, match=error("output 'counting'", "number of actions", "(3,)", "Received: (7,)")):
        mtq.MultiTaskDQN(keras.Model(inputs, wrong), two_tasks)
    with pytest.raises(ValueError, match=error("functional keras.Model", "Received:")):
        mtq.MultiTaskDQN(keras.Sequential([keras.layers.Dense(2)]), two_tasks)


def test_network_inputs_that_do_not_match(two_tasks):
    inputs = {"corridor": keras.Input((3,), name="corridor"), "counting": keras.Input((9,), name="counting")}
    outputs = {name: keras.layers.Dense(task.num_actions)(inputs[name]) for name, task in two_tasks.items()}
    with pytest.raises(ValueError, match=error("input 'counting'", "observations", "(2,)", "Received: (9,)")):
        mtq.MultiTaskDQN(keras.Model(inputs, outputs), two_tasks)


def test_encoders_and_heads_of_other_tasks(two_tasks):
    with pytest.raises(ValueError, match=error("encoders must have an entry for each task", "Received: ['corridor']")):
        mtq.networks.shared_q_network(two_tasks, mtq.networks.mlp(), encoders={"corridor": None})
    with pytest.raises(ValueError, match=error("The backbone must get one shape", "Give encoders")):
        mtq.networks.shared_q_network(two_tasks, mtq.networks.mlp(), encoders={"corridor": None, "counting": None})


def test_an_observation_shape_that_does_not_match():
    tasks = one_task(lambda: Broken(observation=np.zeros(4, np.float32)))
    with pytest.raises(ValueError, match=error("'corridor'", "(3,)", "Received: an observation of shape (4,)", "Fix")):
        mtq.Experience(tasks, one_model(tasks))


@pytest.mark.parametrize(
    ("broken", "role"),
    [({"observation": np.array([0.0, np.nan, 0.0])}, "observations"), ({"reward": np.nan}, "reward nan")],
)
def test_an_environment_that_returns_nan(broken, role):
    tasks = one_task(lambda: Broken(**broken))
    with pytest.raises(ValueError, match=error("'corridor'", "finite numbers", f"Received: {role}", "Fix")):
        mtq.Experience(tasks, one_model(tasks))


def test_an_environment_that_returns_nan_later_stops_the_run_and_names_the_task():
    class Late(Corridor):
        taken = 0

        def step(self, action):
            self.taken += 1
            return self._observe(), np.nan if self.taken > 60 else 0.0, False, False, {}

    tasks = one_task(Late)
    model = one_model(tasks)
    experience = mtq.Experience(tasks, model, warmup_steps=30)
    with pytest.raises(ValueError, match=r"^The environment of task 'corridor' must return finite numbers"):
        model.fit(experience.dataset(8), steps_per_epoch=100, verbose=0)


def test_a_replay_smaller_than_a_batch():
    tasks = one_task()
    experience = mtq.Experience(tasks, one_model(tasks), replay_capacity=10)
    with pytest.raises(ValueError, match=error("'corridor'", "batch of 32", "Received: 10", "Raise replay_capacity")):
        experience.dataset(batch_size=32)


@pytest.mark.parametrize(
    ("options", "parts"),
    [
        ({"steps_per_update": 0}, ("steps_per_update", "at least 0.0001", "Received: 0")),
        ({"steps_per_update": float("nan")}, ("steps_per_update", "finite", "Received: nan")),
        ({"seed": -1}, ("seed", "at least 0", "Received: -1")),
        ({"n_step": 0}, ("n_step", "at least 1", "Received: 0")),
        ({"warmup_steps": 0}, ("warmup_steps", "'corridor'", "Received: 0")),
        ({"exploration": 1.5}, ("exploration", "probability", "Received: 1.5")),
        ({"exploration": {"other": 0.1}}, ("exploration must have an entry", "Received: ['other']")),
        ({"replay_capacity": 0}, ("replay_capacity", "'corridor'", "Received: 0")),
    ],
)
def test_bad_settings_of_experience(options, parts):
    tasks = one_task()
    with pytest.raises(ValueError, match=error(*parts)):
        mtq.Experience(tasks, one_model(tasks), **options)


def test_experience_of_other_tasks_than_the_models(two_tasks):
    with pytest.raises(ValueError, match=error("must be the model's", "Received: ['corridor', 'counting']")):
        mtq.Experience(two_tasks, one_model(one_task()))


def test_batches_of_other_tasks(make_model):
    with pytest.raises(ValueError, match=error("A batch must be a dict", "Received: ['corridor']")):
        make_model().train_step({"corridor": None})


def test_bad_target_updates(two_tasks):
    network = mtq.networks.shared_q_network(two_tasks, mtq.networks.mlp([4]))
    with pytest.raises(ValueError, match=error("target_update_period", "Received: 0")):
        mtq.MultiTaskDQN(network, two_tasks, target_update_period=0)
    with pytest.raises(ValueError, match=error("target_update_tau", "Received: 1.5")):
        mtq.MultiTaskDQN(network, two_tasks, target_update_tau=1.5)


@pytest.mark.parametrize("steps_per_execution", [1, 5])
def test_a_loss_that_becomes_nan_stops_the_run_and_names_the_task(two_tasks, make_model, tmp_path, steps_per_execution):
    model = make_model(compile_options={"steps_per_execution": steps_per_execution})
    experience = mtq.Experience(two_tasks, model, warmup_steps=20)
    best = mtq.callbacks.BestCheckpoint(tmp_path / "best.keras", monitor="counting/loss")
    poison = keras.callbacks.LambdaCallback(
        on_epoch_begin=lambda epoch, logs: (
            epoch == 2 and model.network.get_layer("counting_q_values").bias.assign([np.nan] * 3)
        )
    )
    with pytest.raises(mtq.NonFiniteLossError, match=error("task 'counting'", "Received:", "Lower the learning rate")):
        model.fit(experience.dataset(8), epochs=4, steps_per_epoch=10, verbose=0, callbacks=[best, poison])
    kept = keras.models.load_model(tmp_path / "best.keras")
    assert all(np.all(np.isfinite(weight)) for weight in kept.get_weights())


def test_a_run_folder_that_holds_a_run(tmp_path):
    mtq.runs.Run(tmp_path / "run", {"a": 1})
    (tmp_path / "run" / "mine.txt").write_text("mine")
    with pytest.raises(FileExistsError, match=error("must not hold one already", "run.json", "--overwrite")):
        mtq.runs.Run(tmp_path / "run", {"a": 2})
    assert '"a": 1' in (tmp_path / "run" / "run.json").read_text()
    mtq.runs.Run(tmp_path / "run", {"a": 3}, overwrite=True)
    assert '"a": 3' in (tmp_path / "run" / "run.json").read_text()
    assert (tmp_path / "run" / "mine.txt").read_text() == "mine"


def test_observations_without_a_common_shape():
    class Image(Corridor):
        def __init__(self):
            super().__init__()
            self.observation_space = gymnasium.spaces.Box(0, 255, (8, 8, 3), np.uint8)

    tasks = mtq.TaskSet([mtq.Task("vector", Corridor), mtq.Task("image", Image)])
    with pytest.raises(ValueError, match=error("vectors, or all images", "Received:", "Pass encoders")):
        mtq.networks.shared_q_network(tasks, mtq.networks.mlp())


def test_a_task_loaded_without_its_environment(two_tasks):
    loaded = keras.saving.deserialize_keras_object(keras.saving.serialize_keras_object(two_tasks))
    with pytest.raises(ValueError, match=error("'corridor' must have an environment", "loaded from a file")):
        loaded["corridor"].make_environment()


@pytest.mark.parametrize("last", [-1.0, np.nan])
def test_schedules_that_go_wrong_later(make_model, last):
    schedule = keras.optimizers.schedules.PolynomialDecay(1.0, 1_000, last)
    with pytest.raises(ValueError, match=error("weight of task 'corridor'", "0 or more", "Received:")):
        make_model(compile_options={"loss_weights": {"corridor": schedule, "counting": 1.0}})


@pytest.mark.parametrize("in_a_list", [True, False])
def test_a_weight_made_nan_behind_our_back_spoils_nothing(two_tasks, make_model, in_a_list):
    model = make_model()
    experience = mtq.Experience(two_tasks, model, warmup_steps=20)
    callbacks = [] if in_a_list else keras.callbacks.CallbackList([], model=model)
    model.task_weights.assign([1.0, np.nan])
    with pytest.raises(mtq.NonFiniteLossError, match=error("weight of task 'counting'", "another weight")):
        model.fit(experience.dataset(8), steps_per_epoch=10, verbose=0, callbacks=callbacks)
    assert all(np.all(np.isfinite(weight)) for weight in model.network.get_weights())


def test_other_shapes_under_the_same_name(make_model, two_tasks):
    other = mtq.TaskSet([mtq.Task("corridor", "Acrobot-v1"), two_tasks["counting"]])
    with pytest.raises(ValueError, match=error("'corridor' must have the shapes", "Received:", "one TaskSet")):
        mtq.Experience(other, make_model())
    with pytest.raises(ValueError, match=error("must be the model's", "does not know 'third'")):
        mtq.evaluation.evaluate(make_model(), mtq.TaskSet([mtq.Task("third", Corridor)]))


def test_batches_and_executions_that_cannot_be(make_model, two_tasks):
    model = make_model(compile_options={"steps_per_execution": 4})
    experience = mtq.Experience(two_tasks, model, warmup_steps=20)
    with pytest.raises(ValueError, match=error("batch_size", "at least 1", "Received: 0")):
        experience.dataset(0)
    with pytest.raises(ValueError, match=error("steps_per_epoch must say", "no end", "Received: None")):
        model.fit(experience.dataset(4), verbose=0)
    with pytest.raises(ValueError, match=error("steps_per_epoch must be a multiple", "= 4", "Received: 10")):
        model.fit(experience.dataset(4), steps_per_epoch=10, verbose=0)


def test_names_that_meet_those_of_layers():
    with pytest.raises(ValueError, match=error("must differ from those of layers", "'a_encoder'", "Rename")):
        mtq.TaskSet([mtq.Task("a", Corridor), mtq.Task("a_encoder", Corridor)])


def test_export_formats_and_places(make_model, tmp_path):
    with pytest.raises(ValueError, match=error("must be 'tf_saved_model'", "Received: 'onnx'")):
        make_model().export(tmp_path / "x", format="onnx")
    (tmp_path / "file").write_text("mine")
    with pytest.raises(FileExistsError, match="new or empty"):
        make_model().export(tmp_path / "file", overwrite=True)
    assert (tmp_path / "file").read_text() == "mine"


def test_a_recipe_that_cannot_begin_removes_nothing(tmp_path):
    from recipes.classic_control import Options, main

    run = tmp_path / "run"
    mtq.runs.Run(run, {"kept": True})
    with pytest.raises(ValueError, match="aggregator must be one of"):
        main(Options(out=str(run), overwrite=True, aggregator="none"))
    (tmp_path / "taken").mkdir()
    (tmp_path / "taken" / "file").write_text("mine")
    with pytest.raises(FileExistsError, match="folder to export to"):
        main(Options(out=str(tmp_path / "new"), export_to=str(tmp_path / "taken")))
    assert "kept" in (run / "run.json").read_text()
    assert not (tmp_path / "new").exists()
