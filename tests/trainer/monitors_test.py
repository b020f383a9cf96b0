"""Callbacks that follow a figure of the logs: in any order, with gaps, in either direction, told if it is missing."""

import csv
import itertools
import math
import types

import keras
import numpy as np
import pytest
import tensorflow as tf
from matplotlib.figure import Figure

import mtq
from mtq.callbacks import (
    BestCheckpoint,
    EvaluateTasks,
    LearningCurves,
    SaveCheckpoint,
    StopOnNonFiniteLoss,
    TrainingReturns,
)
from mtq.evaluation.evaluator import EpisodeReturns
from mtq.learning.default_callbacks import CheckTrainableWeights
from mtq.runs.log import read_log
from mtq.tasks.spec import TaskSpec
from mtq.trainer.csv_columns import CheckColumns
from tests.batches import random_batch

TASKS = mtq.TaskSet([mtq.Task(name, None, spec=TaskSpec((3,), "float32", None, 2)) for name in "ab"])


class Scripted(EvaluateTasks):
    """Evaluations whose scores are given."""

    def __init__(self, scores, every=1):
        super().__init__(every=every, verbose=0)
        self.scores = iter(scores)

    def on_train_begin(self, logs=None):
        played = EpisodeReturns(np.zeros(2), np.ones(2))
        self.random = dict.fromkeys(self.model.tasks, played)
        self._evaluator = self

    def greedy(self, seed):
        return self.random

    def score(self, played):
        return next(self.scores)


Scripted.__module__ = "mtq.scripted"  # so that it counts as one of ours


@pytest.fixture(scope="module")
def model():
    model = mtq.MultiTaskDQN(mtq.networks.shared_q_network(TASKS, mtq.networks.mlp([4])), TASKS)
    model.compile("sgd", jit_compile=False)
    return model


def fit(model, callbacks, epochs=4):
    batches = tf.data.Dataset.from_tensors(random_batch(TASKS)).repeat()
    return model.fit(batches, epochs=epochs, steps_per_epoch=1, verbose=0, callbacks=callbacks).history


