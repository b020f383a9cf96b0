"""The callback that shows how the tasks' gradients stand to each other."""

import csv

import keras
import numpy as np
import pytest
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

import mtq


def learn(directory, in_graph, every=10, steps_per_execution=20, epochs=2, jit_compile=False):
    prefix, suffix = ("in_graph/", "") if in_graph else ("", "-v1")
    names = {"cart_pole": "CartPole", "acrobot": "Acrobot"}
    tasks = mtq.TaskSet([mtq.Task(name, f"{prefix}{known}{suffix}") for name, known in names.items()])
    model = mtq.MultiTaskDQN(mtq.networks.shared_q_network(tasks, mtq.networks.mlp([8]), seed=0), tasks)
    model.compile("adam", steps_per_execution=steps_per_execution, jit_compile=jit_compile)
    dataset = mtq.Experience(tasks, model, warmup_steps=20).dataset(8)
    telemetry = mtq.callbacks.GradientTelemetry(directory, update_freq=every)
    history = model.fit(dataset, steps_per_epoch=60, epochs=epochs, verbose=0, callbacks=[telemetry])
    return model, dataset, telemetry, history


@pytest.fixture(scope="module", params=[True, False], ids=["in graph", "in Python"])
def watched(request, tmp_path_factory):
    folder = tmp_path_factory.mktemp("watched") / "run"
    return folder, *learn(folder, request.param, jit_compile="auto")


@pytest.fixture(scope="module")
def unwatched(tmp_path_factory):
    """But for the first update."""
    return learn(tmp_path_factory.mktemp("unwatched"), True, every=10**6, jit_compile="auto")


def test_a_line_for_every_look_and_a_picture(watched):
    folder, _, _, telemetry, history = watched
    lines = list(csv.DictReader((folder / "gradients.csv").read_text().splitlines()))
    assert [int(line["update"]) for line in lines] == list(range(0, 120, 10))
    assert set(lines[0]) == {
        *("update", "in_conflict", "cosine/cart_pole/acrobot"),
        *(f"{what}/{task}" for what in ("norm", "weight") for task in ("cart_pole", "acrobot")),
    }
    for line, record in zip(lines, telemetry.records, strict=True):
        assert -1 <= float(line["cosine/cart_pole/acrobot"]) <= 1
        assert float(line["norm/acrobot"]) > 0
        assert (float(line["in_conflict"]) == 1) is (float(line["cosine/cart_pole/acrobot"]) < 0)
        np.testing.assert_allclose(np.diag(record.cosines), 1.0, rtol=1e-5)
    shares = history.history["gradients_in_conflict"]
    assert np.mean(shares) == pytest.approx(np.mean([float(line["in_conflict"]) for line in lines]))
    assert (folder / "gradient_cosines.png").stat().st_size > 1000
    (events,) = folder.glob("events.out.tfevents.*")
    accumulator = EventAccumulator(str(events)).Reload()
    assert set(accumulator.Tags()["scalars"]) == {f"gradients/{name}" for name in set(lines[0]) - {"update"}}
    scalars = accumulator.Scalars("gradients/norm/acrobot")
    assert [event.step for event in scalars] == list(range(0, 120, 10))
    np.testing.assert_allclose([event.value for event in scalars], [float(line["norm/acrobot"]) for line in lines])


@pytest.mark.parametrize("watched", [True], indirect=True, ids=["in graph"])
def test_it_changes_nothing_that_is_learnt_and_can_be_taken_away(watched, unwatched):
    _, model, dataset, telemetry, _ = watched
    for a, b in zip(model.get_weights(), unwatched[0].get_weights(), strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-5, atol=1e-6)
    model.fit(dataset, steps_per_epoch=20, verbose=0)
    assert len(telemetry.records) == 12


@pytest.mark.thorough
def test_looks_are_not_lost_where_an_execution_has_many(tmp_path):
    telemetry = learn(tmp_path, True, every=1, steps_per_execution=60, epochs=1)[2]
    assert [record.update for record in telemetry.records] == list(range(60))


def test_epochs_without_a_look(unwatched):
    assert np.isnan(unwatched[3].history["gradients_in_conflict"]).tolist() == [False, True]


def test_a_run_that_fails_is_seen(tmp_path):
    class Fails(keras.callbacks.Callback):
        def on_train_batch_end(self, batch, logs=None):
            if batch >= 39:
                raise KeyboardInterrupt

    tasks = mtq.TaskSet([mtq.Task("cart_pole", "in_graph/CartPole")])
    model = mtq.MultiTaskDQN(mtq.networks.shared_q_network(tasks, mtq.networks.mlp([8])), tasks)
    model.compile("adam", steps_per_execution=20, jit_compile=False)
    telemetry = mtq.callbacks.GradientTelemetry(tmp_path, update_freq=10)
    dataset = mtq.Experience(tasks, model, warmup_steps=20).dataset(8)
    with pytest.raises(KeyboardInterrupt):
        model.fit(dataset, steps_per_epoch=100, verbose=0, callbacks=[Fails(), telemetry])
    lines = list(csv.DictReader((tmp_path / "gradients.csv").read_text().splitlines()))
    assert [int(line["update"]) for line in lines] == [0, 10, 20, 30]
    assert (tmp_path / "gradient_cosines.png").exists()


@pytest.mark.thorough
def test_another_model_starts_anew_and_two_are_refused(tmp_path):
    _, _, telemetry, _ = learn(tmp_path / "a", True, epochs=1)
    tasks = mtq.TaskSet([mtq.Task("cart_pole", "in_graph/CartPole")])
    model = mtq.MultiTaskDQN(mtq.networks.shared_q_network(tasks, mtq.networks.mlp([8])), tasks)
    model.compile("adam", steps_per_execution=20, jit_compile=False)
    dataset = mtq.Experience(tasks, model, warmup_steps=20).dataset(8)
    telemetry.directory = tmp_path / "b"
    model.fit(dataset, steps_per_epoch=20, verbose=0, callbacks=[telemetry])
    assert [record.norms.shape for record in telemetry.records] == [(1,)] * 2
    with pytest.raises(ValueError, match="fit takes one GradientTelemetry"):
        model.fit(dataset, steps_per_epoch=20, verbose=0, callbacks=[telemetry, telemetry])


def test_the_file_of_other_tasks_is_not_continued(tmp_path):
    (tmp_path / "gradients.csv").write_text("update,in_conflict,cosine/a/b\n")
    with pytest.raises(ValueError, match=r"gradients.csv must be of the tasks \['cart_pole', 'acrobot'\]"):
        learn(tmp_path, True)
    assert (tmp_path / "gradients.csv").read_text() == "update,in_conflict,cosine/a/b\n"


def test_every_must_be_a_whole_number(tmp_path):
    with pytest.raises(ValueError, match=r"update_freq of GradientTelemetry must be an integer .* Received: 0"):
        mtq.callbacks.GradientTelemetry(tmp_path, update_freq=0)
