"""README's example, run as it stands: two minutes."""

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]


@pytest.mark.slow
def test_it_shows_learning_at_each_evaluation_from_the_middle_on(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (code,) = re.findall(r"```python\n(.*?)```", (ROOT / "README.md").read_text(), re.DOTALL)
    names = {}
    exec(compile(code.replace("model.fit(", "history = model.fit("), "README.md", "exec"), names)
    history = names["history"].history
    assert len(history["val_cart_pole/return"]) == 20
    assert min(history["val_cart_pole/return"][10:]) > 150  # a random policy has 22
    assert min(history["val_acrobot/return"][10:]) > -250  # a random policy has -500
    assert names["action"] in (0, 1)
    assert (tmp_path / "saved_models/classic/1/saved_model.pb").exists()
