"""An option is declared once, and exists in `mtq train`, `mtq study`, its arms and the recipes."""

import argparse
import copy
import dataclasses
import importlib
import inspect
import json
import pickle
import re
from pathlib import Path

import numpy as np
import pytest

import mtq
from mtq import cli
from mtq.cli.arguments import options_of as options_from
from mtq.cli.main import _parser
from mtq.cli.study import StudyOptions
from mtq.cli.train import TrainOptions
from mtq.settings.checking import check, check_contradictions
from mtq.settings.declaration import changed, defaults, facts, fields, given, help_of, types_of
from mtq.settings.learning import BACKBONES
from mtq.settings.presets import expanded, resolved
from mtq.settings.texts import arm_parts, convert
from mtq.study.design.parsing import parse_arm
from tests.messages import error

LEARNING = fields(mtq.settings.LearningOptions)
COMBINATION = fields(mtq.settings.CombinationOptions)
RECIPES = [importlib.import_module(f"recipes.{name}") for name in ("classic_control", "minatar", "atari")]
PARTS = {
    "network": mtq.networks.shared_q_network,
    "model": mtq.MultiTaskDQN.__init__,
    "compile": mtq.MultiTaskDQN.compile,
    "experience": mtq.Experience.__init__,
    "backbone": mtq.networks.mlp,
}
# Of these defaults the commands have their own, which docs/defaults.md and the help name.
OWN_DEFAULTS = {"train": {"steps_per_update", "exploration_steps"}, "study": {"aggregator"}}
TEXTS = {bool: "true", int: "3", float: "0.5", str: "huber"}
TRAIN = ["--tasks", "in_graph/CartPole,in_graph/Chain", "--steps", "8", "--warmup-steps", "8", "--batch-size", "4"]


def options_of(command):
    commands = next(a for a in _parser()._actions if isinstance(a, argparse._SubParsersAction)).choices
    return {action.dest: action for action in commands[command]._actions if action.help != argparse.SUPPRESS}


def as_help(docstring):
    return docstring.removeprefix("Whether to ").removesuffix(".")[1:]


@pytest.mark.parametrize("name", [*LEARNING, *COMBINATION])
def test_an_option_is_in_both_commands_and_in_the_recipes(name):
    declared = {**LEARNING, **COMBINATION}[name]
    for command, cls in (("train", TrainOptions), ("study", StudyOptions)):
        action = options_of(command)[name]
        assert f"--{name.replace('_', '-')}" in action.option_strings
        assert not facts(declared).alias or f"--{facts(declared).alias}" in action.option_strings
        assert action.help[1:] == as_help(help_of(cls, name)), "the help is the docstring"
        if name not in OWN_DEFAULTS[command]:
            assert action.default == declared.default
    for recipe in RECIPES:
        assert facts(fields(recipe.Options)[name]) == facts(declared), "a recipe gives another default only"
        assert len(help_of(recipe.Options, name)) > 10


@pytest.mark.parametrize("name", fields(mtq.settings.ProtocolOptions))
def test_a_setting_of_the_protocol_is_an_option_of_studies_and_a_part_of_arms(name):
    declared = fields(mtq.study.Protocol)[name]
    assert options_of("study")[name].default == declared.default == getattr(mtq.study.Protocol(), name)
    kind, _ = types_of(mtq.settings.ProtocolOptions)[name]
    text = "1.5" if name == "repeat_exponent" else [*facts(declared).choices, TEXTS[kind]][0]
    for part in filter(None, (name, facts(declared).alias)):
        if facts(declared).differs_between_arms:
            arm = parse_arm(f"shared+{part}={text}")
            value = convert(mtq.study.Protocol, name, text)
            assert arm.settings == (expanded(value, {}) if name == "preset" else {name: value})
        else:
            with pytest.raises(ValueError, match=f"Received: '{part}=3'"):
                parse_arm(f"shared+{part}=3")


@pytest.mark.parametrize("name", fields(mtq.settings.RunOptions))
def test_an_option_of_the_run_is_in_train_and_in_the_recipes(name):
    assert name in options_of("train")
    assert all(name in fields(recipe.Options) for recipe in RECIPES)


