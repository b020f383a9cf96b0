"""Export, the command line and the recipes, through their own doors."""

import json
import re
import shlex
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

import mtq
from mtq import cli

ROOT = Path(__file__).parent.parent.parent
SERVE = """
import json, sys
import numpy as np
import tensorflow as tf
loaded = tf.saved_model.load(sys.argv[1])
inputs = {name: np.array(value, np.float32) for name, value in json.loads(sys.argv[2]).items()}
single = {name: loaded.signatures[name](observation=tf.constant(value)) for name, value in inputs.items()}
together = loaded.signatures["serving_default"](**{name: tf.constant(value) for name, value in inputs.items()})
assert not [name for name in sys.modules if name.split(".")[0] in ("mtq", "keras", "tf_agents")], "TensorFlow alone"
print(json.dumps({
    "single": {name: {key: value.numpy().tolist() for key, value in out.items()} for name, out in single.items()},
    "together": {name: value.numpy().tolist() for name, value in together.items()},
}))
"""


AS_MODULES = """
import json, runpy, sys
for module, *arguments in json.loads(sys.argv[1]):
    sys.argv = [module, *arguments]
    try:
        runpy.run_module(module, run_name="__main__", alter_sys=True)
    except SystemExit as exit:
        assert not exit.code, exit.code
    print("exit")
"""


def test_an_export_answers_in_a_process_that_has_tensorflow_alone(make_model, two_tasks, tmp_path):
    model = make_model()
    model.export(tmp_path / "export")
    random = np.random.default_rng(0)
    inputs = {n: random.normal(size=(3, *t.spec.observation_shape)).astype(np.float32) for n, t in two_tasks.items()}
    command = [
        sys.executable,
        "-c",
        "import sys; sys.modules['keras'] = None\n" + SERVE.replace('"keras", ', ""),
        str(tmp_path / "export"),
        json.dumps({name: value.tolist() for name, value in inputs.items()}),
    ]
    result = subprocess.run(command, capture_output=True, text=True, check=False, env={"TF_USE_LEGACY_KERAS": "1"})
    assert result.returncode == 0, result.stderr
    answers = json.loads(result.stdout.splitlines()[-1])
    for name, q_values in model(inputs).items():
        single = answers["single"][name]
        np.testing.assert_allclose(single["q_values"], q_values, rtol=1e-5, atol=1e-6)
        np.testing.assert_array_equal(single["action"], np.argmax(q_values, axis=-1))
        assert answers["together"][f"{name}_q_values"] == single["q_values"]
        assert answers["together"][f"{name}_action"] == single["action"]


def test_an_export_replaces_nothing_unless_told_to(make_model, tmp_path):
    make_model().export(tmp_path / "export")
    with pytest.raises(FileExistsError, match="must be new or empty"):
        make_model().export(tmp_path / "export")
    make_model().export(tmp_path / "export", overwrite=True)


def test_the_commands_one_after_the_other(tmp_path, capsys):
    out = str(tmp_path / "run")
    train = ["train", "--tasks", "cart_pole,mountain_car", "--steps", "400", "--out", out, "--evaluations", "2"]
    small = ["--episodes", "2", "--num-envs", "2", "--batch-size", "8", "--warmup-steps", "50", "--aggregator", "sum"]
    assert cli.main([*train, *small]) == 0
    assert "cart_pole" in capsys.readouterr().out
    metrics = json.loads((tmp_path / "run" / "metrics.json").read_text())
    assert metrics["env_steps"] == 2 * (50 + 400)

    assert cli.main([*train, *small]) == 2
    assert "--overwrite" in capsys.readouterr().err

    assert cli.main(["evaluate", out, "--episodes", "3", "--json"]) == 0
    evaluated = json.loads(capsys.readouterr().out)
    assert set(evaluated) == {"cart_pole", "mountain_car"}
    assert set(evaluated["cart_pole"]) == {"mean", "std", "random", "episodes"}
    assert cli.main(["evaluate", out, "--episodes", "3"]) == 0
    assert "mean return" in capsys.readouterr().out

    to = str(tmp_path / "export" / "1")
    assert cli.main(["export", out, "--to", to]) == 0
    assert cli.main(["export", out, "--to", to]) == 2
    assert cli.main(["export", out, "--to", to, "--overwrite"]) == 0


