"""Files of others: what they name is looked up, never imported; what they say is checked against the environment."""

import copy
import dataclasses
import io
import json
import pickle
import re
import sys
import time
import zipfile

import keras
import numpy as np
import pytest

import mtq
from mtq import cli
from mtq.cli.play_export import play_export
from mtq.learning.losses import ValueLoss
from mtq.pluggable import ensure_instance
from mtq.storage.trust import NamedInFile
from tests.toy_environments import Corridor

EVIL = "mtq_evil_module"
CODE = f"{EVIL}:CartPole-v1"
IMPORTED = []
sys.addaudithook(lambda event, given: IMPORTED.append(given[0]) if event == "import" else None)


@pytest.fixture(autouse=True)
def evil(tmp_path, monkeypatch):
    """Modules that note that they ran, where Python finds them: one of any name, and those that Keras would import."""
    (tmp_path / "path").mkdir()
    for name in (EVIL, "keras_hub", "keras_cv", "keras_nlp"):
        (tmp_path / "path" / f"{name}.py").write_text(
            f"import pathlib\npathlib.Path({str(tmp_path / 'RAN')!r}).touch()\n"
        )
    monkeypatch.syspath_prepend(tmp_path / "path")
    IMPORTED.clear()
    yield
    trusted = [name for name in sys.modules if name == EVIL]
    for name in trusted:
        del sys.modules[name]
    assert (tmp_path / "RAN").exists() == bool(trusted)


def imported():
    return [
        name for name in IMPORTED if name.partition(".")[0] in (EVIL, "keras_hub", "keras_cv", "keras_nlp", "torch")
    ]


@pytest.fixture(scope="module")
def saved(tmp_path_factory):
    """A `.keras` file with everything that a config can hold, and the file of its tasks."""
    folder = tmp_path_factory.mktemp("saved")
    tasks = mtq.TaskSet([mtq.Task("a", "CartPole-v1"), mtq.Task("b", "in_graph/CartPole")])
    model = mtq.MultiTaskDQN(mtq.networks.shared_q_network(tasks, mtq.networks.mlp([4])), tasks)
    schedule = keras.optimizers.schedules.ExponentialDecay(1.0, 10, 0.9)
    model.compile(
        keras.optimizers.Adam(schedule),
        loss=keras.losses.LogCosh(),
        loss_weights={"a": keras.optimizers.schedules.ExponentialDecay(1.0, 10, 0.9), "b": 1.0},
        aggregator=mtq.aggregators.CAGrad(),
    )
    model.save(folder / "best.keras")
    mtq.runs.save_tasks(tasks, folder / "tasks.json")
    return folder


def rewritten(source, target, change):
    """A copy of a `.keras` or JSON file with another config."""
    if source.suffix == ".json":
        target.write_text(json.dumps(change(json.loads(source.read_text()))))
        return target
    with zipfile.ZipFile(source) as before, zipfile.ZipFile(target, "w") as after:
        for name in before.namelist():
            data = before.read(name)
            if name == "config.json":
                data = json.dumps(change(json.loads(data))).encode()
            after.writestr(name, data)
    return target


def places(value, at=()):
    """The places of all texts in JSON values."""
    items = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, inner in items:
        if isinstance(inner, str) or (inner is None and key in ("registered_name", "module")):
            yield (*at, key)
        yield from places(inner, (*at, key))


def put(config, place, value):
    config = copy.deepcopy(config)
    inner = config
    for key in place[:-1]:
        inner = inner[key]
    inner[place[-1]] = value
    return config


def make_all(path):
    """Loads what the file holds and makes its environments, as all does that plays in them."""
    tasks = mtq.runs.load_tasks(path) if path.suffix == ".json" else mtq.runs.load_best(path.parent).tasks
    for task in tasks.values():
        task.make_environment()