def test_options_that_are_passed_to_a_part_have_its_defaults():
    passed = {name: facts(field).passed_to for name, field in LEARNING.items() if facts(field).passed_to}
    assert len(passed) >= 9
    for name, part in passed.items():
        assert inspect.signature(PARTS[part]).parameters[name].default == LEARNING[name].default, name
    linear = inspect.signature(mtq.exploration.linear).parameters
    assert LEARNING["initial_epsilon"].default == linear["initial"].default
    assert LEARNING["final_epsilon"].default == linear["final"].default
    assert LEARNING["exploration_steps"].default == linear["steps"].default
    assert LEARNING["repeat_exponent"].default == mtq.exploration.EpsilonGreedy(0.1).repeat_exponent
    assert LEARNING["batch_size"].default == inspect.signature(mtq.Experience.batches).parameters["batch_size"].default
    startup = inspect.signature(mtq.distribution.strategy).parameters["startup_timeout"].default
    assert fields(mtq.settings.RunOptions)["startup_timeout"].default == startup


def test_every_option_has_a_help_in_plain_sentences():
    for cls in (TrainOptions, StudyOptions, *(recipe.Options for recipe in RECIPES)):
        for name in fields(cls):
            text = help_of(cls, name)
            assert text.endswith("."), (cls, name)
            assert text.startswith(("The ", "Whether ", "Further ")), (cls, name)
    assert f"double: {help_of(mtq.study.Protocol, 'double')}" in inspect.getdoc(mtq.study.Protocol)


def test_a_new_option_is_one_field_in_one_place():
    """As CONTRIBUTING says: here of a subclass, for the declaration itself is already made."""

    @dataclasses.dataclass(frozen=True, kw_only=True)
    class Learning(mtq.settings.LearningOptions):
        """Options of learning."""

        munching: float = mtq.settings.option(0.0, least=0, most=1, alias="m", passed_to="model")
        """The weight of something new."""

    @dataclasses.dataclass(frozen=True)
    class Options(Learning):
        """A recipe."""

        games: list[str] = dataclasses.field(default_factory=list)
        """The games."""
        munching: float = 0.9

    assert arm_parts(Learning)["m"] == "munching"
    assert mtq.settings.parse(Options, ["--m", "0.2"]).munching == 0.2
    assert mtq.settings.parse(Options, ["--games", "a", "b", "--batch-size=3"]) == Options(["a", "b"], batch_size=3)
    assert help_of(Options, "munching") == "The weight of something new."
    assert changed(Options(batch_size=3, munching=0.9)) == {"batch_size": 3}
    with pytest.raises(ValueError, match=r"munching must be from 0 to 1\. Received: 2"):
        check(Options(munching=2))
    parser = argparse.ArgumentParser()
    cli.arguments.add_options(parser, Options)
    assert vars(parser.parse_args(["--munching", "0.3", "--games", "a,b"]))["games"] == ["a", "b"]


def test_other_types_of_options(capsys):
    @dataclasses.dataclass(frozen=True, kw_only=True)
    class Options(mtq.settings.Declaration):
        """Options of this test."""

        widths: tuple[int, ...] = mtq.settings.option((64,))
        steady: bool = mtq.settings.option(True)
        share: float = mtq.settings.option(0.5)
        """A share of 100 %."""

    parser = argparse.ArgumentParser(formatter_class=cli.arguments.HelpFormatter)
    cli.arguments.add_options(parser, Options)
    parsed = cli.arguments.options_of(Options, parser.parse_args(["--widths", "8, 16", "--no-steady"]))
    assert parsed == Options(widths=(8, 16), steady=False)
    assert "100 % (default: 0.5)" in " ".join(parser.format_help().split())
    with pytest.raises(SystemExit):
        parser.parse_args(["--widths", "8,wide"])
    assert "invalid list of int value: '8,wide'" in capsys.readouterr().err
    assert convert(Options, "widths", "3") == (3,)
    assert convert(mtq.settings.LearningOptions, "target_update_tau", "none") is None
    assert convert(mtq.settings.LearningOptions, "double", "false") is False
    for name, text in (("double", "maybe"), ("n_step", ""), ("n_step", "two")):
        with pytest.raises(ValueError):  # noqa: PT011
            convert(mtq.settings.LearningOptions, name, text)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--weighting", "famo", "--loss-weights", "a=1"], ("weighting and loss_weights", "Received: 'famo'", "Leave")),
        (["--tau", "0.1", "--target-update-period", "7"], ("target_update_tau and target_update_period", "0.1 and 7")),
        (["--tau", "2"], ("target_update_tau must be above 0 and at most 1. Received: 2.0",)),
        (["--final-epsilon", "2"], ("final_epsilon must be from 0 to 1. Received: 2.0",)),
        (["--repeat-exponent", "1"], ("repeat_exponent must be above 1. Received: 1.0",)),
        (["--loss-weights", "CartPole"], ("loss_weights must be written as task=weight", "Received: 'CartPole'")),
        (["--loss-weights", "{1}"], ("or as a JSON object. Received: '{1}'",)),
        (["--loss-weights", "cart_pole=1"], ("loss_weights has no entry for task 'chain'", "{'cart_pole': 1.0}")),
        (["--weighting", "fama"], ("weighting must be one of", "Did you mean 'famo'?")),
    ],
    ids=lambda it: " ".join(it) if isinstance(it, list) else "",
)
def test_contradictions_and_values_out_of_range(options, message, tmp_path, capsys):
    out = ["--out", str(tmp_path / "out")]
    assert cli.main(["train", *TRAIN, *out, *options]) == 2
    assert re.search(error(*message), capsys.readouterr().err)
    assert not (tmp_path / "out").exists()


