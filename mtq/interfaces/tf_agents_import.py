"""The import of tf-agents, whose modules need `tf.keras` to be Keras 2 while they are imported, and only then."""

import contextlib
import importlib
import importlib.util
import os
import sys
import warnings
from collections.abc import Iterator
from types import ModuleType
from typing import Any

import tensorflow as tf

from mtq.keras_internals import USES_LEGACY_KERAS

_MODULES = (
    "drivers.driver",
    "drivers.dynamic_step_driver",
    "environments.tf_environment",
    "environments.tf_py_environment",
    "policies.tf_policy",
    "replay_buffers.replay_buffer",
    "replay_buffers.tf_uniform_replay_buffer",
    "specs.tensor_spec",
    "trajectories.policy_step",
    "trajectories.time_step",
)
_VARIABLE = "TF_USE_LEGACY_KERAS"
_MISSING: Any = object()


def import_tf_agents() -> ModuleType | None:
    """Imports tf-agents, regardless of the version of `tf.keras` and of earlier imports.

    Warns:
        UserWarning: tf-agents is installed but cannot be imported.

    Returns:
        The package `tf_agents`, of which the modules that mtq and its tests use are imported. None if it is not
        installed or cannot be imported.
    """
    try:
        with with_legacy_keras(), _quietly():
            for module in _MODULES:
                importlib.import_module(f"tf_agents.{module}")
    except ModuleNotFoundError as error:
        if error.name != "tf_agents":
            _warn(error)
        return None
    except Exception as error:  # whatever its modules raise with the versions that are installed
        _warn(error)
        return None
    return sys.modules["tf_agents"]


@contextlib.contextmanager
def with_legacy_keras() -> Iterator[None]:
    """A context manager in which `tf.keras` is Keras 2, for the import of tf-agents' modules.

    Raises:
        ModuleNotFoundError: tf-agents or tf-keras is not installed.
    """
    if "tf_agents" in sys.modules and sys.modules["tf_agents"] is None:
        raise ModuleNotFoundError("The import of tf_agents is blocked.", name="tf_agents")
    if importlib.util.find_spec("tf_agents") is None:
        raise ModuleNotFoundError("tf-agents is not installed.", name="tf_agents")
    variable = os.environ.get(_VARIABLE)
    modules = [importlib.import_module(f"tensorflow{version}") for version in ("", ".compat.v1", ".compat.v2")]
    places = [(tf, USES_LEGACY_KERAS), *((module, "keras") for module in modules)]
    before = [vars(module).get(name, _MISSING) for module, name in places]
    os.environ[_VARIABLE] = "1"
    try:
        # TensorFlow Probability reads TensorFlow's attribute and the environment variable; tf-agents uses tf.keras.
        legacy_keras = importlib.import_module("tf_keras")
        for module, name in places:
            setattr(module, name, legacy_keras if name == "keras" else True)
        yield
    finally:
        for (module, name), value in zip(places, before, strict=True):
            if value is not _MISSING:
                setattr(module, name, value)
            elif name in vars(module):
                delattr(module, name)
        if variable is None:
            del os.environ[_VARIABLE]
        else:
            os.environ[_VARIABLE] = variable


@contextlib.contextmanager
def _quietly() -> Iterator[None]:
    """A context manager that suppresses the notice that `gym` prints when imported, and warnings about old syntax."""
    try:
        from gym_notices.notices import notices
    except ModuleNotFoundError:
        notices = {}
    saved = dict(notices)
    notices.clear()
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", SyntaxWarning)
            warnings.filterwarnings("ignore", "distutils", DeprecationWarning)
            yield
    finally:
        notices.update(saved)


def _warn(error: Exception) -> None:
    warnings.warn(
        f"tf-agents is installed but could not be imported: {error}. mtq uses its own interfaces instead. "
        "Environments, drivers and replay buffers of tf-agents cannot be used.",
        stacklevel=3,
    )
