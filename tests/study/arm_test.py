"""Arms: what they take, what they refuse, and how they are written down."""

import functools
import json

import keras
import numpy as np
import pytest

import mtq
from mtq.study.running.compiled_arm import CompiledArm
from tests.study.tiny import tiny_network, tiny_study


def test_schedules_of_weights():
    arm = mtq.study.Arm("a", loss_weights={"a": keras.optimizers.schedules.PolynomialDecay(1.0, 100, 0.5), "b": 1.0})
    study = tiny_study(arms=[arm])
    assert study._plan()["arms"]["a"]["loss_weights"]["a"]["class_name"] == "PolynomialDecay"


def test_losses_of_keras():
    """Of an arm, and of all arms: as JSON, with their arguments."""
    study = tiny_study(arms=[mtq.study.Arm("own", loss=keras.losses.Huber(delta=10.0))], loss=keras.losses.LogCosh())
    plan = json.loads(json.dumps(study._plan()))
    assert (plan["protocol"]["loss"]["class_name"], plan["arms"]["own"]["loss"]["class_name"]) == ("LogCosh", "Huber")
    assert repr(study.arms["own"]).endswith("loss=Huber(reduction=sum_over_batch_size, delta=10.0))")
    for as_it_is in ("mse", {"class_name": "Huber", "config": {"delta": 10.0}, "module": "keras.losses"}):
        assert mtq.study.Arm("own", loss=as_it_is).settings["loss"] == as_it_is  # or older folders would be refused
    assert mtq.study.Arm("own", loss=keras.losses.Huber(delta=np.float32(2))).settings["loss"]["config"]["delta"] == 2
    again = mtq.study.Arm(**mtq.study.Arm("own", loss=keras.losses.Huber(delta=10.0)).get_config())
    model = CompiledArm(study.tasks, again, again.protocol(study.protocol), tiny_network).model
    errors = np.zeros(2, np.float32), np.float32([5, 97])
    assert float(model.td_loss.of_values(*errors)) == pytest.approx((5**2 / 2 + 920) / 2)


def huber(targets, values):
    """Has the name of one of Keras."""
    return 7 * (targets - values) ** 2


class Huber(keras.losses.Loss):
    """Likewise."""

    def call(self, y_true, y_pred):
        return huber(y_true, y_pred)


@pytest.mark.parametrize(
    "loss",
    [
        huber,
        Huber(),
        lambda t, p: t - p,
        functools.partial(keras.losses.huber, delta=10.0),
        {"module": "of_mine", "class_name": "Mine", "config": {}, "registered_name": "of_mine>Mine"},
    ],
    ids=lambda loss: type(loss).__name__,
)
def test_losses_that_no_run_could_make_again_are_refused(loss):
    for settings_of in (mtq.study.Protocol, lambda **settings: mtq.study.Arm("a", **settings)):
        with pytest.raises(ValueError, match="a name or a loss of Keras"):
            settings_of(loss=loss)


@pytest.mark.parametrize("loss", [keras.losses.CosineSimilarity(axis=0), keras.losses.Huber(dtype="float64")])
def test_losses_whose_config_leaves_something_out_are_refused(loss):
    with pytest.raises(ValueError, match="config holds all arguments"):
        mtq.study.Arm("a", loss=loss)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"doubel": True}, "settings of arm 'a' must be known ones. Received: 'doubel'"),
        ({"epochs": 3}, "epochs must be the same for all arms"),
        ({"width": 0}, "width of arm 'a' must be above 0"),
        ({"aggregator": "pcgard"}, "pcgrad"),
        ({"loss": "hubber"}, "loss must be one of"),
    ],
)
def test_errors_of_an_arm(settings, message):
    with pytest.raises(ValueError, match=message):
        mtq.study.Arm("a", **settings)


def test_arms_as_the_command_line_names_them():
    from mtq.study.design.parsing import parse_arm

    assert parse_arm("shared+loss=squared").settings == {"loss": "squared"}
    assert parse_arm("double+tau=0.01+evaluates_target").settings == {
        "double": True,
        "target_update_tau": 0.01,
        "evaluates_target": True,
    }
    arm = parse_arm("famo+upgrad+depth=1+width=2+double")
    assert arm.get_config() == {
        "name": "famo+upgrad+depth=1+width=2+double",
        "shared_layers": 1,
        "width": 2.0,
        "parameters_of": None,
        "aggregator": "upgrad",
        "loss_weights": "famo",
        "double": True,
    }
    assert parse_arm("random_weighting").aggregator == "random_weighting"  # the name before 0.2
    assert parse_arm("separate+matched=shared").parameters_of == "shared"
    with pytest.raises(ValueError, match=r"Received: 'shard' in 'shard\+double'"):
        parse_arm("shard+double")
    with pytest.raises(ValueError, match="must set aggregator only once"):
        parse_arm("mean+sum")
