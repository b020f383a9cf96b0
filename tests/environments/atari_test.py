"""Atari's games: their preprocessing, the ends of their episodes, and what they are trained and recorded from."""

import dataclasses
import json
import math
import sys

import ale_py
import gymnasium
import numpy as np
import pytest
from PIL import Image

import mtq
from mtq.cli import main
from mtq.environments.make import make_copies
from mtq.experience.memory import memory_spec
from mtq.tasks import atari

PONG = "ALE/Pong-v5"


def test_an_id_means_the_usual_preprocessing():
    task = mtq.Task("pong", PONG)
    assert task.spec.observation_shape == (84, 84, 4)
    assert task.spec.observation_dtype == "uint8"
    assert task.spec.observation_high == 255
    assert (task.num_actions, task.frame_stack, task.reward_clip) == (18, 4, 1.0)
    assert mtq.suites.task(PONG) == task
    assert mtq.suites.atari(["pong"])["pong"] == task
    assert mtq.suites.atari([PONG], num_envs=3)["pong"].num_envs == 3
    assert mtq.Task("pong", PONG, reward_clip=math.inf, frame_stack=1).spec.observation_shape == (84, 84)
    loaded = mtq.Task.from_config(mtq.Task("pong", PONG, reward_clip=math.inf, frame_stack=2).get_config())
    assert (loaded.reward_clip, loaded.frame_stack) == (math.inf, 2)


def test_settings_are_kept_with_the_task_and_used():
    task = mtq.Task("pong", PONG, env_kwargs={"full_action_space": False, "screen_size": 40, "frame_skip": 2})
    assert (task.num_actions, task.spec.observation_shape) == (6, (40, 40, 4))
    loaded = mtq.Task.from_config(task.get_config())
    assert loaded == task
    copies = make_copies(loaded, 1, 0)
    assert copies.reset().shape == (1, 40, 40, 4)
    assert copies.step(np.zeros(1, int)).next_observation.dtype == np.uint8
    copies.close()


@pytest.mark.parametrize(
    ("env_kwargs", "message"),
    [
        ({"mode": 1}, r"keys of env_kwargs of task 'a' must be among \['frame_skip', .* Received: 'mode'"),
        ({"frame_skip": 0}, r"frame_skip in env_kwargs of task 'a' must be an integer of at least 1"),
        ({"repeat_action_probability": 2}, "repeat_action_probability .* from 0 to 1"),
        ({"full_action_space": "no"}, "full_action_space .* must be True or False"),
    ],
)
def test_settings_that_do_not_exist_are_refused(env_kwargs, message):
    with pytest.raises(ValueError, match=message):
        mtq.Task("a", PONG, env_kwargs=env_kwargs)


def test_games_that_do_not_exist_are_refused():
    with pytest.raises(ValueError, match=r"Received: 'ALE/Pung-v5'. Did you mean 'ALE/Pong-v5'\?"):
        mtq.Task("a", "ALE/Pung-v5")
    with pytest.raises(ValueError, match=r"games must be the names .* Did you mean 'breakout'\?"):
        mtq.suites.atari(["brekout"])
    with pytest.raises(ValueError, match=r"games must be a list"):
        mtq.suites.atari("pong")


def test_without_its_package_the_remedy_is_named(monkeypatch):
    atari.rom_names.cache_clear()
    monkeypatch.setitem(sys.modules, "ale_py", None)
    try:
        with pytest.raises(ValueError, match=r"extra atari: pip install 'mtq-rl\[atari\]'"):
            mtq.Task("a", PONG)
    finally:
        atari.rom_names.cache_clear()


def areas(number, fewer):
    """The matrix that averages numbers over intervals of equal length, `[fewer, number]`."""
    edges = np.arange(fewer + 1)[:, None] * number / fewer
    return np.diff(np.clip(edges - np.arange(number), 0, 1), axis=0) * fewer / number


def test_frames_are_those_of_the_emulator():
    """Each is the maximum of two consecutive frames of the emulator, of which the same action takes four."""
    settings = {"repeat_action_probability": 0.0}
    copies = make_copies(mtq.Task("a", PONG, env_kwargs=settings), 1, 0)
    ale = ale_py.ALEInterface()
    ale.setFloat("repeat_action_probability", 0.0)
    ale.loadROM(ale_py.roms.get_rom_path("pong"))
    ale.reset_game()
    copies.reset()
    random = np.random.default_rng(0)
    total = 0.0
    for _ in range(100):
        action = random.integers(18)
        reward, screens = 0, []
        for _ in range(4):
            reward += ale.act(int(action))
            screens.append(ale.getScreenGrayscale())
        step = copies.step(np.array([action]))
        assert step.reward[0] == reward
        total += abs(reward)
        wanted = areas(210, 84) @ np.maximum(*screens[2:]) @ areas(160, 84).T
        assert np.abs(step.next_observation[0, ..., -1] - wanted).max() < 0.51  # of rounding
    assert total > 0
    copies.close()


