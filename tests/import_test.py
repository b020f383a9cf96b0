"""What importing does, each in a process of its own."""

import importlib.util
import itertools
import os
import subprocess
import sys

import pytest


def python(code, *arguments):
    clean = {name: value for name, value in os.environ.items() if name not in ("TF_USE_LEGACY_KERAS",)}
    command = [sys.executable, "-W", "error::UserWarning", "-c", code, *arguments]
    return subprocess.run(command, capture_output=True, text=True, env=clean, check=False)


USE = """
import sys, os
assert tf.keras.__name__ == before, (tf.keras.__name__, before)
tasks = mtq.TaskSet([mtq.Task("a", "CartPole-v1")])
model = mtq.MultiTaskDQN(mtq.networks.shared_q_network(tasks, mtq.networks.mlp([4])), tasks)
model.compile(keras.optimizers.Adam(1e-3), jit_compile=False)
model.fit(mtq.Experience(tasks, model, warmup_steps=4).dataset(2), steps_per_epoch=1, verbose=0)
assert tf.keras.__name__ == before, (tf.keras.__name__, before)
assert "TF_USE_LEGACY_KERAS" not in os.environ
kept = tf.keras.Sequential([tf.keras.layers.Dense(1)])(tf.zeros([1, 2]))
assert isinstance(tf.keras.layers.Dense(1), keras.layers.Dense)
model.save(sys.argv[1])
"""


ORDERS = list(itertools.permutations(("tensorflow as tf", "keras", "mtq")))


@pytest.mark.parametrize(
    "order", [ORDERS[-1], *(pytest.param(order, marks=pytest.mark.thorough) for order in ORDERS[:-1])]
)
def test_any_order_of_imports_and_tf_keras_stays_what_it_was(order, tmp_path):
    """Where mtq comes first, TensorFlow's own Keras is asked for before anything of mtq is used."""
    imports = "\n".join(f"import {name}" for name in order)
    result = python(f"{imports}\nbefore = tf.keras.__name__\n{USE}", str(tmp_path / "model.keras"))
    assert result.returncode == 0, result.stderr
    loads = "\n".join(f"import {name}" for name in order if not name.startswith("tensorflow"))
    result = python(
        f"{loads}\nimport sys; print(type(keras.models.load_model(sys.argv[1])).__name__)",
        str(tmp_path / "model.keras"),
    )
    assert result.stdout == "MultiTaskDQN\n", result.stderr


@pytest.mark.thorough
def test_a_session_in_which_keras_has_been_used_and_one_that_goes_on_with_it():
    used = """
import tensorflow as tf
import keras
model = tf.keras.Sequential([tf.keras.layers.Dense(2)])
model.compile("adam", "mse")
model.fit(tf.zeros([4, 3]), tf.zeros([4, 2]), verbose=0)
public = lambda: (tf.keras.Model, tf.keras.optimizers.Adam, tf.compat.v2.keras.Model, tf.compat.v1.keras.Model)
before = public()
import mtq
mtq.Experience
assert public() == before
model.fit(tf.zeros([4, 3]), tf.zeros([4, 2]), verbose=0)
"""
    result = python(used)
    assert result.returncode == 0, result.stderr


@pytest.mark.thorough
def test_tf_agents_can_be_imported_although_an_import_of_its_own_has_failed():
    result = python("""
import contextlib
with contextlib.suppress(AttributeError, ImportError):
    import tf_agents.environments.tf_environment
import mtq
mtq.Experience
print(mtq.interfaces.HAS_TF_AGENTS)
""")
    assert result.returncode == 0, result.stderr
    assert result.stdout == f"{importlib.util.find_spec('tf_agents') is not None}\n"


@pytest.mark.thorough
def test_tf_agents_can_be_imported_after_mtq_and_its_users_get_the_notice_of_gym():
    if importlib.util.find_spec("tf_agents") is None:  # without importing it, which would fail
        pytest.skip("tf-agents is not installed")
    notices = "from gym_notices.notices import notices; print(len(notices))"
    result = python(f"import mtq; mtq.Experience; import tf_agents; {notices}")
    assert result.returncode == 0, result.stderr
    assert int(result.stdout) > 0  # and nothing else was printed
    assert "gym" not in result.stderr.lower()
    assert "warning: " not in result.stderr.lower().replace("warning: all log messages before absl", "")


@pytest.mark.thorough
def test_what_learns_and_serves_does_not_load_tf_agents():
    result = python(
        "import mtq, sys; mtq.MultiTaskDQN; mtq.callbacks; mtq.runs; mtq.suites; import mtq.export; "
        "assert 'tf_agents' not in sys.modules"
    )
    assert result.returncode == 0, result.stderr


OTHERS = [
    "joint.rows",
    "callbacks",
    "cli",
    "export",
    "pluggable",
    "learning.target_network",
    "experience.experience",
    "study",
]


@pytest.mark.thorough
@pytest.mark.parametrize("module", OTHERS)
def test_any_module_may_be_the_first_to_be_imported(module):
    code = f"import mtq.{module}, keras; print(keras.saving.get_registered_object('mtq>MultiTaskDQN').__name__)"
    result = python(code)
    assert result.stdout == "MultiTaskDQN\n", result.stderr


@pytest.mark.thorough
def test_modules_can_be_imported_by_their_earlier_names():
    names = "from mtq.suites import classic; from mtq.exploration import linear; from mtq.spaces import TaskSpec"
    result = python(f"import mtq.suites; {names}; from mtq.experience import Experience")
    assert result.returncode == 0, result.stderr


def test_an_unknown_name_is_an_attribute_error():
    import mtq

    with pytest.raises(AttributeError, match="module 'mtq' has no attribute 'Tsak'"):
        mtq.Tsak  # noqa: B018


def test_the_command_answers_without_tensorflow():
    help_ = "import sys; sys.argv = ['mtq', '--help']; from mtq.cli import main"
    command = f"{help_}\ntry: main()\nexcept SystemExit: pass"
    result = python(f"{command}\nassert 'tensorflow' not in sys.modules and 'numpy' not in sys.modules")
    assert result.returncode == 0, result.stderr
    assert result.stderr == ""
    assert result.stdout.startswith("usage: mtq")
    assert "evaluate" in result.stdout