def test_defaults_do_not_contradict():
    check_contradictions(RECIPES[1].Options(target_update_tau=0.01))  # its period is another than the library's
    for recipe in RECIPES:
        check(recipe.Options())
        check_contradictions(recipe.Options())


def test_the_options_reach_the_parts(tmp_path):
    @dataclasses.dataclass(frozen=True)
    class Options(mtq.settings.TrainingOptions):
        """A recipe."""

        out: str = str(tmp_path / "run")

    options = Options(
        double=True,
        dueling=True,
        target_update_tau=0.25,
        loss="huber",
        n_step=2,
        replay_capacity=70,
        warmup_steps=8,
        steps_per_update=0.5,
        aggregator="pcgrad",
        loss_weights='{"a": 2, "b": 0.5}',
        learning_rate=0.1,
        final_learning_rate=0.01,
        epochs=2,
        updates_per_epoch=10,
        repeat_exponent=2.0,
        final_epsilon=0.3,
        exploration_steps=50,
    )
    tasks = mtq.TaskSet([mtq.Task("a", "in_graph/Chain"), mtq.Task("b", "in_graph/Catch")])
    network = mtq.runs.make_network(tasks, options, mtq.networks.mlp([4]))
    assert isinstance(network.get_layer("a_q_values"), mtq.networks.DuelingHead)
    model = mtq.runs.make_model(tasks, network, options)
    config = model.get_config()
    assert (config["double"], config["target_update_tau"], config["target_update_period"]) == (True, 0.25, 100)
    assert model.get_compile_config()["loss"] == "huber"
    assert type(model.aggregator).__name__ == "PCGrad"
    assert model.task_weights.numpy().tolist() == [2.0, 0.5]
    rates = [float(model.optimizer._learning_rate(step)) for step in (0, 20)]
    np.testing.assert_allclose(rates, [0.1, 0.01], rtol=1e-5)
    experience = mtq.runs.make_experience(model, options)
    assert (experience.n_step, experience.replay_capacity, experience.warmup_steps) == (2, 70, 8)
    exploration = mtq.runs.make_exploration(options)
    assert float(exploration.at(50)) == pytest.approx(0.3)
    assert exploration.repeat_exponent == 2.0


@pytest.mark.parametrize(
    ("environment", "rate"),
    [("in_graph/Chain", 1e-3), ("in_graph/Catch", 1e-3), ("in_graph/MinAtar-Breakout", 2.5e-4)],
)
def test_the_learning_rate_follows_the_observations(environment, rate):
    tasks = mtq.TaskSet([mtq.Task("a", environment)])
    assert mtq.runs.learning_rate_for(tasks) == rate
    assert mtq.study.Protocol().for_tasks(tasks).learning_rate == rate
    assert mtq.study.Protocol(learning_rate=0.5).for_tasks(tasks).learning_rate == 0.5