def test_the_list_of_tasks(capsys):
    assert cli.main(["tasks"]) == 0
    printed = capsys.readouterr().out
    for name in mtq.suites.names():
        assert name in printed
    assert "10×10×7 uint8" in printed


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["evaluate", "nowhere"], "The folder of a run must hold a saved model. Received: 'nowhere'"),
        (["train", "--tasks", "cart_pol", "--steps", "10", "--out", "x"], "Did you mean 'cart_pole'?"),
        (["train", "--tasks", "cart_pole,cart_pole", "--steps", "10", "--out", "x"], "a different name"),
        (
            ["train", "--tasks", "cart_pole", "--steps", "10", "--out", "x", "--aggregator", "sun"],
            "Did you mean 'sum'?",
        ),
        (
            ["train", "--tasks=cart_pole", "--steps=10", "--out=x", "--backbone=bro_net", "--normalization=rms"],
            "--normalization must be left out with --backbone bro_net",
        ),
    ],
)
def test_errors_are_one_message_and_leave_nothing(arguments, message, capsys, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert cli.main(arguments) == 2
    assert message in capsys.readouterr().err
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("options", "num_variables"), [([], 4), (["--normalization", "layer"], 8), (["--backbone", "bro_net"], 20)]
)
def test_the_backbone_of_the_command_line(options, num_variables, monkeypatch, tmp_path):
    made = []
    monkeypatch.setattr(mtq.runs.Run, "train", lambda run, model, *_, **__: made.append(model))
    arguments = [
        "train",
        "--tasks",
        "cart_pole",
        "--steps",
        "10",
        "--warmup-steps",
        "8",
        "--out",
        str(tmp_path / "run"),
    ]
    assert cli.main([*arguments, *options]) == 0
    assert len(made[0].network.get_layer("backbone").trainable_variables) == num_variables


def test_counts_on_the_command_line(capsys):
    with pytest.raises(SystemExit):
        cli.main(["train", "--tasks", "cart_pole", "--steps", "-5", "--out", "x"])
    assert "must be an integer of at least 1. Received: '-5'" in capsys.readouterr().err


@pytest.mark.thorough
def test_recipe_classic_control(tmp_path, capfd):
    from recipes.classic_control import Options, main

    options = Options(
        epochs=2,
        updates_per_epoch=10,
        batch_size=8,
        num_envs=2,
        episodes=2,
        out=str(tmp_path / "run"),
        export_to=str(tmp_path / "export" / "1"),
    )
    metrics = main(options)
    assert set(metrics["tasks"]) == {"cart_pole", "acrobot", "mountain_car"}
    assert metrics["env_steps"] == 3 * (1_000 + 2 * 10 * 2)
    printed = capfd.readouterr().out
    assert re.search(r"One episode per task.*cart_pole: return \d", printed, re.DOTALL)


@pytest.mark.slow
def test_recipe_minatar(tmp_path):
    from recipes.minatar import Options, main

    games = ["asterix", "breakout", "freeway", "seaquest", "space_invaders"]
    options = Options(
        games=games,
        epochs=1,
        updates_per_epoch=3,
        episodes=1,
        replay_capacity=6_000,
        out=str(tmp_path / "run"),
        export_to=str(tmp_path / "export" / "1"),
    )
    assert set(main(options)["tasks"]) == set(games)


@pytest.mark.thorough
def test_recipe_atari(tmp_path):
    from recipes.atari import Options, main

    options = Options(
        epochs=1,
        updates_per_epoch=2,
        batch_size=4,
        episodes=1,
        warmup_steps=20,
        replay_capacity=200,
        out=str(tmp_path / "run"),
        export_to=str(tmp_path / "export" / "1"),
    )
    assert set(main(options)["tasks"]) == {"pong", "breakout"}
    for name in ("pong", "breakout"):
        assert (tmp_path / "run" / f"{name}.gif").read_bytes().startswith(b"GIF8")


