"""What importing does, each in a process of its own."""

import os
import subprocess
import sys

import pytest


def python(code, **environment):
    clean = {name: value for name, value in os.environ.items() if name not in ("TF_USE_LEGACY_KERAS",)}
    return subprocess.run(
        [sys.executable, "-W", "error::UserWarning", "-c", code],
        capture_output=True,
        text=True,
        env={**clean, **environment},
        check=False,
    )


def test_import_prints_nothing_and_loads_no_tensorflow():
    result = python("import mtq, sys; assert 'tensorflow' not in sys.modules; assert 'numpy' not in sys.modules")
    assert (result.returncode, result.stdout, result.stderr) == (0, "", "")


def test_neither_gym_nor_tf_agents_print_and_gyms_own_users_still_get_its_notice():
    notices = "from gym_notices.notices import notices; print(len(notices))"
    result = python(f"from mtq import Task; import mtq; mtq.Experience; mtq.Task; import tf_agents; {notices}")
    assert result.returncode == 0
    assert int(result.stdout) > 0  # and nothing else was printed
    assert "gym" not in result.stderr.lower()
    assert "warning: " not in result.stderr.lower().replace("warning: all log messages before absl", "")


@pytest.mark.parametrize(
    "imports", [pytest.param("import tensorflow, mtq", marks=pytest.mark.slow), "import keras, mtq"]
)
def test_importing_mtq_too_late_says_what_to_do(imports):
    result = python(imports)
    assert result.returncode != 0
    assert "ImportError: mtq must be imported before TensorFlow" in result.stderr
    assert "Put `import mtq` above" in result.stderr


IN_ORDER = ["import mtq, tensorflow", "from mtq import Task"]


@pytest.mark.parametrize(
    "imports", ["import tensorflow, keras, mtq", *(pytest.param(one, marks=pytest.mark.slow) for one in IN_ORDER)]
)
def test_imports_that_work_with_the_variable_or_in_order(imports):
    late = imports.startswith("import tensorflow")
    result = python(f"{imports}; import mtq; mtq.Experience", **({"TF_USE_LEGACY_KERAS": "1"} if late else {}))
    assert result.returncode == 0, result.stderr


def test_keras_knows_our_classes_after_import_mtq_alone_and_what_serves_and_learns_does_not_load_tf_agents():
    registered = "import mtq, keras; print(keras.saving.get_registered_object('mtq>MultiTaskDQN').__name__)"
    serves = "import sys; mtq.MultiTaskDQN; mtq.callbacks; mtq.runs; mtq.suites; import mtq.export"
    result = python(f"{registered}; {serves}; assert 'tf_agents' not in sys.modules")
    assert result.returncode == 0, result.stderr
    assert result.stdout == "MultiTaskDQN\n"


OTHERS = ["callbacks", "cli", "export", "stateful", "target_network", "td_losses", "train_function"]
FIRST = ["networks.rows", *(pytest.param(other, marks=pytest.mark.slow) for other in OTHERS)]


@pytest.mark.parametrize("module", FIRST)
def test_any_module_may_be_the_first_to_be_imported(module):
    code = f"import mtq.{module}, keras; print(keras.saving.get_registered_object('mtq>MultiTaskDQN').__name__)"
    result = python(code)
    assert result.stdout == "MultiTaskDQN\n", result.stderr


def test_an_unknown_name_is_an_attribute_error():
    assert "module 'mtq' has no attribute 'Tsak'" in python("import mtq; mtq.Tsak").stderr
