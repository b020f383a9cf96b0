"""Evaluation, callbacks and the folder of a run."""

import contextlib
import csv
import io
import json
import re

import keras
import numpy as np
import pytest

import mtq
from mtq.evaluation.evaluator import evaluate, evaluate_random, play
from tests.interop import needs_tf_agents
from tests.toy_environments import Corridor, CountingEnvironment


def test_play_counts_whole_episodes_by_hand():
    played = play(mtq.Task("corridor", Corridor), lambda seen: np.ones(len(seen), int), episodes=4, seed=0)
    assert played.returns.tolist() == [1.0] * 4
    assert played.lengths.tolist() == [3] * 4
    assert (played.mean, played.std) == (1.0, 0.0)


def test_each_episode_counts_once_however_short():
    lengths = iter([2, 9, 4])

    class Uneven(CountingEnvironment):
        def __init__(self):
            super().__init__()
            self.ends_at = next(lengths)

    task = mtq.Task("uneven", Uneven, spec=mtq.Task("counting", CountingEnvironment).spec)
    played = play(task, lambda seen: np.zeros(len(seen), int), episodes=3, seed=0)
    assert played.returns.tolist() == [2.0, 9.0, 4.0]
    assert played.std == pytest.approx(np.std([2, 9, 4], ddof=1))


def test_evaluation_is_greedy_repeatable_and_leaves_the_model_alone(two_tasks, make_model):
    model = make_model()
    model.network.get_layer("corridor_q_values").bias.assign([0.0, 100.0])
    before = model.get_weights()
    first, second = (evaluate(model, episodes=3, seed=5) for _ in range(2))
    assert first["corridor"].returns.tolist() == [1.0] * 3
    for name in two_tasks:
        np.testing.assert_array_equal(first[name].returns, second[name].returns)
    for a, b in zip(before, model.get_weights(), strict=True):
        np.testing.assert_array_equal(a, b)
    assert evaluate_random(two_tasks, episodes=3)["counting"].mean == 5.0


@needs_tf_agents
def test_an_environment_object_cannot_be_evaluated_beside_training(make_model):
    from tf_agents.environments import random_py_environment
    from tf_agents.specs import array_spec

    specs = (array_spec.ArraySpec((2,), np.float32), array_spec.BoundedArraySpec((), np.int32, 0, 1))
    tasks = mtq.TaskSet([mtq.Task("object", random_py_environment.RandomPyEnvironment(*specs))])
    with pytest.raises(ValueError, match="Task 'object' must have an environment that can be created again"):
        evaluate(make_model(tasks))


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    run = mtq.runs.Run(tmp_path_factory.mktemp("finished") / "run", {"seed": 0})
    tasks = mtq.TaskSet([mtq.suites.task("cart_pole", 2), mtq.suites.task("acrobot", 2)])
    model = mtq.MultiTaskDQN(mtq.networks.shared_q_network(tasks, mtq.networks.mlp([16]), seed=0), tasks)
    model.compile(keras.optimizers.Adam(1e-3))
    experience = mtq.Experience(tasks, model, warmup_steps=100, steps_per_update=2)
    before = evaluate(model, episodes=2)
    callbacks = run.callbacks(experience, episodes=2)
    with contextlib.redirect_stdout(io.StringIO()) as printed:
        history = model.fit(experience.dataset(8), epochs=2, steps_per_epoch=20, callbacks=callbacks, verbose=1)
        metrics = run.finish(model, experience, before, episodes=2)
    return run.folder, metrics, history.history, printed.getvalue()


