"""The mean return of the latest training episodes."""

import types

from mtq.callbacks import TrainingReturns


def after(*epochs):
    finished = iter(epochs)
    callback = TrainingReturns(types.SimpleNamespace(take_finished=lambda: {"a": next(finished)}, env_steps={"a": 1}))
    logs = {}
    for epoch in range(len(epochs)):
        callback.on_epoch_end(epoch, logs)
    return callback, logs


def test_the_latest_epochs_with_a_hundred_episodes_count():
    callback, logs = after((50, 0.0), (60, 120.0), (0, 0.0), (30, 30.0), (10, 40.0))
    assert callback.latest_mean("a") == (190 / 100, 100)  # of the 60, 30 and 10 episodes
    assert logs == {"a/return": 4.0, "a/env_steps": 1}
    assert after((50, 0.0), (60, 120.0), (30, 30.0), (9, 36.0))[0].latest_mean("a") == (186 / 149, 149)
    assert after((500, 500.0))[0].latest_mean("a") == (1.0, 500)


def test_fewer_episodes_and_none():
    assert after((3, 6.0), (0, 0.0))[0].latest_mean("a") == (2.0, 3)
    assert after((0, 0.0))[0].latest_mean("a") == (None, 0)
    assert after((0, 0.0))[0].latest_mean("other") == (None, 0)