def test_no_text_of_the_tasks_is_imported(saved, tmp_path):
    config = json.loads((saved / "tasks.json").read_text())
    refused = 0
    for place in places(config):
        for text in (EVIL, CODE, f"{EVIL}.sub", "keras_hub", "keras_hub.models", f"in_graph/{CODE}", f"x/{CODE}"):
            path = rewritten(saved / "tasks.json", tmp_path / "tasks.json", lambda c, p=place, t=text: put(c, p, t))
            try:
                make_all(path)
            except ValueError:
                refused += 1
    assert not imported()
    assert refused > 40


def test_no_text_of_a_model_is_imported(saved, tmp_path):
    """Classes and modules of every object in the file, in turn and all at once."""
    with zipfile.ZipFile(saved / "best.keras") as file:
        config = json.loads(file.read("config.json"))
    named_places = [place for place in places(config) if place[-1] in ("module", "environment")]
    kinds = {}
    for place in named_places:
        kinds.setdefault((place[0], place[1] if len(place) > 1 else "", place[-1], len(place)), place)
    assert len(kinds) > 8
    for place in kinds.values():
        for module in (EVIL, "keras_hub") if place[-1] == "module" else (CODE,):

            def change(c, place=place, module=module):
                c = put(c, place, module)
                return put(c, (*place[:-1], "registered_name"), "other>Name") if place[-1] == "module" else c

            rewritten(saved / "best.keras", tmp_path / "best.keras", change)
            with pytest.raises((ValueError, TypeError)):
                make_all(tmp_path / "best.keras")
    assert not imported()


def test_an_environment_of_a_file_imports_nothing_until_it_is_trusted(saved, tmp_path, capsys):
    evil = lambda config: json.loads(json.dumps(config).replace('"CartPole-v1"', f'"{CODE}"'))  # noqa: E731
    rewritten(saved / "best.keras", tmp_path / "best.keras", evil)
    tasks_file = rewritten(saved / "tasks.json", tmp_path / "tasks.json", evil)
    model, tasks = keras.models.load_model(tmp_path / "best.keras"), mtq.runs.load_tasks(tasks_file)
    message = re.compile(rf"task 'a' must be a registered id.*{CODE}.*trusting_imports", re.DOTALL)
    model.save(tmp_path / "again.keras")
    mtq.runs.save_tasks(tasks, tmp_path / "again.json")
    task = tasks["a"]
    marked = [
        model.tasks["a"],
        task,
        pickle.loads(pickle.dumps(task)),
        copy.deepcopy(task),
        dataclasses.replace(task, discount=0.5),
        mtq.Task("a", task.environment, spec=task.spec),
        keras.models.load_model(tmp_path / "again.keras").tasks["a"],
        mtq.runs.load_tasks(tmp_path / "again.json")["a"],
        mtq.Task.from_config(task.get_config()),
    ]
    for one in marked:
        assert isinstance(one.environment, NamedInFile)
        with pytest.raises(ValueError, match=message):
            one.make_environment()
    with pytest.raises(ValueError, match=message):
        mtq.Task("a", task.environment)
    for run in (
        lambda: mtq.evaluation.evaluate(model, episodes=1, max_steps=2),
        lambda: mtq.evaluation.evaluate_random(tasks, episodes=1, max_steps=2),
        lambda: mtq.Experience(tasks, model, warmup_steps=2),
    ):
        with pytest.raises(ValueError, match=message):
            run()
    model.export(tmp_path / "export")
    with pytest.raises(ValueError, match=message):
        play_export(str(tmp_path / "export"), str(tasks_file))
    assert cli.main(["evaluate", str(tmp_path), "--episodes", "1"]) == 2
    assert "--trust-imports" in capsys.readouterr().err
    assert not imported()

    own = mtq.TaskSet([mtq.Task("a", "CartPole-v1"), model.tasks["b"]])
    assert set(mtq.evaluation.evaluate(model, own, episodes=1, max_steps=2)) == {"a", "b"}
    assert not imported()
    assert mtq.runs.load_tasks(tasks_file, trust_imports=True)["a"].make_environment() is not None
    assert EVIL in sys.modules
    with mtq.tasks.trusting_imports():
        task.make_environment()
    assert type(mtq.runs.load_best(tmp_path, trust_imports=True).tasks["a"].environment) is str


