"""The benchmark programs, with settings so small that the figures mean nothing but the work is all there."""

import contextlib
import importlib
import io
import json
import subprocess
import sys
import time
import warnings
from pathlib import Path

import numpy as np
import pytest
import tensorflow as tf

from benchmarks import best_possible, images, in_turn, same_curves, task_gradients, telemetry, throughput, worker
from benchmarks.systems.work import Work
from mtq.dynamics import Dynamics
from mtq.interfaces import HAS_TF_AGENTS

ROOT = Path(__file__).resolve().parents[1]


SOME, ALL = "mtq_in_graph,tf_agents,mtq_update", "mtq_in_graph,mtq_gymnasium,tf_agents,stable_baselines3,mtq_update"


class InThisProcess(in_turn.Worker):
    """Does without another process, which would import TensorFlow, and compile by XLA."""

    def __init__(self, name, work, python):
        module, class_name = worker._SYSTEMS[name]
        self.system = getattr(importlib.import_module(f"benchmarks.systems.{module}"), class_name)(work)
        self.system.run(self.system.round_to)
        self.name, self.rounds = name, []
        self.first = {"set_up_seconds": 1.0, "first_call_seconds": 1.0, "round_to": self.system.round_to}

    def _order(self, updates):
        before, started = self.system.env_steps(), time.perf_counter()
        self.system.run(updates)
        seconds = time.perf_counter() - started
        return {
            "updates": updates,
            "env_steps": self.system.env_steps() - before,
            "seconds": seconds,
            "peak_gib": worker._peak_gib(),
        }

    def close(self):
        pass


SETTINGS = {"tasks": 1, "rounds": 1, "seconds": 0.2, "warmup_steps": 40, "steps_per_execution": 4}


@pytest.fixture(
    scope="module",
    params=[(SOME, False), *(pytest.param((systems, True), marks=pytest.mark.slow) for systems in (SOME, ALL))],
    ids=["here", "some", "all"],
)
def result(request):
    systems, by_command = request.param
    if not HAS_TF_AGENTS:
        pytest.skip("tf-agents is one of the systems that are compared")
    if not by_command:
        with (
            pytest.MonkeyPatch.context() as patched,
            contextlib.redirect_stdout(io.StringIO()) as printed,
            warnings.catch_warnings(),
        ):
            warnings.simplefilter("ignore")  # what tf-agents imports has some, which a worker's process does not show
            patched.setattr(in_turn, "Worker", InThisProcess)
            print(json.dumps(throughput.measure(throughput.Options(**SETTINGS, systems=systems))))
        return printed.getvalue(), systems.split(",")
    options = [text for name, value in SETTINGS.items() for text in (f"--{name}", str(value))]
    command = [sys.executable, "-m", "benchmarks.throughput", *options, "--systems", systems]
    process = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True)
    return process.stdout, systems.split(",")


@pytest.mark.thorough
def test_the_last_line_is_the_promised_object(result):
    printed, systems = result
    figures = json.loads(printed.splitlines()[-1])
    speeds = figures["env_steps_per_second"]
    assert set(speeds) == {"mtq_in_graph", "mtq_gymnasium", "tf_agents", "stable_baselines3"}
    for name, speed in speeds.items():
        if name not in systems or (name == "stable_baselines3" and in_turn.python_for(name) is None):
            assert speed is None
        else:
            assert speed > 0
    assert figures["ratio_to_tf_agents"]["mtq_in_graph"] == speeds["mtq_in_graph"] / speeds["tf_agents"]
    assert figures["loop_seconds_per_step"] == pytest.approx(4 / speeds["mtq_in_graph"])
    assert figures["update_only_seconds_per_step"] > 0


def test_the_table_says_what_was_compared(result):
    for name in ("mtq, in-graph tasks", "tf-agents DqnAgent, as in its tutorials", "× tf-agents", "first call"):
        assert name in result[0]


@pytest.mark.thorough
def test_the_figures_of_images(monkeypatch, capsys):
    monkeypatch.setattr(in_turn, "Worker", InThisProcess)
    settings = {"games": 1, "rounds": 1, "seconds": 0.2, "warmup_steps": 40, "steps_per_execution": 4}
    figures = images.measure(images.Options(**settings, systems="minatar_in_graph,minatar_package,minatar_update"))
    speeds = figures["frames_per_second"]
    assert all(speed > 0 for speed in speeds.values())
    assert figures["loop_over_update"] == pytest.approx(speeds["minatar_update"] / speeds["minatar_in_graph"])
    assert "mtq, games in the graph" in capsys.readouterr().out


@pytest.mark.thorough
def test_the_figures_of_atari(monkeypatch, capsys):
    monkeypatch.setattr(in_turn, "Worker", InThisProcess)
    settings = {"suite": "atari", "games": 1, "rounds": 1, "seconds": 0.2, "warmup_steps": 40, "steps_per_execution": 2}
    figures = images.measure(images.Options(**settings, systems="atari,atari_update,atari_environments"))
    seconds = figures["seconds_per_update"]
    assert figures["loop_over_update"] == pytest.approx(seconds["atari"] / seconds["atari_update"])
    assert figures["share_of_environments"] == pytest.approx(seconds["atari_environments"] / seconds["atari"])
    assert "mtq, environments only" in capsys.readouterr().out
    with pytest.raises(ValueError, match="suite must be one of"):
        images.measure(images.Options(suite="vectors"))


