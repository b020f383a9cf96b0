"""Checkpoints of several processes: one folder for all, and the same bits in each."""

import numpy as np
import pytest

import mtq
from mtq.runs.checkpoint import Checkpoint


@pytest.fixture
def checkpoint(tmp_path, make_model, two_tasks):
    model = make_model()
    return Checkpoint(tmp_path / "checkpoint", model, mtq.Experience(two_tasks, model, warmup_steps=2))


def as_two(monkeypatch, other):
    """As if there were another process, which says what `other` makes of what this one says."""
    monkeypatch.setattr("mtq.runs.checkpoint.has_other_processes", lambda strategy: True)
    monkeypatch.setattr(
        "mtq.runs.checkpoint.sums", lambda _, own: [a + b for a, b in zip(own, other(own), strict=True)]
    )


def test_processes_with_the_same_bits_pass(checkpoint, monkeypatch):
    as_two(monkeypatch, lambda own: own)
    checkpoint._check_equal(1)


@pytest.mark.parametrize("change", ["last bit", "sign", "not a number"])
def test_processes_with_other_bits_are_found(checkpoint, monkeypatch, change):
    said = []
    as_two(monkeypatch, lambda own: said.append(own) or own)
    checkpoint._check_equal(1)
    variable = checkpoint._model.network.trainable_variables[0]
    value = np.array(variable)
    value[0, 0] = {"last bit": np.nextafter(value[0, 0], np.float32(9)), "sign": -value[0, 0], "not a number": np.nan}[
        change
    ]
    variable.assign(value)
    as_two(monkeypatch, lambda own: said[0])
    with pytest.raises(ArithmeticError, match="must hold the same weights, to the bit"):
        checkpoint._check_equal(2)


@pytest.mark.parametrize("blind", [0.0, 1.0])
def test_a_folder_that_another_does_not_see(checkpoint, monkeypatch, blind):
    answers = iter([[0.0], [blind]])  # the file's number is the chief's; whether it is missed
    as_two(monkeypatch, lambda own: next(answers))
    if blind:
        with pytest.raises(ValueError, match=r"1 of them do not see what the chief wrote\. Choose a folder \(--out\)"):
            checkpoint.check_shared()
    else:
        checkpoint.check_shared()
    assert not list(checkpoint.folder.iterdir())
