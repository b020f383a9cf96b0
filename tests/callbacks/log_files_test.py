"""Files that callbacks write: one file for each, of the right kind, with a column for all that is logged."""

import csv
import warnings

import keras
import pytest

from mtq.callbacks import BestCheckpoint, GradientTelemetry, LearningCurves
from tests.trainer.monitors_test import Scripted, fit, model  # noqa: F401

Logger, Checkpoint = keras.callbacks.CSVLogger, keras.callbacks.ModelCheckpoint


def rows(path):
    with path.open() as file:
        return list(csv.DictReader(file))


def test_a_file_that_is_continued_has_the_same_columns(model, tmp_path):  # noqa: F811
    path = tmp_path / "log.csv"
    first = lambda: fit(model, [Logger(str(path), append=True), Scripted([1.0])], epochs=1)  # noqa: E731
    first()
    first()
    assert [row["val_score"] for row in rows(path)] == ["1.0", "1.0"]
    before = path.read_bytes()
    for others in ([], [keras.callbacks.LearningRateScheduler(lambda epoch: 0.1), Scripted([1.0])]):
        with pytest.raises(ValueError, match=r"must have the columns of what is logged.*log\.csv.*lacks.*append=False"):
            fit(model, [Logger(str(path), append=True), *others], epochs=1)
        assert path.read_bytes() == before
    fit(model, [Logger(str(path))], epochs=1)  # which begins anew
    assert "val_score" not in rows(path)[0]
    path.write_bytes(b"")
    first()
    assert len(rows(path)) == 1


def test_a_separator_of_ones_own(model, tmp_path):  # noqa: F811
    for _ in range(2):
        fit(model, [Logger(str(tmp_path / "log.tsv"), separator="\t", append=True)], epochs=1)
    assert len((tmp_path / "log.tsv").read_text().splitlines()) == 3


@pytest.mark.parametrize("adds_logs", [True, False])
def test_what_is_logged_later_is_told(model, tmp_path, adds_logs):  # noqa: F811
    class Own(keras.callbacks.Callback):
        def on_epoch_end(self, epoch, logs=None):
            if epoch:
                logs["mine"] = 1.0

    own = Own()
    own.adds_logs = adds_logs
    with pytest.warns(UserWarning, match=r"no column for \['mine'\]") as told:
        fit(model, [Logger(str(tmp_path / "log.csv")), own], epochs=4)
    assert len(told) == 1
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        fit(model, [own], epochs=3)  # without a file
        fit(model, [Logger(str(tmp_path / "log.csv")), Scripted([1.0], every=3)], epochs=3)


def test_two_callbacks_do_not_write_one_file(model, tmp_path, monkeypatch):  # noqa: F811
    monkeypatch.chdir(tmp_path)
    (tmp_path / "link.keras").symlink_to("a.keras")
    one = lambda: BestCheckpoint(tmp_path / "a.keras", "loss")  # noqa: E731
    for other in (
        BestCheckpoint("a.keras", "a/loss"),
        Checkpoint(str(tmp_path / "a.keras")),
        Checkpoint("link.keras"),
    ):
        with pytest.raises(ValueError, match=r"must write its own file.*which BestCheckpoint and"):
            fit(model, [one(), other], epochs=1)
    for make in (lambda: Logger("a.csv"), lambda: LearningCurves("a.png")):
        with pytest.raises(ValueError, match="must write its own file"):
            fit(model, [make(), make()], epochs=1)
    fit(model, [one(), BestCheckpoint("b.keras", "a/loss"), Logger("a.csv"), Logger("b.csv")], epochs=1)


@pytest.mark.parametrize("path", ["model", "model.h5", "model.weights.h5", "model.keras.bak", ""])
def test_a_model_is_kept_in_a_keras_file(path, tmp_path):
    with pytest.raises(ValueError, match=r"must end in \.keras. Received"):
        BestCheckpoint(tmp_path / path)


@pytest.mark.parametrize("monitor", [None, 3, "", ["loss"]])
def test_a_monitor_is_a_name(model, monitor):  # noqa: F811
    for make in (
        lambda: BestCheckpoint("a.keras", monitor),
        lambda: fit(model, [keras.callbacks.EarlyStopping(monitor)]),
        lambda: fit(model, [keras.callbacks.EarlyStopping(monitor, mode="max")]),
    ):
        with pytest.raises(ValueError, match=r"monitor of .* must be the name of a quantity in the logs"):
            make()


def test_places_of_the_telemetry_are_checked_at_once(tmp_path):
    (tmp_path / "gradient_cosines.png").write_text("mine")
    with pytest.raises(FileExistsError, match="Choose another path"):
        GradientTelemetry(tmp_path)
    with pytest.raises(FileExistsError, match="directory of GradientTelemetry must be a folder"):
        GradientTelemetry(tmp_path / "gradient_cosines.png" / "x")
    with pytest.raises(ValueError, match="must be a folder of this machine"):
        GradientTelemetry("gs://bucket/x")


def test_a_checkpoint_by_updates_that_never_comes_is_told(model, tmp_path):  # noqa: F811
    path = tmp_path / "model.keras"
    with pytest.warns(UserWarning, match=r"saved nothing to '.*model.keras' so far.* in this fit. Received: 1000"):
        fit(model, [Checkpoint(path, save_freq=1_000)], epochs=2)
    assert not path.exists()
    with warnings.catch_warnings():
        warnings.simplefilter("error", UserWarning)
        fit(model, [Checkpoint(path, save_freq=1)], epochs=2)
        assert path.exists()
        fit(model, keras.callbacks.CallbackList([Checkpoint(path, save_freq=1)], model=model), epochs=2)
    of_several_fits = Checkpoint(tmp_path / "later.keras", save_freq=5)
    with pytest.warns(UserWarning, match="so far"):
        fit(model, [of_several_fits], epochs=2)
    with warnings.catch_warnings():
        warnings.simplefilter("error", UserWarning)
        fit(model, [of_several_fits], epochs=2)
        fit(model, [of_several_fits], epochs=2)
    assert (tmp_path / "later.keras").exists()