@pytest.mark.thorough
def test_a_program_that_a_quiet_program_starts_is_quiet_too():
    start = "from mtq.cli import quiet; quiet.import_tensorflow(); import tensorflow"
    program = f"import sys; sys.argv = ['mtq']; {start}"  # like the command, which imports mtq before TensorFlow
    chain = f"{program}; import subprocess; subprocess.run([sys.executable, '-c', {program!r}], check=True)"
    result = subprocess.run([sys.executable, "-c", chain], capture_output=True, text=True, check=True)
    assert result.stderr == ""


@pytest.mark.thorough
@pytest.mark.parametrize("closed", [True, False])
def test_quiet_programs_start_where_nothing_can_be_kept_quiet(closed):
    broken = "import tempfile\ndef fail():\n    raise FileNotFoundError\ntempfile.TemporaryFile = fail"
    start = "import sys; sys.argv = ['mtq', 'tasks']; from mtq.cli import main; main()"
    program = [sys.executable, "-c", start if closed else f"{broken}\n{start}"]
    command = f"exec {shlex.join(program)} {'2>&-' if closed else ''}"
    result = subprocess.run(command, shell=True, capture_output=True, text=True, check=False)
    assert result.returncode == 0
    assert "cart_pole" in result.stdout


@pytest.mark.thorough
@pytest.mark.parametrize("recipe", ["classic_control", "deramo2020", "minatar", "atari"])
def test_recipes_run_as_modules_too_and_are_quiet(recipe):
    command = [sys.executable, "-m", f"recipes.{recipe}", "--help"]
    result = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True)
    assert "--out" in result.stdout
    assert result.stderr == ""


@pytest.mark.thorough
def test_the_recipe_named_as_its_package_runs_as_a_script():
    command = [sys.executable, str(ROOT / "recipes" / "minatar.py"), "--help"]
    printed = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    assert "The number of frames of each game per update" in " ".join(printed.split())


def test_the_example_of_the_readme(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    code, atari = re.findall(r"```python\n(.*?)```", (ROOT / "README.md").read_text(), re.DOTALL)
    small = code.replace("epochs=20", "epochs=1").replace("steps_per_epoch=1_000", "steps_per_epoch=5")
    small = small.replace("episodes=20", "episodes=1")
    assert small != code
    exec(compile(small, "README.md", "exec"), {})
    assert (tmp_path / "runs/classic/best.keras").exists()
    assert (tmp_path / "saved_models/classic/1/saved_model.pb").exists()
    names: dict = {"mtq": mtq}
    exec(compile(atari, "README.md", "exec"), names)
    assert names["model"].tasks.names == ("pong", "breakout")


@pytest.mark.thorough
def test_a_minatar_run_is_evaluated_and_played_in_a_fresh_process(tmp_path):
    tasks = mtq.suites.minatar(["breakout"])
    model = mtq.MultiTaskDQN(mtq.networks.shared_q_network(tasks, mtq.networks.minatar_cnn(units=8)), tasks)
    model.compile()
    model.save(tmp_path / "best.keras")
    mtq.runs.save_tasks(tasks, tmp_path / "tasks.json")
    model.export(tmp_path / "export")
    commands = [
        ["mtq.play_export", str(tmp_path / "export"), str(tmp_path / "tasks.json")],
        ["mtq.cli", "evaluate", str(tmp_path), "--episodes", "1", "--json"],
    ]
    result = subprocess.run(
        [sys.executable, "-c", AS_MODULES, json.dumps(commands)], capture_output=True, text=True, check=False
    )
    assert result.returncode == 0, result.stderr
    played, evaluated = result.stdout.split("exit\n")[:2]
    assert "breakout" in played
    assert "breakout" in evaluated


def test_steps_are_taken_to_the_number(tmp_path, capsys):
    out = str(tmp_path / "run")
    arguments = ["train", "--tasks", "cart_pole", "--steps", "1000", "--out", out, "--evaluations", "2"]
    assert cli.main([*arguments, "--episodes", "1", "--num-envs", "4", "--warmup-steps", "40"]) == 0
    assert json.loads((tmp_path / "run" / "metrics.json").read_text())["env_steps"] == 1_040