def played(task, num_copies, steps, seed=0):
    copies = make_copies(task, num_copies, seed)
    first, random = copies.reset(), np.random.default_rng(1)
    steps = [copies.step(random.integers(task.num_actions, size=num_copies)) for _ in range(steps)]
    copies.close()
    return first, steps


@pytest.mark.parametrize("num_copies", [1, 3])
def test_an_observation_holds_the_last_frames_of_one_game(num_copies):
    task = mtq.Task("a", "ALE/Breakout-v5")
    current, steps = played(task, num_copies, 300)
    ends = 0
    assert (current == current[..., :1]).all()  # the first frame stands for those before it
    for step in steps:
        np.testing.assert_array_equal(step.next_observation[..., :3], current[..., 1:])
        going = ~step.is_last
        np.testing.assert_array_equal(step.observation[going], step.next_observation[going])
        new = step.observation[step.is_last]
        assert (new == new[..., :1]).all()
        assert (step.discount == np.where(step.is_last, 0, 1)).all()
        for index in np.flatnonzero(step.is_last):
            assert (step.next_observation[index, ..., -1] != step.observation[index, ..., -1]).any()
        ends += step.is_last.sum()
        current = step.observation
    assert ends >= num_copies


def test_the_same_seed_gives_the_same_games_and_copies_differ():
    task = mtq.Task("a", "ALE/Breakout-v5", env_kwargs={"noop_max": 30})
    one, other, another = (played(task, 2, 60, seed)[1] for seed in (0, 0, 1))
    for step, same in zip(one, other, strict=True):
        for part, equal in zip(step, same, strict=True):
            np.testing.assert_array_equal(part, equal)
    assert any((step.observation != different.observation).any() for step, different in zip(one, another, strict=True))
    assert any((step.observation[0] != step.observation[1]).any() for step in one)


def test_a_time_limit_truncates():
    _, steps = played(mtq.Task("a", PONG, max_episode_steps=7), 2, 15)
    assert [step.is_last.tolist() for step in steps] == [[number in (6, 13)] * 2 for number in range(15)]
    assert all((step.discount == 1).all() for step in steps)


def test_a_lost_life_ends_the_values_but_not_the_game():
    name, settings = "ALE/Breakout-v5", {"terminal_on_life_loss": True}
    _, whole = played(mtq.Task("a", name), 1, 300)
    _, lives = played(mtq.Task("a", name, env_kwargs=settings), 1, 300)
    games = sum(step.is_last[0] for step in whole)
    assert games == sum(step.is_last[0] for step in lives) > 0
    np.testing.assert_array_equal([step.observation for step in whole], [step.observation for step in lives])
    assert sum(step.discount[0] == 0 for step in whole) == games
    assert sum(step.discount[0] == 0 for step in lives) >= 5 * games


def test_rewards_are_clipped_for_training_only():
    task = mtq.Task("a", "ALE/SpaceInvaders-v5", num_envs=2)
    model = mtq.MultiTaskDQN(
        mtq.networks.shared_q_network(mtq.TaskSet([task]), mtq.networks.minatar_cnn(1, 2)), mtq.TaskSet([task])
    )
    experience = mtq.Experience(model, warmup_steps=400, replay_capacity=400)
    rewards = np.concatenate([batch["a"].reward for batch in experience.batches(64).take(10)])
    assert set(np.unique(rewards)) == {0.0, 1.0}
    assert experience.replays["a"].gather_all().reward.numpy().max() >= 5
    assert experience.replays["a"].num_frames() == 400
    spec = memory_spec(task)
    assert spec.observation.shape == (84, 84, 4)


def test_training_evaluation_and_recording(tmp_path):
    tasks = mtq.suites.atari(["pong", "breakout"], num_envs=2)
    tasks = mtq.TaskSet([dataclasses.replace(task, max_episode_steps=20) for task in tasks.values()])
    model = mtq.MultiTaskDQN(mtq.networks.shared_q_network(tasks, mtq.networks.nature_cnn(8), seed=0), tasks)
    model.compile("adam")
    experience = mtq.Experience(model, warmup_steps=40, replay_capacity=200, n_step=3, steps_per_update=4)
    model.fit(experience.batches(8), steps_per_epoch=5, verbose=0)
    assert experience.env_steps == {"pong": 60, "breakout": 60}
    results = mtq.evaluation.evaluate(model, episodes=3)
    assert results["pong"].lengths.tolist() == [20, 20, 20]
    recorded = mtq.evaluation.record(model, "breakout", tmp_path / "a.gif", max_steps=5)
    assert recorded.lengths.tolist() == [5]
    with Image.open(tmp_path / "a.gif") as image:
        assert image.size == (160, 210)
        assert np.asarray(image.convert("RGB")).std(axis=2).max() > 0  # in color
    model.export(tmp_path / "1")