def test_ids_of_the_users_own_code_are_imported():
    assert mtq.Task("a", CODE).num_actions == 2
    assert EVIL in sys.modules


@pytest.mark.parametrize("module", [EVIL, "keras_hub", "keras.src.backend.torch", "subprocess", "os"])
@pytest.mark.parametrize("class_name", ["Popen", "system", "function", "CAGrad", "__typespec__"])
def test_configs_of_what_is_pluggable_import_nothing(module, class_name, two_tasks):
    config = {"module": module, "class_name": class_name, "config": {}, "registered_name": "x>y", "spec_name": "z"}
    for make in (
        lambda: mtq.aggregators.get(config),
        lambda: mtq.weightings.get(config),
        lambda: mtq.weightings.Schedule({"a": config}),
        lambda: ensure_instance("thing", config, object),
        lambda: ValueLoss(config),
        lambda: mtq.study.Arm("x", loss_weights={"a": 1.0, "b": config}).make_loss_weights()["b"] + 0.0,
    ):
        with pytest.raises((ValueError, TypeError)):
            make()
    assert not imported()


def test_a_lambda_in_a_file_is_refused(saved, tmp_path):
    code = {"class_name": "__lambda__", "config": {"value": ["4wAAAA==", None, None]}}
    for place in ("aggregator", "optimizer", "loss_weights", "loss"):
        rewritten(saved / "best.keras", tmp_path / "best.keras", lambda c, p=place: put(c, ("compile_config", p), code))
        with pytest.raises((ValueError, TypeError)):
            mtq.runs.load_best(tmp_path)
    rewritten(saved / "tasks.json", tmp_path / "tasks.json", lambda c: put(c, ("config", "tasks", 0), code))
    with pytest.raises(ValueError, match="must hold configs of Tasks"):
        mtq.runs.load_tasks(tmp_path / "tasks.json")


def test_nothing_is_unpickled(tmp_path):
    class Bomb:
        def __reduce__(self):
            return (pytest.fail, ("it was unpickled",))

    from mtq.runs.checkpoint import _read
    from mtq.study.running.record import RunRecord

    for name in ("model.npz", "arrays.npz"):
        np.savez(tmp_path / name, **{"0000": np.array([Bomb()], object), "cosines": np.array([Bomb()], object)})
    (tmp_path / "scores.json").write_text(json.dumps({"arm": "a", "seed": 0, "scores": [], "seconds": 0, "origin": {}}))
    with pytest.raises(ValueError, match="allow_pickle=False"):
        _read(tmp_path / "model.npz", {"0000": np.zeros(1), "cosines": np.zeros(1)})
    with pytest.raises(ValueError, match="allow_pickle=False"):
        RunRecord.load(tmp_path)


WRONG = {
    "spec": [None, 3, [], "x", {}],
    "spec.num_actions": [10**9, 0, -1, "2", 2.0, None, True, 10**4000, [2]],
    "spec.observation_shape": [
        [10**9],
        [10**5, 10**5],
        [0],
        [-4],
        [],
        "4",
        [4.0],
        [None],
        None,
        4,
        [1] * 50,
        [10**4000],
    ],
    "spec.observation_dtype": ["object", "float128", 3, None, ["uint8"], ""],
    "spec.observation_high": ["255", [255], float("nan"), float("inf"), 10**4000],
    "spec.in_graph": [1, "yes", None],
    "spec.more": [1],
    "environment": [3, ["CartPole-v1"], {"class_name": "x"}, "", "x" * 10**6],
    "name": [3, None, "", "../a", "a b", ["a"]],
    "num_envs": [0, -1, 10**9, "1", 1.5, 10**4000],
    "discount": [2, "0.9", float("nan"), 10**4000],
    "weight": [-1, "1", float("inf"), 10**4000],
    "reward_scale": [0, float("nan"), 10**4000],
    "reward_clip": [-1, "x"],
    "max_episode_steps": [0, 1.5, "x"],
    "reference_return": ["x", float("nan"), 10**4000],
    "more": [1],
}


