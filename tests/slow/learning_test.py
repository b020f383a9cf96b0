"""The recipes reach what their README says. Minutes each: `make test-slow`."""

import pytest

import mtq  # noqa: F401

pytestmark = pytest.mark.slow


@pytest.mark.parametrize("seed", [0, 1, 2])
def test_classic_control(tmp_path, seed):
    from recipes.classic_control import Options, main

    metrics = main(Options(seed=seed, out=str(tmp_path / "run"), export_to=str(tmp_path / "export" / "1")))
    after = {name: figures["after"] for name, figures in metrics["tasks"].items()}
    assert after["cart_pole"] >= 450
    assert after["acrobot"] >= -110
    assert after["mountain_car"] >= -150
    assert metrics["seconds"] < 300


def test_minatar(tmp_path):
    from recipes.minatar import Options, main

    games = ["breakout", "freeway"]
    metrics = main(Options(games, out=str(tmp_path / "run"), export_to=str(tmp_path / "export" / "1")))
    breakout, freeway = metrics["tasks"]["breakout"], metrics["tasks"]["freeway"]
    assert breakout["after"] > 2 * breakout["random"]
    assert freeway["after"] > max(5, 2 * freeway["random"])
    assert metrics["seconds"] < 600
