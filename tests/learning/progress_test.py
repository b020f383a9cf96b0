"""What `fit` prints: a bar in a terminal, a line for each epoch elsewhere."""

import io
import re
import sys

import keras
import pytest
import tensorflow as tf

import mtq
from mtq.learning.default_callbacks import TaskProgress
from mtq.trainer import keras_trainer
from tests.batches import random_batch
from tests.toy_environments import Corridor, CountingEnvironment


class Terminal(io.StringIO):
    """Standard output that is a terminal or not."""

    def __init__(self, is_terminal):
        super().__init__()
        self._is_terminal = is_terminal

    def isatty(self):
        return self._is_terminal


@pytest.fixture(scope="module")
def model():
    tasks = mtq.TaskSet([mtq.Task("corridor", Corridor, num_envs=2), mtq.Task("counting", CountingEnvironment)])
    model = mtq.MultiTaskDQN(mtq.networks.shared_q_network(tasks, mtq.networks.mlp([4]), seed=0), tasks)
    model.compile(keras.optimizers.SGD(1e-3))
    return model


@pytest.fixture
def printed(model, monkeypatch):
    def fit(is_terminal, **options):
        output = Terminal(is_terminal)
        batches = tf.data.Dataset.from_tensors(random_batch(model.tasks)).repeat()
        monkeypatch.setattr(sys, "stdout", output)
        history = model.fit(batches, steps_per_epoch=30, epochs=2, **options).history
        monkeypatch.undo()
        return output.getvalue(), history

    return fit


def losses(line):
    return [float(number) for number in re.findall(r"loss: (\S+)", line)]


@pytest.mark.parametrize("options", [{}, {"verbose": "auto"}, {"verbose": 2}], ids=str)
def test_elsewhere_there_is_a_line_for_each_epoch(options, printed):
    text, history = printed(is_terminal=False, **options)
    assert "\r" not in text
    assert "\b" not in text
    lines = text.splitlines()
    assert [line.split(" - ")[0] for line in lines] == ["Epoch 1/2", "30/30", "Epoch 2/2", "30/30"]
    for line, *of_epoch in zip(lines[1::2], history["corridor/loss"], history["counting/loss"], strict=True):
        assert re.search(r"/step - corridor/loss: \S+ - counting/loss: \S+$", line)
        assert losses(line) == pytest.approx(of_epoch, abs=1e-4)


@pytest.mark.parametrize(("is_terminal", "options"), [(True, {}), (False, {"verbose": 1}), (True, {"verbose": 1})])
def test_a_bar_in_a_terminal_or_where_it_is_asked_for(is_terminal, options, printed):
    text, history = printed(is_terminal, **options)
    assert text.count("\r") >= 4
    assert "━━━" in text
    last = text.splitlines()[-1].rpartition("\r")[2]
    assert "30/30" in last
    assert losses(last) == pytest.approx([history["corridor/loss"][1], history["counting/loss"][1]], abs=1e-4)
    assert "gradient_norm" not in text


def test_lines_in_a_terminal_where_they_are_asked_for(printed):
    assert "\r" not in printed(is_terminal=True, verbose=2)[0]
    assert printed(is_terminal=True, verbose=0)[0] == ""


@pytest.mark.parametrize("given", [TaskProgress, keras.callbacks.ProgbarLogger])
def test_a_bar_that_is_given_is_the_only_one(given, printed):
    text, _ = printed(is_terminal=False, verbose=2, callbacks=[given()])
    assert [line for line in text.splitlines() if line.startswith("Epoch")] == ["Epoch 1/2", "Epoch 2/2"]
    assert issubclass(TaskProgress, keras.callbacks.ProgbarLogger)


def test_where_bars_are_shown(monkeypatch):
    monkeypatch.delenv("PYCHARM_HOSTED", raising=False)
    for stdout, shows in ((Terminal(True), True), (Terminal(False), False), (None, False)):
        monkeypatch.setattr(sys, "stdout", stdout)
        assert keras_trainer.shows_bars() == shows
    monkeypatch.setitem(sys.modules, "ipykernel", object())
    assert keras_trainer.shows_bars()


def test_means_over_the_epoch_are_not_averaged_again(model, capsys):
    """The logs of a batch are means over the epoch so far."""
    bar = TaskProgress()
    bar.set_model(model)
    bar.set_params({"verbose": 2, "epochs": 1, "steps": 3})
    bar.on_train_begin()
    bar.on_epoch_begin(0)
    for batch in range(3):
        bar.on_train_batch_end(batch, {"corridor/loss": float(batch), "corridor/q_mean": 7.0})
    bar.on_epoch_end(0, {"corridor/loss": 2.0, "counting/return": 9.0, "other": 1.0})
    assert capsys.readouterr().out.rstrip().endswith("/step - corridor/loss: 2.0000 - counting/return: 9.0000")