@pytest.mark.parametrize("field", WRONG)
def test_fields_of_a_file_that_cannot_be_are_named(field):
    good = mtq.Task("a", "CartPole-v1").get_config()
    started = time.monotonic()
    for value in WRONG[field]:
        with pytest.raises(ValueError, match=field.rpartition(".")[2] if "more" not in field else "more") as raised:
            mtq.Task.from_config(put(good, tuple(field.split(".")), value))
        assert len(str(raised.value)) < 1_500
    assert time.monotonic() - started < 2


@pytest.mark.parametrize("field", ["name", "environment", "spec", "spec.observation_shape", "spec.num_actions"])
def test_fields_that_a_file_lacks_are_named(field):
    config = mtq.Task("a", "CartPole-v1").get_config()
    inner = config
    *outer, last = field.split(".")
    for key in outer:
        inner = inner[key]
    del inner[last]
    with pytest.raises(ValueError, match=f"{last} in .* must be given"):
        mtq.Task.from_config(config)


@pytest.mark.parametrize(
    "text",
    ["", "x", "3", "null", "[]", "{}", '{"class_name": "Task", "config": {}}', '{"class_name": 3}', "[" * 100_000]
    + [json.dumps({"class_name": "TaskSet", "registered_name": "mtq>TaskSet", "config": c}) for c in (None, {}, 3)]
    + [
        json.dumps({"class_name": "TaskSet", "registered_name": "mtq>TaskSet", "config": {"tasks": tasks}})
        for tasks in (3, [], [3], [None], [{"class_name": "Dense", "module": "keras.layers", "config": {"units": 3}}])
    ],
)
def test_files_that_hold_no_tasks(text, tmp_path):
    (tmp_path / "tasks.json").write_text(text)
    with pytest.raises((ValueError, TypeError)):
        mtq.runs.load_tasks(tmp_path / "tasks.json")


def test_files_that_hold_no_model(tmp_path):
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as file:
        file.writestr("config.json", "[" * 100_000)
    for data in (b"", b"x", buffer.getvalue()):
        (tmp_path / "best.keras").write_bytes(data)
        with pytest.raises(ValueError, match=r"must be a \.keras file"):
            mtq.runs.load_best(tmp_path)


CONTRADICTING = {
    "other shape": ("CartPole-v1", {"observation_shape": [5]}),
    "other number of actions": ("CartPole-v1", {"num_actions": 3}),
    "other type": ("CartPole-v1", {"observation_dtype": "uint8"}),
    "bounds": ("CartPole-v1", {"observation_high": 1.0}),
    "in-graph, and is not": ("CartPole-v1", {"in_graph": True}),
    "not in-graph, and is": ("in_graph/CartPole", {"in_graph": False}),
    "in-graph with another shape": ("in_graph/CartPole", {"observation_shape": [5]}),
    "another environment": ("Acrobot-v1", {}),
}


@pytest.mark.parametrize("case", CONTRADICTING)
def test_a_spec_that_contradicts_the_environment_is_refused(case):
    environment, change = CONTRADICTING[case]
    base = "in_graph/CartPole" if environment.startswith("in_graph") else "CartPole-v1"
    config = mtq.Task("a", base).get_config()
    task = mtq.Task.from_config({**config, "environment": environment, "spec": {**config["spec"], **change}})
    message = "environment of task 'a' must have the shapes.*TaskSpec.*Received: TaskSpec"
    with pytest.raises(ValueError, match=message):
        task.make_environment()
    with pytest.raises(ValueError, match=message):
        mtq.evaluation.evaluate_random(mtq.TaskSet([task]), episodes=1, max_steps=2)


def test_an_environment_put_in_the_place_of_another_is_held_against_the_spec():
    task = mtq.Task("a", Corridor)
    assert dataclasses.replace(task, environment=lambda: Corridor()).make_environment() is not None
    with pytest.raises(ValueError, match="must have the shapes of the task's spec"):
        dataclasses.replace(task, environment="CartPole-v1").make_environment()