def test_all_epochs_have_the_same_logs(model, tmp_path):
    history = fit(model, [keras.callbacks.CSVLogger(str(tmp_path / "log.csv")), Scripted([1.0, 2.0], every=2)])
    np.testing.assert_array_equal(history["val_score"], [math.nan, 1.0, math.nan, 2.0])
    for name, what in itertools.product("ab", ("", "_std", "_random")):
        assert np.isnan(history[f"val_{name}/return{what}"]).tolist() == [True, False, True, False]
    with (tmp_path / "log.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert {*rows[0]} == {"epoch", *history}
    assert [row["val_score"] for row in rows] == ["nan", "1.0", "nan", "2.0"]


def test_a_log_with_gaps_is_read_and_drawn_again(model, tmp_path):
    path = tmp_path / "log.csv"
    fit(model, [Scripted([1.0, 2.0], every=2), keras.callbacks.CSVLogger(str(path))])
    path.write_text(path.read_text().replace("2.0\n", "NA\n").replace("nan\n", "\n"))
    curves = LearningCurves(tmp_path / "curves.png")
    curves.rows = read_log(path)
    assert [row["epoch"] for row in curves.rows] == [1, 2, 3, 4]
    assert [math.isnan(row["val_score"]) for row in curves.rows] == [True, False, True, True]
    history = fit(model, [curves, Scripted([3.0], every=2)], epochs=1)
    assert len(curves.rows) == 5
    assert math.isnan(history["val_score"][0])
    axis = Figure().subplots()
    curves._draw_task(axis, "a", None)
    lines = {line.get_label(): line for line in axis.get_lines()}
    assert lines["greedy, ± SD of episodes"].get_xdata().tolist() == [2, 4]  # joined over the gap
    assert not np.isnan(lines["greedy, ± SD of episodes"].get_ydata()).any()
    assert not np.isnan(lines["random policy"].get_ydata()).any()
    assert lines["highest val_score"].get_xdata().tolist() == [2]  # that of epoch 4 is unknown
    assert (tmp_path / "curves.png").exists()


def test_curves_of_a_run_without_any_figure_yet(tmp_path):
    curves = LearningCurves(tmp_path / "curves.png")
    curves.rows = [{"epoch": 1, "a/return": math.nan, "a/env_steps": 5, "val_a/return": math.nan}]
    axis = Figure().subplots()
    curves._draw_task(axis, "a", None)
    assert not axis.get_lines()


def monitoring(kind, path, monitor, mode):
    return {
        "best": lambda: BestCheckpoint(path, monitor, mode),
        "early": lambda: keras.callbacks.EarlyStopping(monitor, mode=mode, patience=2, restore_best_weights=True),
        "checkpoint": lambda: keras.callbacks.ModelCheckpoint(path, monitor, mode=mode, save_best_only=True),
        "plateau": lambda: keras.callbacks.ReduceLROnPlateau(monitor, mode=mode, patience=2, factor=0.5),
    }[kind]()


KINDS = ("best", "early", "checkpoint", "plateau")


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize(
    ("mode", "comes_first"),
    [
        *(("max", True), ("max", False), ("min", True), ("auto", False)),
        *(pytest.param(*both, marks=pytest.mark.slow) for both in (("min", False), ("auto", True))),
    ],
)
def test_epochs_without_an_evaluation_are_passed_over(model, tmp_path, kind, mode, comes_first):
    """What they do of every second epoch's scores is what they do of the same scores without epochs between."""
    scores = [1.0, 3.0, 2.0, 2.5, 2.0]
    if mode == "min":
        scores = [-score for score in scores]
    path = tmp_path / "model.keras"
    watching = monitoring(kind, str(path), "val_score", mode)
    saved = []
    spy = keras.callbacks.LambdaCallback(
        on_epoch_end=lambda epoch, logs: saved.append(path.exists() and path.stat().st_mtime_ns)
    )
    evaluation = Scripted(scores, every=2)
    history = fit(model, [watching, evaluation, spy] if comes_first else [evaluation, watching, spy], epochs=10)
    if kind in ("best", "checkpoint"):
        changes = [new != old for old, new in itertools.pairwise([False, *saved])]
        assert np.flatnonzero(changes).tolist() == [1, 3]
        assert watching.best == scores[1]
    if kind == "early":
        assert watching.stopped_epoch == 7
        assert watching.best_epoch == 3
    if kind == "plateau":
        rates = history["learning_rate"]
        assert len(rates) == 10
        assert rates[7] > rates[8]
        assert np.unique(rates).size == 2


ORDERS = [(0, 1, 2, 3), (3, 2, 1, 0), (1, 3, 0, 2), (2, 0, 3, 1)]  # each two of them either way round
OTHERS = [order for order in itertools.permutations(range(4)) if order not in ORDERS]


@pytest.mark.parametrize("order", [*ORDERS, *(pytest.param(order, marks=pytest.mark.slow) for order in OTHERS)])
def test_any_order_saves_and_records_the_same(model, tmp_path, order):
    best, board = tmp_path / "best.keras", tmp_path / "board"
    given = [
        BestCheckpoint(best),
        Scripted([1.0, 2.0]),
        keras.callbacks.CSVLogger(str(tmp_path / "log.csv")),
        keras.callbacks.TensorBoard(str(board), write_graph=False),
    ]
    fit(model, [given[place] for place in order], epochs=1)
    assert best.exists()
    assert "val_score" in (tmp_path / "log.csv").read_text()
    assert list(board.rglob("validation/events*"))


@pytest.mark.parametrize("as_list", [True, False])
def test_what_adds_logs_is_called_first_and_what_records_them_last(model, as_list):
    class Own(keras.callbacks.Callback):
        adds_logs = True

    experience = types.SimpleNamespace(take_finished=dict, env_steps={})
    first, other, own = Own(), keras.callbacks.Callback(), keras.callbacks.Callback()
    returns, saving, curves = TrainingReturns(experience), SaveCheckpoint(None), LearningCurves("x.png")
    early = keras.callbacks.EarlyStopping("a/loss")
    logger = keras.callbacks.CSVLogger("x.csv")
    given = [saving, logger, curves, early, other, returns, own, first]
    callbacks = given if as_list else keras.callbacks.CallbackList(given, model=model)
    ordered = mtq.callbacks.with_defaults(callbacks, 0, model)
    got = [getattr(callback, "callback", callback) for callback in getattr(ordered, "callbacks", ordered)]
    got = [one for one in got if not isinstance(one, StopOnNonFiniteLoss | CheckTrainableWeights | CheckColumns)]
    assert got == [returns, first, early, other, own, logger, curves, saving]
    if not as_list:
        assert callbacks.callbacks == given  # the user's own list is as it was


def test_a_callback_list_is_used_again(model, tmp_path):
    best = BestCheckpoint(tmp_path / "best.keras")
    callbacks = keras.callbacks.CallbackList([best, Scripted([1.0, 2.0])], add_history=True, model=model)
    for _ in range(2):
        fit(model, callbacks, epochs=1)
    assert best.best == 2.0
    assert len(callbacks.callbacks) == 3


@pytest.mark.parametrize("kind", KINDS)
def test_a_monitor_that_is_not_there_is_told(model, tmp_path, kind):
    watching = monitoring(kind, str(tmp_path / "model.keras"), "val_scor", "max")
    with pytest.raises(
        ValueError, match=r"(?s)monitor of .* Received: 'val_scor'.* Did you mean 'val_score'.*EvaluateTasks"
    ):
        fit(model, [watching, Scripted([1.0] * 4)])
    own = keras.callbacks.LambdaCallback()  # which might add it later
    with (
        pytest.warns(UserWarning, match="monitor of .* Received: 'val_scor'"),
        pytest.warns(UserWarning, match="nothing"),
    ):
        fit(model, [watching, own, Scripted([1.0] * 4)])
    assert not (tmp_path / "model.keras").exists()


@pytest.mark.parametrize("kind", KINDS)
def test_a_monitor_without_a_single_figure_is_told(model, tmp_path, kind):
    watching = monitoring(kind, str(tmp_path / "model.keras"), "val_score", "max")
    with pytest.warns(UserWarning, match="has done nothing: its monitor 'val_score' was not a number in any of the 4"):
        fit(model, [watching, Scripted([], every=5)])
    assert not (tmp_path / "model.keras").exists()


@pytest.mark.parametrize(
    ("monitor", "mode"),
    [("val_score", "max"), ("val_a/return", "max"), ("loss", "min"), ("b/loss", "min"), ("a/td_error", "min")],
)
@pytest.mark.parametrize("kind", KINDS)
def test_the_direction_of_what_mtq_logs_is_known(model, tmp_path, kind, monitor, mode):
    watching = monitoring(kind, str(tmp_path / "model.keras"), monitor, "auto")
    fit(model, [watching, Scripted([1.0])], epochs=1)
    assert watching.mode == mode


@pytest.mark.parametrize("monitor", ["a/q_mean", "gradients_in_conflict", "my_score", "score/return_std"])
@pytest.mark.parametrize("kind", KINDS)
def test_a_monitor_without_a_direction_is_refused(model, tmp_path, kind, monitor):
    with pytest.raises(ValueError, match=f"mode of .* {monitor!r} is better. Received: 'auto'. Pass mode='max'"):
        fit(model, [monitoring(kind, str(tmp_path / "model.keras"), monitor, "auto")])


def test_the_best_of_what_should_be_small(model, tmp_path):
    best = BestCheckpoint(tmp_path / "best.keras", "my_loss", mode="min")
    losses = iter([3.0, 1.0, 2.0])
    own = keras.callbacks.LambdaCallback(on_epoch_end=lambda epoch, logs: logs.update(my_loss=next(losses)))
    fit(model, [own, best], epochs=3)
    assert best.best == 1.0
    with pytest.raises(ValueError, match=r"mode of BestCheckpoint must .* Received: 'least'"):
        BestCheckpoint("best.keras", mode="least")


def test_the_best_between_epochs_is_not_by_a_figure_of_epochs(model, tmp_path):
    def keras_checkpoint(monitor):
        path = str(tmp_path / "model.keras")
        return keras.callbacks.ModelCheckpoint(path, monitor, save_best_only=True, save_freq=1)

    with pytest.raises(ValueError, match=r"save_freq of ModelCheckpoint must be 'epoch'.*Received: 1"):
        fit(model, [keras_checkpoint("val_score"), Scripted([1.0])])
    fit(model, [keras_checkpoint("a/loss")], epochs=1)


def test_a_checkpoint_of_every_epoch_needs_no_monitor(model, tmp_path):
    fit(model, [keras.callbacks.ModelCheckpoint(str(tmp_path / "model_{epoch}.keras"))], epochs=2)
    assert len(list(tmp_path.iterdir())) == 2


def training_returns(model):
    return TrainingReturns(types.SimpleNamespace(take_finished=dict, env_steps={}))


@pytest.mark.parametrize("make_one", [lambda model: Scripted([1.0]), training_returns])
def test_two_that_write_the_same_logs_are_refused(model, make_one):
    with pytest.raises(ValueError, match=r"fit takes one (EvaluateTasks|TrainingReturns)"):
        fit(model, [make_one(model), make_one(model)])