def shaped(shape):
    spec = mtq.tasks.TaskSpec(observation_shape=shape, observation_dtype="uint8", observation_high=255, num_actions=2)
    return mtq.TaskSet([mtq.Task("a", lambda: None, spec=spec)])


def test_the_learning_rate_of_large_images_and_of_shapes_that_are_no_images():
    assert mtq.runs.learning_rate_for(shaped((84, 84, 4))) == 1e-4
    assert mtq.runs.learning_rate_for(shaped((2, 2, 3))) == 1e-3


def test_backbones_by_name():
    @dataclasses.dataclass(frozen=True)
    class Options(mtq.settings.LearningOptions):
        """Options of this test."""

        backbone: str | None = None
        """The backbone."""

    for name in BACKBONES:
        size = (36, 36, 4) if "cnn" in name else (3,)
        network = mtq.runs.make_network(shaped(size), Options(backbone=name))
        assert len(network.get_layer("backbone").layers) == len(getattr(mtq.networks, name)().layers)
    with pytest.raises(ValueError, match=error("backbone must be one of mlp, ", "Received: 'cnn'")):
        mtq.runs.make_network(shaped((3,)), Options(backbone="cnn"))


def test_new_options_in_a_run_and_its_record(tmp_path, capsys):
    out = tmp_path / "run"
    options = ["--out", str(out), "--episodes", "1", "--evaluations", "1", "--export-to", str(tmp_path / "export")]
    learning = ["--n-step", "2", "--tau", "0.1", "--loss-weights", "cart_pole=1,chain=0.5", "--repeat-exponent", "2"]
    learning += ["--num-envs", "2", "--final-epsilon", "0.2", "--final-learning-rate", "1e-5", "--dueling"]
    assert cli.main(["train", *TRAIN, *options, *learning]) == 0, capsys.readouterr().err
    recorded = json.loads((out / "run.json").read_text())["options"]
    assert recorded["learning_rate"] == 1e-3
    assert (recorded["n_step"], recorded["target_update_tau"], recorded["final_epsilon"]) == (2, 0.1, 0.2)
    assert (tmp_path / "export" / "saved_model.pb").exists()


def old_run(folder, options):
    mtq.runs.Run(folder, {name: value for name, value in options.items() if name not in ("out", "overwrite", "resume")})


def test_a_run_that_was_started_before_an_option_existed_has_its_default(tmp_path):
    """As mtq 0.1 wrote it: without n_step and many others, with ε by its name in the recipe of then."""
    options = RECIPES[2].Options(out=str(tmp_path / "run"))
    before = dataclasses.asdict(options)
    new = {"loss", "dueling", "final_learning_rate", "target_update_tau", "initial_epsilon", "repeat_exponent"}
    new |= {"loss_weights", "weighting", "strategy", "devices", "tpu", "startup_timeout", "final_epsilon"}
    old_run(tmp_path / "run", {**{k: v for k, v in before.items() if k not in new}, "epsilon": 0.02})
    mtq.runs.Run(tmp_path / "run", options, resume=True)
    mtq.runs.Run(tmp_path / "run", options.replace(checkpoint_every=9, devices=3), resume=True)
    for change in ({"final_epsilon": 0.3}, {"loss": "squared"}, {"target_update_tau": 0.1}, {"dueling": True}):
        (name, value), message = next(iter(change.items())), "A run must be resumed with the options"
        with pytest.raises(ValueError, match=error(message, f"{name} {before[name]!r} → {value!r}")):
            mtq.runs.Run(tmp_path / "run", options.replace(**change), resume=True)


def test_a_resumed_run_keeps_its_learning_rate(tmp_path):
    """Those of images had 1e-3 by default before the default followed the observations."""
    from mtq.runs.training import with_choices

    tasks = mtq.TaskSet([mtq.Task("a", "in_graph/MinAtar-Breakout")])
    options = TrainOptions(tasks="breakout", steps=4, out=str(tmp_path))
    assert with_choices(options, tasks).learning_rate == 2.5e-4
    old_run(tmp_path, {"learning_rate": 1e-3})
    assert with_choices(options.replace(resume=True), tasks).learning_rate == 1e-3
    assert with_choices(options.replace(resume=True, learning_rate=0.5), tasks).learning_rate == 0.5


