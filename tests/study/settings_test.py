"""Settings of studies that concern the network, that the tasks determine, or that were added to mtq later."""

import json
import re

import pytest

import mtq
from mtq import cli
from mtq.networks import DuelingHead
from mtq.study.design.network import default_network
from tests.messages import error
from tests.study.tiny import chains, tiny_network, tiny_study

Arm = mtq.study.Arm


def heads(study, arm):
    network = study.make_network(study.tasks, study.arms[arm])
    return type(network.get_layer("a_q_values"))


def default_study(arms, **settings):
    return mtq.study.Study(chains(), arms, protocol=mtq.study.Protocol(**settings), seeds=1)


def test_settings_of_the_network_are_the_arms_or_the_protocols():
    study = default_study([Arm("plain"), Arm("dueling", dueling=True)])
    assert heads(study, "dueling") is DuelingHead
    assert heads(study, "plain") is not DuelingHead
    assert "dueling" not in study.arms["plain"].get_config(), "or plans of older studies would differ"
    study = default_study([Arm("plain", dueling=False), Arm("dueling")], dueling=True)
    assert heads(study, "dueling") is DuelingHead
    assert heads(study, "plain") is not DuelingHead
    assert study._plan()["arms"]["dueling"]["dueling"] is True


def test_a_network_of_ones_own_that_ignores_them_is_refused():
    study = tiny_study(arms=[Arm("plain"), Arm("dueling", dueling=True)])
    with pytest.raises(ValueError, match=error("make_network", "Received: dueling=True of arm 'dueling'", "Pass it")):
        study._plan()
    assert tiny_study(arms=[Arm("plain", dueling=False)])._plan()["arms"]["plain"]["dueling"] is False
    assert study.make_network is tiny_network


@pytest.mark.thorough
def test_the_learning_rate_follows_the_tasks_and_stays_that_of_the_runs_in_the_folder(tmp_path):
    study = tiny_study(learning_rate=None)
    assert study.protocol.learning_rate == 1e-3
    assert Arm("a", learning_rate=None).protocol(study.protocol).learning_rate == 1e-3
    begun = tiny_study(seeds=1, learning_rate=0.5).run(tmp_path, workers=1, verbose=0)
    assert begun.results.plan["protocol"]["learning_rate"] == 0.5
    more = tiny_study(seeds=2, learning_rate=None).run(tmp_path, workers=1, verbose=0)
    assert more.results.plan["protocol"]["learning_rate"] == 0.5
    with pytest.raises(ValueError, match=error("A study must keep the same protocol", "0.001", "0.5")):
        tiny_study(seeds=2, learning_rate=1e-3).run(tmp_path, workers=1, verbose=0)


def test_a_plan_that_was_written_before_a_setting_existed_has_its_default(tmp_path):
    tiny_study(seeds=1).run(tmp_path, workers=1, verbose=0)
    plan = json.loads((tmp_path / "study.json").read_text())
    for name in ("dueling", "target_update_tau", "n_step", "cosines_every"):
        del plan["protocol"][name]
    plan["protocol"]["cosines_every"] = 5
    (tmp_path / "study.json").write_text(json.dumps(plan))
    with pytest.raises(ValueError, match=error("must keep the same protocol", '"n_step": 2', '"n_step": 1')):
        tiny_study(seeds=1, n_step=2).run(tmp_path, workers=1, verbose=0)
    tiny_study(seeds=1).run(tmp_path, workers=1, verbose=0)
    assert json.loads((tmp_path / "study.json").read_text())["protocol"]["n_step"] == 1


@pytest.fixture
def planned(monkeypatch):
    """A function of options that returns the study that `mtq study` would make."""
    made = []
    monkeypatch.setattr(mtq.study.Study, "run_shard", lambda study, *_, **__: made.append(study))

    def plan(*options):
        assert cli.main(["study", "--tasks", "in_graph/Chain,in_graph/Catch", "--out", "x", *options]) == 0
        return made[-1]

    return plan


def test_options_of_the_command_are_the_protocols(planned):
    study = planned("--double", "--n-step", "3", "--tau", "0.01", "--episodes", "4", "--final-learning-rate", "1e-5")
    protocol = study.protocol
    assert (protocol.double, protocol.n_step, protocol.target_update_tau) == (True, 3, 0.01)
    assert (protocol.evaluation_episodes, protocol.learning_rate, protocol.final_learning_rate) == (4, 1e-3, 1e-5)
    assert study.make_network is default_network
    default = mtq.study.Protocol().for_tasks(study.tasks)
    assert planned().protocol == default


def test_arms_that_name_no_aggregator_or_weighting_have_the_commands(planned):
    arms = planned("--arms", "shared,pcgrad,famo+sum,separate+weighting=gradnorm").arms
    assert [arm.aggregator for arm in arms.values()] == ["sum", "pcgrad", "sum", "sum"]
    assert [arm.loss_weights for arm in arms.values()] == [None, None, "famo", "gradnorm"]
    weights = ["--aggregator", "mean", "--loss-weights", "chain=2,catch=1"]
    arms = planned("--arms", "shared,pcgrad,famo+aggregator=sum", *weights).arms
    assert [arm.aggregator for arm in arms.values()] == ["mean", "pcgrad", "sum"]
    assert [arm.loss_weights for arm in arms.values()] == [*2 * [{"chain": 2.0, "catch": 1.0}], "famo"]
    assert planned("--arms", "shared", "--weighting", "famo").arms["shared"].loss_weights == "famo"


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--weighting", "famo", "--loss-weights", "chain=1"], ("weighting and loss_weights", "Leave one")),
        (["--tau", "3"], ("target_update_tau of a study must be above 0 and at most 1. Received: 3.0",)),
        (["--arms", "shared+tau="], ("Received: 'tau=' in 'shared+tau='", "tau=R")),
        (["--arms", "shared+warmup_steps=3"], ("Received: 'warmup_steps=3'",)),
        (["--arms", "double=maybe"], ("Received: 'double=maybe'",)),
        (["--arms", "tau=0.1+target_update_tau=0.2"], ("must set target_update_tau only once",)),
    ],
)
def test_errors_of_the_command(options, message, tmp_path, capsys):
    tasks = ["--tasks", "in_graph/Chain,in_graph/Catch", "--out", str(tmp_path / "study")]
    assert cli.main(["study", *tasks, *options]) == 2
    assert re.search(error(*message), capsys.readouterr().err)
    assert not (tmp_path / "study").exists()