def test_what_a_run_leaves_behind(finished):
    folder, metrics, history, printed = finished
    assert {path.name for path in folder.iterdir()} == {
        "run.json",
        "tasks.json",
        "best.keras",
        "last.keras",
        "log.csv",
        "learning_curves.png",
        "metrics.json",
        "tensorboard",
    }
    assert json.loads((folder / "metrics.json").read_text()) == metrics
    figures = metrics["tasks"]["cart_pole"]
    assert set(figures) == {"random", "before", "after", "after_std", "training", "training_episodes"}
    assert figures["training_episodes"] > 2  # of about 9 steps each, in 180 steps
    assert f"{figures['training']:.1f}" in printed
    assert metrics["tasks"]["acrobot"]["training"] is None  # none of its episodes has ended
    assert metrics["env_steps"] == 2 * (100 + 40 * 2)
    assert metrics["updates"] == 40
    scores = history["val_score"]
    assert metrics["best_epoch"] == max(epoch for epoch, score in enumerate(scores, 1) if score == max(scores))
    assert f"best checkpoint (that of epoch {metrics['best_epoch']})" in printed
    assert metrics["seconds"] > 0
    assert "tensorflow" in json.loads((folder / "run.json").read_text())["versions"]
    assert (folder / "learning_curves.png").read_bytes().startswith(b"\x89PNG")
    assert list((folder / "tensorboard").rglob("events.*"))
    with (folder / "log.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert len(rows) == 2
    for quantity in ("loss", "q_mean", "td_error", "gradient_norm", "weight", "return", "env_steps"):
        assert float(rows[1][f"cart_pole/{quantity}"]) == pytest.approx(history[f"cart_pole/{quantity}"][1])
    assert float(rows[1]["val_cart_pole/return_random"]) == history["val_cart_pole/return_random"][0]
    assert mtq.runs.load_best(folder).tasks["acrobot"].environment == "Acrobot-v1"
    assert re.search(r"task +random +before +after", printed)


def test_the_progress_bar_shows_what_matters(finished):
    printed = finished[-1]
    assert "cart_pole/loss" in printed
    assert "cart_pole/return" in printed
    for hidden in ("td_error", "q_mean", "weight", "gradient_norm", "env_steps", "val_"):
        assert hidden not in printed


def test_the_best_checkpoint_is_the_best_and_always_whole(make_model, tmp_path):
    model = make_model()
    best = mtq.callbacks.BestCheckpoint(tmp_path / "best.keras")
    best.set_model(model)
    bias = model.network.get_layer("corridor_q_values").bias
    for epoch, score in enumerate([0.1, 0.7, 0.3, None, 0.7, 0.5]):
        bias.assign([float(epoch)] * 2)
        best.on_epoch_end(epoch, {} if score is None else {"val_score": score})
    kept = keras.models.load_model(tmp_path / "best.keras")
    assert kept.network.get_layer("corridor_q_values").bias.numpy().tolist() == [4.0, 4.0]
    assert [path.name for path in tmp_path.iterdir()] == ["best.keras"]


def test_scores_by_hand(two_tasks):
    from mtq.callbacks.evaluate_tasks import normalized_return

    with_reference = mtq.Task("a", Corridor, reference_return=10.0)
    assert normalized_return(with_reference, 6.0, 2.0) == pytest.approx(0.5)
    without = mtq.Task("b", Corridor)
    assert normalized_return(without, 6.0, 2.0) == pytest.approx(2.0)
    assert normalized_return(without, 0.5, 0.25) == pytest.approx(0.25)
    assert normalized_return(mtq.Task("c", Corridor, reference_return=-100.0), -300.0, -500.0) == pytest.approx(0.5)


def test_the_score_of_all_tasks_by_hand():
    from mtq.evaluation.evaluator import EpisodeReturns

    def played(value):
        return EpisodeReturns(np.array([value]), np.array([1]))

    tasks = mtq.TaskSet(
        [mtq.Task("a", Corridor, reference_return=10.0), mtq.Task("b", Corridor, reference_return=20.0)]
    )
    callback = mtq.callbacks.EvaluateTasks(tasks=tasks)
    callback.random = {"a": played(0.0), "b": played(0.0)}
    assert callback.score({"a": played(5.0), "b": played(20.0)}) == pytest.approx((0.5 + 1.0) / 2)
    assert callback.score({"a": played(5.0), "b": played(40.0)}) == pytest.approx((0.5 + 1.1) / 2)


def test_evaluation_every_other_epoch_which_says_how_the_tasks_do(two_tasks, make_model, capsys):
    model = make_model()
    experience = mtq.Experience(two_tasks, model, warmup_steps=20)
    evaluation = mtq.callbacks.EvaluateTasks(episodes=2, every=2)
    seen = []
    spy = keras.callbacks.LambdaCallback(on_epoch_end=lambda epoch, logs: seen.append(logs["val_score"]))
    model.fit(experience.dataset(4), epochs=4, steps_per_epoch=2, verbose=0, callbacks=[evaluation, spy])
    assert [np.isnan(score) for score in seen] == [True, False, True, False]
    assert capsys.readouterr().out.count("counting 5.0 ± 0.0 (random 5.0)") == 2


def test_an_episode_that_never_ends_is_cut_off():
    played = play(
        mtq.Task("corridor", Corridor), lambda seen: np.zeros(len(seen), int), episodes=2, seed=0, max_steps=50
    )
    assert played.lengths.tolist() == [50, 50]
    assert played.returns.tolist() == [0.0, 0.0]


@pytest.mark.parametrize("in_a_list", [True, False])
def test_checkpoints_are_saved_after_all_else(make_model, in_a_list):
    """What the others did in an epoch is in them, in whatever order the user gave the callbacks."""
    model, saving, other = make_model(), mtq.callbacks.SaveCheckpoint(None), keras.callbacks.Callback()
    given = [saving, other] if in_a_list else keras.callbacks.CallbackList([saving, other], model=model)
    callbacks = mtq.callbacks.with_defaults(given, 1, model)
    assert getattr(callbacks, "callbacks", callbacks)[-1] is saving
    assert other in getattr(callbacks, "callbacks", callbacks)
