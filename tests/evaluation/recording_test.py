"""Pictures of play: what is recorded, and what cannot be."""

import importlib.util

import gymnasium
import numpy as np
import pytest
from PIL import Image

import mtq
from mtq.cli import main
from mtq.evaluation import record, record_policy
from mtq.tasks import trusting_imports
from tests.toy_environments import CountingEnvironment


def pictures(path):
    """The different pictures of a GIF, and the number of all that were written, of which equal ones are merged."""
    with Image.open(path) as image:
        frames, milliseconds = [], 0
        for number in range(image.n_frames):
            image.seek(number)
            frames.append(np.asarray(image.convert("RGB")))
            milliseconds += image.info["duration"]
        return frames, milliseconds / 50


def always(action):
    return lambda observation: np.full(len(observation), action)


def test_a_game_is_drawn_from_its_channels(tmp_path):
    path = tmp_path / "new" / "freeway.gif"
    played = record_policy(mtq.suites.task("freeway"), always(2), path, max_steps=6, seed=3)
    frames, number = pictures(path)
    assert (played.lengths.tolist(), number) == ([6], 7)
    assert frames[0].shape == (320, 320, 3)
    cells = frames[0][16::32, 16::32]  # the middle of each of the 10 × 10 cells
    assert cells[9, 4].any()  # the chicken
    assert not cells[9, 5].any()
    assert (cells[1:9, 0] == cells[1, 0]).all()  # the cars, all of one color
    assert cells[1, 0].tolist() != cells[9, 4].tolist()
    assert not np.array_equal(frames[0], frames[-1])


@pytest.mark.thorough
def test_a_game_is_shown_to_its_end(tmp_path):
    played = record_policy(mtq.suites.task("breakout"), always(1), tmp_path / "a.gif", episodes=2, seed=1)
    assert pictures(tmp_path / "a.gif")[1] == played.lengths.sum() + 2
    assert (played.lengths < 10_000).all()


@pytest.mark.filterwarnings("ignore:pkg_resources is deprecated")  # by pygame
def test_what_an_environment_renders_is_recorded(tmp_path):
    tasks = mtq.TaskSet([mtq.Task("cart_pole", "CartPole-v1", max_episode_steps=5)])
    model = mtq.MultiTaskDQN(mtq.networks.shared_q_network(tasks, mtq.networks.mlp([4])), tasks)
    played = record(model, "cart_pole", tmp_path / "a.gif")
    frames, number = pictures(tmp_path / "a.gif")
    assert frames[0].shape == (400, 600, 3)
    assert 5 >= played.lengths[0] == number  # the picture of the end is that of the next episode
    own = mtq.Task("own", lambda: gymnasium.make("CartPole-v1", render_mode="rgb_array"))
    record_policy(own, always(0), tmp_path / "b.gif", max_steps=2)
    assert pictures(tmp_path / "b.gif")[0][0].shape == (400, 600, 3)


def test_episodes_that_are_cut_are_different_ones(tmp_path):
    starts = []

    def policy(observation):
        starts.append(observation[0].tolist())
        return np.zeros(1, int)

    class Watched(gymnasium.Env):
        observation_space = gymnasium.spaces.Box(0, 255, (7, 9, 1), np.uint8)
        action_space = gymnasium.spaces.Discrete(2)
        closed = 0

        def reset(self, *, seed=None, options=None):
            super().reset(seed=seed)
            return self.np_random.integers(256, size=(7, 9, 1)).astype(np.uint8), {}

        def step(self, action):
            return np.zeros((7, 9, 1), np.uint8), 0.0, False, False, {}

        def close(self):
            Watched.closed += 1

    task = mtq.Task("a", Watched)
    before = Watched.closed
    record_policy(task, policy, tmp_path / "a.gif", episodes=3, max_steps=1)
    assert len(starts) == 3
    assert starts[0] != starts[1] != starts[2]
    assert Watched.closed == before + 1
    if importlib.util.find_spec("imageio_ffmpeg"):
        record_policy(task, policy, tmp_path / "odd.mp4", max_steps=3, frames_per_second=60)  # of 315 × 245 pixels
        assert (tmp_path / "odd.mp4").stat().st_size > 500

    def fails(observation):
        raise RuntimeError

    with pytest.raises(RuntimeError):
        record_policy(task, fails, tmp_path / "b.gif")
    assert not (tmp_path / "b.gif").exists()
    assert Watched.closed >= before + 2