def test_the_command_line(tmp_path, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(tmp_path)
    (tmp_path / "mtq_test_games.py").write_text(
        "import gymnasium\n"
        "from gymnasium.envs.classic_control import CartPoleEnv\n"
        "gymnasium.register('Short-v0', lambda steps: gymnasium.wrappers.TimeLimit(CartPoleEnv(), steps),"
        " kwargs={'steps': 9})\n"
    )
    settings = "--steps 8 --warmup-steps 16 --evaluations 1 --episodes 1 --num-envs 1 --batch-size 4"
    command = f"train --tasks mtq_test_games:Short-v0 --out first {settings}"
    assert main(command.split()) == 0
    assert main(f"train --tasks Short-v0 --import mtq_test_games --out second {settings}".split()) == 0
    assert main(["evaluate", "second", "--episodes", "1", "--import", "mtq_test_games"]) == 0
    assert "Short" in capsys.readouterr().out
    longer = ["--env-kwargs", '{"Short-v0": {"steps": 11}}']
    assert main([*f"train --tasks Short-v0 --import mtq_test_games --out third {settings}".split(), *longer]) == 0
    assert mtq.runs.load_best("third").tasks["Short"].env_kwargs == {"steps": 11}
    assert main(["evaluate", "second", "--import", "no_such_module"]) == 2
    assert "The module 'no_such_module' must be one that can be imported" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ("{", "--env-kwargs must be a JSON object"),
        ('{"CartPole-v1": 3}', "--env-kwargs must be a JSON object"),
        ('{"CartPole": {}}', "--env-kwargs must name tasks as --tasks does, ['CartPole-v1']. Received: 'CartPole'"),
        ('{"CartPole-v1": {"max_episode_steps": 3}}', "without max_episode_steps"),
    ],
)
def test_arguments_of_environments_that_are_refused(given, message, tmp_path, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert main(["train", "--tasks", "CartPole-v1", "--steps", "8", "--out", "run", "--env-kwargs", given]) == 2
    assert message in capsys.readouterr().err
    assert not (tmp_path / "run").exists()


def test_arguments_of_environments_are_kept(tmp_path):
    task = mtq.Task("lake", "FrozenLake-v1", env_kwargs={"map_name": "8x8"})
    assert task.spec.observation_shape == (64,)
    assert task.reference_return is None  # that of the 4×4 lake is of other settings
    assert mtq.Task("lake", "FrozenLake-v1").spec.observation_shape == (16,)
    mtq.runs.models.save_tasks(mtq.TaskSet([task]), tmp_path / "tasks.json")
    assert mtq.runs.models.load_tasks(tmp_path / "tasks.json")["lake"].make_environment().observation_space.shape == (
        64,
    )
    assert dataclasses.replace(task, num_envs=2).env_kwargs == {"map_name": "8x8"}
    assert hash(task)


@pytest.mark.parametrize(
    ("environment", "env_kwargs", "message"),
    [
        (lambda: gymnasium.make("CartPole-v1"), {"a": 1}, "empty unless the environment is given by its id or name"),
        ("CartPole-v1", {"max_episode_steps": 5}, "without max_episode_steps"),
        ("FrozenLake-v1", {"desc": object()}, "must be JSON values"),
        ("FrozenLake-v1", {"desc": ("SF", "FG")}, "must be JSON values"),
        ("FrozenLake-v1", [1], "must be a dict of arguments"),
    ],
)
def test_arguments_that_cannot_be_kept_are_refused(environment, env_kwargs, message):
    with pytest.raises(ValueError, match=f"env_kwargs of task 'a' .*{message}"):
        mtq.Task("a", environment, env_kwargs=env_kwargs)


def test_arguments_that_the_environment_does_not_take_are_named():
    with pytest.raises(mtq.environments.BrokenEnvironmentError, match="task 'a' raised TypeError in its constructor"):
        mtq.Task("a", "in_graph/CartPole", env_kwargs={"no_such": 1})
    with pytest.raises((ValueError, mtq.environments.BrokenEnvironmentError), match="no_such"):
        mtq.Task("a", "CartPole-v1", env_kwargs={"no_such": 1})


def test_defaults_follow_the_environment_when_a_task_is_changed():
    pong, cart_pole = mtq.Task("a", "ALE/Pong-v5"), mtq.Task("a", "CartPole-v1")
    changed = dataclasses.replace(pong, environment="CartPole-v1", spec=None)
    assert changed == cart_pole
    assert (changed.frame_stack, changed.reward_clip) == (1, None)
    assert dataclasses.replace(cart_pole, environment="ALE/Pong-v5", spec=None) == pong
    given = mtq.Task("a", "ALE/Pong-v5", frame_stack=2, reward_clip=3.0)
    kept = dataclasses.replace(given, environment="CartPole-v1", spec=None)
    assert (kept.frame_stack, kept.reward_clip, kept.spec.observation_shape) == (2, 3.0, (8,))
    for task in (pong, cart_pole, given):
        assert mtq.Task.from_config(json.loads(json.dumps(task.get_config()))) == task


def test_the_id_with_its_module_is_the_same_game():
    assert mtq.Task("a", "ale_py:ALE/Pong-v5") == mtq.Task("a", "ALE/Pong-v5")
    assert mtq.suites.task("ale_py:ALE/Pong-v5") == mtq.suites.task("ALE/Pong-v5")


def test_arguments_are_shared_with_nobody():
    inner = {"desc": ["SFFF", "FHFH", "FFFH", "HFFG"]}
    task = mtq.Task("lake", "FrozenLake-v1", env_kwargs=inner)
    inner["desc"][0] = "SHHH"
    assert task.env_kwargs["desc"][0] == "SFFF"


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--tasks", "mtq_broken:X-v0"], "Received: SyntaxError"),
        (["--tasks", "no_such_module:X-v0"], "Received: ModuleNotFoundError"),
        (
            ["--tasks", "CartPole-v1", "--env-kwargs", '{"CartPole-v1": {"nope": 1}}'],
            "env_kwargs of task 'CartPole' must be arguments of the environment's constructor",
        ),
    ],
)
def test_mistakes_in_the_environment_are_one_message(arguments, message, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(tmp_path)
    (tmp_path / "mtq_broken.py").write_text("def (:\n")
    assert main(["train", *arguments, "--steps", "8", "--out", "run"]) == 2
    assert message in capsys.readouterr().err


def test_a_run_is_not_resumed_with_other_arguments(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    settings = "--steps 8 --warmup-steps 16 --evaluations 1 --episodes 1 --num-envs 1 --batch-size 4"
    command = f"train --tasks FrozenLake-v1 --out run {settings}".split()
    assert main(command) == 0
    record = json.loads((tmp_path / "run" / "run.json").read_text())
    for option in ("env_kwargs", "imports"):  # as written by a version without these options
        del record["options"][option]
    (tmp_path / "run" / "run.json").write_text(json.dumps(record))
    other = ["--env-kwargs", '{"FrozenLake-v1": {"is_slippery": false}}', "--resume"]
    assert main([*command, *other]) == 2
    assert "env_kwargs '{}' → '{\"FrozenLake-v1\": {\"is_slippery\": false}}'" in capsys.readouterr().err


def test_arguments_in_a_file_name_no_module():
    gymnasium.register("MtqMakes-v0", lambda env_id: gymnasium.make(env_id))
    config = mtq.Task("a", "MtqMakes-v0", env_kwargs={"env_id": "CartPole-v1"}).get_config()
    assert mtq.Task.from_config(config).make_environment() is not None
    config["env_kwargs"] = {"url": "http://localhost:80", "env_id": ["this:CartPole-v1"]}
    with pytest.raises(
        ValueError, match=r"env_kwargs of 'a' must be .* Received: 'this:CartPole-v1', which would import a module"
    ):
        mtq.Task.from_config(config).make_environment()


@pytest.mark.thorough
def test_workers_of_a_study_import_the_modules_too(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(tmp_path)
    (tmp_path / "mtq_test_lakes.py").write_text(
        "import gymnasium\n"
        "gymnasium.register('Lakes/Dry-v0', 'gymnasium.envs.toy_text.frozen_lake:FrozenLakeEnv', max_episode_steps=9)\n"
    )
    settings = "--epochs 1 --updates-per-epoch 2 --seeds 1 --workers 1 --warmup-steps 16 --episodes 1 --batch-size 4"
    command = f"study --import mtq_test_lakes --tasks Lakes/Dry-v0 --arms separate --out study {settings}"
    assert main(command.split()) == 0, capsys.readouterr().err


def test_trust_in_one_file_ends_with_its_block(tmp_path, monkeypatch):
    monkeypatch.syspath_prepend(tmp_path)
    (tmp_path / "mtq_trusted.py").write_text("")
    config = mtq.Task("a", "CartPole-v1").get_config() | {"environment": "mtq_trusted:CartPole-v1"}
    with mtq.tasks.trusting_imports():
        assert mtq.Task.from_config(config).make_environment() is not None
    with pytest.raises(ValueError, match="which would import a module"):
        mtq.Task.from_config(config).make_environment()