@pytest.mark.thorough
@pytest.mark.parametrize("system", [pytest.param("mtq_gymnasium", marks=pytest.mark.slow), "tf_agents"])
def test_the_work_is_what_it_claims_to_be(system):
    """One update per 4 environment steps of a task, counted by the system."""
    process = in_turn.Worker(system, Work(tasks=2, warmup_steps=40, steps_per_execution=3), sys.executable)
    process.run(0.1)
    (answer,) = process.rounds
    tasks = 2 if system == "mtq_gymnasium" else 1
    assert answer["env_steps"] == answer["updates"] * 4 * tasks
    process.close()


def test_a_system_that_fails_is_heard():
    with pytest.raises(RuntimeError, match="no_such_system did not answer"):
        in_turn.Worker("no_such_system", Work(), sys.executable)


def test_arms_are_compared_by_the_area_under_their_curves(tmp_path):
    options = same_curves.Options(seeds=2, epochs=2)
    returns = {"in_graph": [[1.0, 3.0], [2.0, 4.0]], "gymnasium": [[1.0, 3.0], [3.0, 5.0]]}
    rows = [
        {"arm": arm, "seed": seed, "epoch": epoch + 1, "task": "car", "return": value}
        for arm, runs in returns.items()
        for seed, run in enumerate(runs)
        for epoch, value in enumerate(run)
    ]
    figures = same_curves.compare(rows, options)["car"]
    assert (figures["in_graph_mean"], figures["gymnasium_mean"]) == (2.5, 3.0)
    assert figures["in_graph_sd"] == pytest.approx(0.5**0.5)
    assert 0.5 < figures["p"] < 0.9  # Welch: t = 0.447 with 1.47 degrees of freedom
    same_curves.draw(rows, options, tmp_path / "curves.png")
    assert (tmp_path / "curves.png").stat().st_size > 1_000


class _Walk(Dynamics):
    """A tenth to the left or to the right; it ends at 1 and costs 1 a step."""

    num_actions = 2

    def initial_state(self, random):
        return tf.zeros([len(random), 2])

    def step(self, state, action, random):
        place = tf.clip_by_value(state[:, 0] + 0.2 * tf.cast(action, tf.float32) - 0.1, 0.0, 1.0)
        return tf.stack([place, tf.zeros_like(place)], axis=-1), -tf.ones_like(place), place > 0.99


class _Rewarded(_Walk):
    """A reward of 1 at place 0.5, where it ends, and none before."""

    def step(self, state, action, random):
        states, _, _ = super().step(state, action, random)
        is_there = states[:, 0] > 0.49
        return states, tf.where(is_there, 1.0, 0.0), is_there


def test_the_best_possible_returns():
    """What is solved by value iteration is known in closed form: −(1 − γⁿ) / (1 − γ), n steps from the end."""
    solved = best_possible.ValueIteration(_Walk(20), 0.9, np.zeros(2), np.ones(2), (11, 2))
    solved.solve(1e-9)
    starts = np.float32([[0.0, 0.0], [0.5, 0.0], [0.9, 0.0]])
    expected = [-(1 - 0.9**n) / 0.1 for n in (10, 5, 1)]
    np.testing.assert_allclose(solved.of(starts), expected, atol=1e-4)
    np.testing.assert_allclose(solved.play(starts, 20), expected, atol=1e-6)
    between = np.array([[0.53, 0.4]])  # on the line from 5 steps to 4
    np.testing.assert_allclose(solved.of(between), 0.7 * expected[1] - 0.3 * (1 - 0.9**4) / 0.1, atol=1e-4)
    assert best_possible.balanced(1.0, 0.99, 500) == pytest.approx(sum(0.99**t for t in range(500)))
    assert best_possible.by_all_sequences(_Rewarded(), 0.9) == pytest.approx(0.9**4)


@pytest.mark.slow
def test_the_best_possible_of_the_study(capsys):
    """On a grid too coarse to be believed closely: MountainCar's best takes 98 steps."""
    best_possible.main(best_possible.Options(positions=90, velocities=60, starts=50, tolerance=1e-2))
    best = json.loads(capsys.readouterr().out.splitlines()[-1])["best"]
    assert -64 < best["mountain_car"] < -62
    assert best["car_on_hill"] == pytest.approx(0.95**18)


@pytest.mark.thorough
def test_every_aggregators_step_is_set_against_the_plain_one(capsys):
    names = ["normalized_sum"]
    options = task_gradients.Options(networks="minatar", tasks="2", aggregators=",".join(names), rounds=1, seconds=0.01)
    rows = task_gradients.measure(options)["rows"]
    assert [(row["network"], row["tasks"], row["aggregator"]) for row in rows] == [
        ("minatar", 2, name) for name in ("plain sum", "plain sum, our pass", *names)
    ]
    for row in rows:
        assert row["ratio_to_sum"] == pytest.approx(row["milliseconds"] / rows[0]["milliseconds"])
    assert len(capsys.readouterr().out.splitlines()) == 1 + len(rows)


@pytest.mark.thorough
@pytest.mark.parametrize("network", ["mlp", pytest.param("minatar", marks=pytest.mark.slow)])
def test_the_plain_steps_learn_what_the_aggregator_sum_does(network):
    """Or the benchmark would be on easier work than it claims."""
    weights = []
    for name in ("plain, joined", "plain, apart", "plain sum, our pass", "sum"):
        loop, model = task_gradients.make_loop(network, 2, name, batch_size=8)
        loop(5)
        weights.append(model.get_weights())
    for plain in weights[:-1]:
        for a, b in zip(plain, weights[-1], strict=True):
            np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-5)


@pytest.mark.slow
def test_the_cost_of_telemetry():
    figures = telemetry.measure(telemetry.Options(rounds=1, updates=200, epochs=1))
    assert figures["cost"] == pytest.approx(figures["with_seconds"] / figures["without_seconds"] - 1)
