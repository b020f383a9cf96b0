"""The recipe's network and protocol are the paper's, and the commands say what they do."""

import numpy as np
import pytest

import mtq
from mtq import cli
from recipes import deramo2020


@pytest.fixture(scope="module")
def tasks():
    return deramo2020.tasks()


def test_network_of_the_paper(tasks):
    shared = deramo2020.make_network(tasks, mtq.study.Arm("shared"))
    assert [layer.activation.__name__ for layer in shared.get_layer("backbone").layers] == ["relu", "sigmoid"]
    sizes = {"cart_pole": (4, 2), "acrobot": (6, 3), "mountain_car": (2, 3), "car_on_hill": (2, 2)}
    sizes["inverted_pendulum"] = (2, 3)
    own = sum(inputs * 80 + 80 + 80 * actions + actions for inputs, actions in sizes.values())
    assert shared.count_params() == own + 2 * (80 * 80 + 80)
    separate = deramo2020.make_network(tasks, mtq.study.Arm("separate", shared_layers=0))
    assert separate.count_params() == own + 5 * 2 * (80 * 80 + 80)


def test_initial_weights_of_the_paper(tasks):
    """Xavier's bound is gain · √(6 / (in + out)), PyTorch's for biases 1 / √in; redrawn from every run's seed."""
    from mtq.networks.initialization import initialize

    network = deramo2020.make_network(tasks, mtq.study.Arm("shared"))
    initialize(network, 3)
    for name, inputs, outputs, gain in [
        ("acrobot_encoder", 6, 80, 2**0.5),
        ("acrobot_q_values", 80, 3, 1.0),
    ]:
        kernel, bias = network.get_layer(name).get_weights()
        bound = gain * np.sqrt(6 / (inputs + outputs))
        assert 0.9 * bound < np.abs(kernel).max() <= bound
        assert 0 < np.abs(bias).max() <= inputs**-0.5
    kernel, bias = network.get_layer("backbone").layers[1].get_weights()
    assert 0.95 < np.abs(kernel).max() / np.sqrt(2 * 6 / 160) <= 1
    assert 0.9 < np.abs(bias).max() * 80**0.5 <= 1


def test_protocol_of_the_paper(tasks):
    protocol = deramo2020.protocol()
    assert protocol.env_steps == 50_000
    assert [task.discount for task in tasks.values()] == [0.99, 0.99, 0.99, 0.95, 0.95]
    assert [task.make_environment().max_episode_steps for task in tasks.values()] == [500, 1000, 1000, 100, 3000]
    assert float(protocol.exploration().at(2_500)) == pytest.approx(0.505)
    assert protocol.optimizer().epsilon == 1e-8
    for arm in [*deramo2020.published_arms(), *deramo2020.arms_beyond()]:
        assert arm.protocol(protocol).env_steps == 50_000


EVALUATIONS = [
    pytest.param(["--evaluation-steps", "40"], marks=pytest.mark.thorough),
    pytest.param(["--episodes", "2"], marks=pytest.mark.slow),
]


@pytest.mark.parametrize("evaluation", EVALUATIONS, ids=lambda it: it[0][2:])
def test_commands_study_and_report(tmp_path, capsys, evaluation):
    command = ["study", "--tasks", "in_graph/Chain,in_graph/Catch", "--arms", "pcgrad+depth=1", "--seeds", "1"]
    command += ["--epochs", "1", "--updates-per-epoch", "20", *evaluation, "--warmup-steps", "8"]
    command += ["--workers", "1", "--out", str(tmp_path / "study")]
    assert cli.main(command) == 0
    assert capsys.readouterr().out.strip() == f"Wrote {tmp_path / 'study' / 'report.html'}"
    (tmp_path / "study" / "report.html").unlink()
    assert cli.main(["report", str(tmp_path / "study")]) == 0
    assert (tmp_path / "study" / "report.html").exists()
    assert cli.main(["report", str(tmp_path)]) == 2
    assert "The folder of a study must hold a study" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--arms", "shard"], "must be made of known parts. Received: 'shard'"),
        (["--tasks", "in_graph/Chian"], "Received: 'in_graph/Chian'"),
        (["--reference", "none"], "reference must name an arm of the study. Received: 'none'"),
    ],
)
def test_errors_of_the_command(tmp_path, capsys, options, message):
    command = ["study", "--tasks", "in_graph/Chain,in_graph/Catch", "--out", str(tmp_path), *options]
    assert cli.main(command) == 2
    assert message in capsys.readouterr().err