@pytest.mark.thorough
@pytest.mark.filterwarnings("ignore")  # of Gymnasium about the version, and of pygame
def test_ids_without_a_version_and_of_modules(tmp_path):
    for source in ("MountainCar", "gymnasium.envs.classic_control:MountainCar-v0"):
        task = mtq.Task("a", source, max_episode_steps=3)
        with trusting_imports():
            record_policy(task, always(0), tmp_path / f"{len(source)}.gif")
        assert pictures(tmp_path / f"{len(source)}.gif")[1] == 3


@pytest.mark.thorough
def test_a_video(tmp_path):
    imageio = pytest.importorskip("imageio.v3")
    pytest.importorskip("imageio_ffmpeg")
    for number in (2, 5):
        record_policy(mtq.suites.task("breakout"), always(0), tmp_path / "a.mp4", max_steps=number, overwrite=True)
    assert imageio.improps(tmp_path / "a.mp4").shape[1:] == (320, 320, 3)


def test_what_cannot_be_recorded_is_refused(tmp_path):
    task, there = mtq.suites.task("breakout"), tmp_path / "there.gif"
    there.write_text("mine")
    with pytest.raises(FileExistsError, match="overwrite=True"):
        record_policy(task, always(0), there)
    with pytest.raises(FileExistsError, match=r"over a .gif file"):
        record_policy(task, always(0), there, overwrite=True)
    assert there.read_text() == "mine"
    there.unlink()
    record_policy(task, always(0), there, max_steps=3)
    record_policy(task, always(0), there, max_steps=1, overwrite=True)
    assert pictures(there)[1] == 2
    with pytest.raises(ValueError, match=r"must end in .gif or .mp4. Received: .*a.png"):
        record_policy(task, always(0), tmp_path / "a.png")
    with pytest.raises(ValueError, match="Task 'vector' must have pictures to be recorded"):
        record_policy(mtq.Task("vector", CountingEnvironment), always(0), tmp_path / "a.gif")
    assert not (tmp_path / "a.gif").exists()


@pytest.mark.thorough
def test_the_command_records_runs_and_exports(tmp_path, capsys):
    tasks = mtq.suites.minatar(["breakout", "freeway"])
    model = mtq.MultiTaskDQN(mtq.networks.shared_q_network(tasks, mtq.networks.minatar_cnn(2, 4), seed=0), tasks)
    model.compile()
    model.save(tmp_path / "best.keras")
    mtq.runs.save_tasks(tasks, tmp_path / "tasks.json")
    model.export(tmp_path / "export")
    settings = ["--task", "breakout", "--max-steps", "20"]
    of_run, of_export = str(tmp_path / "run.gif"), str(tmp_path / "export.gif")
    assert main(["record", str(tmp_path), *settings, "--to", of_run]) == 0
    assert "steps of breakout, with a return of" in capsys.readouterr().out
    to_export = ["record", str(tmp_path / "export"), *settings, "--to", of_export]
    assert main([*to_export, "--tasks", str(tmp_path / "tasks.json")]) == 0
    assert main(to_export) != 0
    assert "--tasks must be the tasks.json" in capsys.readouterr().err
    assert main(["record", str(tmp_path), "--to", str(tmp_path / "b.gif")]) != 0
    assert "--task must be one of breakout, freeway" in capsys.readouterr().err