def test_a_subclass_cannot_lose_what_is_declared():
    assert defaults(RECIPES[0].Options)["batch_size"] == 64
    with pytest.raises(TypeError, match="positional"):
        RECIPES[0].Options(True, 64)  # by keyword alone, for the order of options follows from where they are declared
    with pytest.raises(dataclasses.FrozenInstanceError):
        RECIPES[0].Options().batch_size = 3
    with pytest.raises(TypeError, match="leest"):
        mtq.settings.option(3, leest=1)


def test_the_recipe_of_recipes_readme(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("sys.argv", ["mine.py", "--epochs", "1", "--updates-per-epoch", "4", "--episodes", "1"])
    readme = Path(__file__).parents[2] / "recipes" / "README.md"
    (code,) = re.findall(r"```python\n(.*?)```", readme.read_text(), re.DOTALL)
    exec(compile(code, "README.md", "exec"), {"dataclasses": dataclasses, "mtq": mtq})
    assert json.loads((tmp_path / "runs/mine/run.json").read_text())["options"]["epochs"] == 1
    assert (tmp_path / "runs/mine/metrics.json").exists()


def test_a_preset_of_a_protocol_and_of_a_study(tmp_path):
    protocol = mtq.study.Protocol(preset="rainbow")
    assert (protocol.heads, protocol.n_step, protocol.sampler, protocol.preset) == (
        "categorical",
        3,
        "prioritized",
        None,
    )
    with pytest.raises(ValueError, match=error("n_step must be 3, or left out, with the preset", "Received: 5")):
        mtq.study.Protocol(preset="rainbow", n_step=5)
    with pytest.raises(ValueError, match=error("n_step must be 3, or left out, with the preset", "Received: 5")):
        mtq.study.Arm("a", preset="rainbow", n_step=5)
    with pytest.raises(ValueError, match="preset must be one of rainbow"):
        mtq.study.Arm("a", preset="c51")


def parsed(program, *arguments):
    """The options of `mtq train` or of a recipe from their command line."""
    if program == "train":
        return options_from(TrainOptions, _parser().parse_args(["train", *TRAIN, "--out", "runs/a", *arguments]))
    return mtq.settings.parse(importlib.import_module(f"recipes.{program}").Options, arguments)


EXPLICIT = {
    "a number beside a preset": (
        ["--preset", "rainbow"],
        "--initial-epsilon",
        "epsilon must be 0.0, or left out",
    ),
    "a name beside a preset": (
        ["--preset", "rainbow"],
        "--heads",
        "heads must be .categorical., or left out",
    ),
    "two options of which one has an effect": (["--target-update-tau", "0.01"], "--target-update-period", "together"),
}


@pytest.mark.parametrize("case", EXPLICIT)
@pytest.mark.parametrize("program", ["train", "classic_control"])
@pytest.mark.parametrize("joined", [False, True])
def test_an_option_that_is_given_counts_even_with_its_default(program, joined, case):
    """Whether an option was given is known, and not guessed from its value."""
    others, name, message = EXPLICIT[case]
    usual = defaults(TrainOptions if program == "train" else RECIPES[0].Options)
    value = str(usual[name[2:].replace("-", "_")])
    given_again = [f"{name}={value}"] if joined else [name, value]

    def resolve(options):
        check_contradictions(options)
        return resolved(options)

    resolve(parsed(program, *others))
    for order in ([*others, *given_again], [*given_again, *others]):
        with pytest.raises(ValueError, match=message):
            resolve(parsed(program, *order))


def test_what_is_given_is_kept_by_replace_copies_and_pickles():
    options = mtq.settings.LearningOptions(n_step=1, dueling=True)
    assert options == mtq.settings.LearningOptions(dueling=True)
    for same in (options, options.replace(), copy.copy(options), pickle.loads(pickle.dumps(options))):
        assert given(same) == {"n_step": 1, "dueling": True}
        assert given(same.replace(batch_size=32)) == {"n_step": 1, "dueling": True, "batch_size": 32}
    # dataclasses.replace gives all, which says nothing: then those with other values than their defaults count.
    assert given(dataclasses.replace(options, batch_size=32)) == {"dueling": True}

    @dataclasses.dataclass(frozen=True)
    class Own(mtq.settings.LearningOptions):
        rows: int = 3
        columns: int = 4

    assert given(Own(3, double=False)) == {"rows": 3, "double": False}


def test_presets_refuse_defaults_that_are_given(capsys):
    with pytest.raises(ValueError, match=error("n_step must be 3, or left out, with the preset", "Received: 1")):
        mtq.study.Protocol(preset="rainbow", n_step=1)
    with pytest.raises(ValueError, match=error("dueling must be True, or left out", "Received: False")):
        resolved(mtq.settings.LearningOptions(preset="rainbow", dueling=False))
    assert cli.main(["study", *TRAIN[:2], "--out", "runs/a", "--preset", "rainbow", "--n-step", "1"]) == 2
    assert "n_step must be 3, or left out, with the preset" in capsys.readouterr().err


@pytest.mark.parametrize("others", [["--noisy"], ["--preset", "rainbow"], ["--epsilon", "0.1"]])
def test_an_option_without_an_effect_is_refused(others, tmp_path, capsys):
    if others[0] == "--epsilon":
        others = [*others, "--initial-epsilon", "0.1"]
    command = ["train", *TRAIN, "--out", str(tmp_path / "run"), *others, "--exploration-steps", "9"]
    assert cli.main(command) == 2
    assert "exploration_steps must be left out if the initial and the final ε are equal" in capsys.readouterr().err


@pytest.mark.parametrize("others", [["--noisy"], ["--preset", "rainbow"], ["--epsilon", "0", "--initial-epsilon", "0"]])
def test_repeats_of_actions_that_are_never_random_are_refused(others, tmp_path, capsys):
    command = ["train", *TRAIN, "--out", str(tmp_path / "run"), *others, "--repeat-exponent", "2"]
    assert cli.main(command) == 2
    assert "repeat_exponent must be left out if no action is random" in capsys.readouterr().err


def test_defaults_that_follow_from_the_settings_of_an_arm():
    common = mtq.study.Protocol()
    noisy = mtq.study.Arm("a", noisy=True)
    assert noisy.protocol(common).final_epsilon == noisy.protocol(common).initial_epsilon == 0.0
    assert mtq.study.Arm("a", noisy=True, final_epsilon=0.05).protocol(common).final_epsilon == 0.05
    assert noisy.protocol(mtq.study.Protocol(final_epsilon=0.05)).final_epsilon == 0.05
    assert mtq.study.Arm("a", heads="hl_gauss").protocol(common.replace(loss="squared")).loss is None


def test_an_arm_without_noise_explores_as_usual():
    """In an ablation of a preset, what follows from the part that is taken out goes with it."""
    rainbow, usual = mtq.study.Protocol(preset="rainbow"), mtq.study.Protocol()
    for name, expected in {"noisy=false": (1.0, 0.05), "double=false": (0.0, 0.0)}.items():
        own = parse_arm(f"shared+{name}").protocol(rainbow)
        assert (own.initial_epsilon, own.final_epsilon) == expected
    assert parse_arm("shared+noisy=false").protocol(rainbow).exploration_steps == usual.exploration_steps
    assert parse_arm("shared+heads=scalar").protocol(rainbow.for_tasks(chain())).loss is None
    assert (rainbow.initial_epsilon, rainbow.final_epsilon) == (0.0, 0.0)  # as the record and the report say
    noisy = mtq.study.Protocol(noisy=True, final_epsilon=0.01)
    assert (noisy.initial_epsilon, noisy.final_epsilon) == (0.01, 0.01)
    own = parse_arm("shared+noisy=false").protocol(noisy.for_tasks(chain()))
    assert (own.initial_epsilon, own.final_epsilon) == (1.0, 0.01)
    falling = mtq.study.Protocol(noisy=True, initial_epsilon=1.0)
    assert (falling.initial_epsilon, falling.replace(n_step=2).initial_epsilon, falling.final_epsilon) == (
        1.0,
        1.0,
        0.0,
    )
    # The preset's own ε holds in an arm, whatever the protocol's is.
    own = mtq.study.Arm("a", preset="rainbow").protocol(mtq.study.Protocol(initial_epsilon=1.0, final_epsilon=0.1))
    assert (own.initial_epsilon, own.final_epsilon) == (0.0, 0.0)


@pytest.mark.parametrize(
    ("protocol", "arms", "message"),
    [
        ({}, ["shared+tau=0.01+target_update_period=500"], "target_update_tau and target_update_period"),
        ({}, ["shared+double+munchausen"], "double and munchausen must not be given together"),
        ({}, ["shared+noisy+exploration_steps=500"], "exploration_steps must be left out if"),
        ({}, ["shared+noisy+repeat_exponent=2"], "repeat_exponent must be left out if no action is random"),
    ],
)
def test_settings_without_an_effect_are_refused_in_studies(protocol, arms, message):
    with pytest.raises(ValueError, match=error("Arm '", message, "Received:")):
        mtq.study.Study(chain(), [parse_arm(arm) for arm in arms], protocol=mtq.study.Protocol(**protocol))


@pytest.mark.parametrize(
    ("protocol", "arm", "expected"),
    [
        ({"target_update_tau": 0.01}, "shared+target_update_period=500", {"target_update_tau": None}),
        ({"target_update_tau": 0.01}, "shared+target_update_period=100", {"target_update_tau": None}),
        ({"target_update_period": 500}, "shared+tau=0.01", {"target_update_tau": 0.01, "target_update_period": 100}),
        ({"munchausen": True}, "shared+double", {"munchausen": False, "double": True}),
        ({"double": True}, "shared+munchausen", {"munchausen": True, "double": False}),
        ({"preset": "rainbow"}, "shared+munchausen", {"munchausen": True, "double": False, "n_step": 3}),
        ({"munchausen": True}, "shared+double=false", {"munchausen": True}),
    ],
)
def test_a_setting_of_an_arm_replaces_what_has_no_effect_beside_it(protocol, arm, expected):
    own = parse_arm(arm).protocol(mtq.study.Protocol(**protocol))
    assert {name: getattr(own, name) for name in expected} == expected


@pytest.mark.parametrize(
    ("protocol", "arms", "message"),
    [
        ({"repeat_exponent": 2.0, "noisy": True}, ["shared", "separate"], "repeat_exponent of a study must have"),
        ({"exploration_steps": 500}, ["shared+noisy", "separate+preset=rainbow"], "exploration_steps of a study must"),
        ({"loss": "huber"}, ["shared+heads=hl_gauss", "shared+heads=quantile"], "loss of a study must have an effect"),
        ({"loss": "huber", "heads": "hl_gauss"}, ["shared"], "loss of a study must have an effect in some arm"),
        ({"loss": "cross_entropy"}, ["shared"], "loss of a study must have an effect in some arm"),
    ],
)
def test_settings_without_an_effect_in_any_arm_are_refused(protocol, arms, message, tmp_path):
    common = mtq.study.Protocol(epochs=1, updates_per_epoch=10, **protocol)
    study = mtq.study.Study(chain(), [parse_arm(arm) for arm in arms], protocol=common, seeds=1)
    with pytest.raises(ValueError, match=message):
        study.run(tmp_path / "study", workers=1, verbose=0)
    assert not (tmp_path / "study").exists()


def test_settings_with_an_effect_in_some_arm_are_taken():
    common = mtq.study.Protocol(exploration_steps=500, repeat_exponent=2.0, double=True)
    arms = ["shared", "shared+noisy", "shared+preset=rainbow", "shared+munchausen"]
    mtq.study.Study(chain(), [parse_arm(arm) for arm in arms], protocol=common)
    with pytest.raises(ValueError, match="target_update_tau and target_update_period must not be given together"):
        mtq.study.Protocol(target_update_tau=0.01, target_update_period=100)


def test_a_protocols_loss_is_that_of_the_heads_that_it_fits():
    of = mtq.study.Protocol
    for protocol, arm, expected in [
        (of(heads="hl_gauss", loss="huber"), {}, None),
        (of(heads="hl_gauss", loss="huber"), {"heads": "scalar"}, "huber"),
        (of(loss="huber"), {"heads": "quantile"}, None),
        (of(heads="hl_gauss", loss="cross_entropy"), {"heads": "categorical"}, "cross_entropy"),
        (of(heads="hl_gauss", loss="cross_entropy"), {"heads": "quantile"}, None),
        (of(heads="hl_gauss", loss="cross_entropy"), {"heads": "scalar"}, None),
    ]:
        assert mtq.study.Arm("a", **arm).protocol(protocol).loss == expected


def chain():
    return mtq.TaskSet([mtq.Task("chain", "in_graph/Chain", num_envs=2)])


def test_one_epsilon_beside_noisy_layers():
    options = mtq.settings.LearningOptions
    for given_epsilons, expected in [
        ({}, (0.0, 0.0)),
        ({"final_epsilon": 0.01}, (0.01, 0.01)),
        ({"initial_epsilon": 0.3}, (0.3, 0.0)),
        ({"initial_epsilon": 1.0, "final_epsilon": 0.05}, (1.0, 0.05)),
    ]:
        own = resolved(options(noisy=True, **given_epsilons))
        assert (own.initial_epsilon, own.final_epsilon) == expected


def test_defaults_that_follow_from_other_options():
    options = mtq.settings.LearningOptions
    assert resolved(options(heads="hl_gauss")).loss is None
    assert resolved(options(noisy=True)).final_epsilon == 0.0
    assert resolved(options(noisy=True, final_epsilon=0.1)).final_epsilon == 0.1
    assert resolved(options(noisy=True, final_epsilon=0.05)).final_epsilon == 0.05  # also if it is the default

    @dataclasses.dataclass(frozen=True, kw_only=True)
    class Recipe(options):
        double: bool = True
        loss: str = "huber"

    assert not resolved(Recipe(munchausen=True)).double
    assert resolved(Recipe(heads="hl_gauss")).loss is None
    assert resolved(Recipe(heads="hl_gauss", loss="huber")).loss == "huber"  # which `compile` refuses
    with pytest.raises(ValueError, match="double and munchausen must not be given together"):
        check_contradictions(Recipe(munchausen=True, double=True))
    with pytest.raises(ValueError, match="munchausen must be left out with the preset rainbow"):
        resolved(options(preset="rainbow", munchausen=True))


@pytest.mark.parametrize("recipe", RECIPES[:2])
def test_recipes_honour_the_normalization(recipe):
    tasks = mtq.TaskSet(
        [mtq.Task("catch", "in_graph/MinAtar-Breakout" if "minatar" in recipe.__name__ else "in_graph/Catch")]
    )
    network = recipe.make_network(tasks, recipe.Options(normalization="layer"))
    kinds = {type(layer).__name__ for layer in network.get_layer("backbone")._flatten_layers()}
    assert "LayerNormalization" in kinds


def test_runs_are_added_only_to_arms_whose_settings_follow_alike(tmp_path):
    """Whether an option is given may change what follows for an arm, though the protocol is the same."""

    def study(arm, **protocol):
        common = mtq.study.Protocol(epochs=1, updates_per_epoch=10, replay_capacity=500, warmup_steps=50, **protocol)
        return mtq.study.Study(chain(), [parse_arm(arm)], protocol=common, seeds=1)

    study("shared+noisy").run(tmp_path, workers=1, verbose=0)  # ε = 0
    with pytest.raises(ValueError, match=r"same arm 'shared\+noisy'.*initial_epsilon.*0.05"):
        study("shared+noisy", final_epsilon=0.05).run(tmp_path, workers=1, verbose=0)
    path = tmp_path / "study.json"
    plan = json.loads(path.read_text())
    del plan["arms"]["shared+noisy"]["resolved"]  # as of an earlier version
    path.write_text(json.dumps(plan))
    study("shared+noisy").run(tmp_path, workers=1, verbose=0)  # nothing is missing, and ε = 0 as before
    plan["arms"]["shared+noisy"].pop("resolved", None)
    path.write_text(json.dumps(plan))
    with pytest.raises(ValueError, match="that an earlier version of mtq began must not have settings that follow"):
        study("shared+noisy", final_epsilon=0.05).run(tmp_path, workers=1, verbose=0)
    # More runs of one arm can be made, even if the protocol has a setting for others.
    both = tmp_path / "both"
    for arms in (["shared+noisy", "shared"], ["shared+noisy"]):
        common = mtq.study.Protocol(epochs=1, updates_per_epoch=10, warmup_steps=50, exploration_steps=500)
        seeds = 1 if len(arms) > 1 else 2
        mtq.study.Study(chain(), [parse_arm(arm) for arm in arms], protocol=common, seeds=seeds).run(
            both, workers=1, verbose=0
        )
