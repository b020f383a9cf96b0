"""mtq: multi-task deep Q-learning with Keras. One network with a shared backbone and a head per task learns all tasks.

Most names below are imported when they are first used. The classes that a saved model may name are imported at once,
so that `keras.models.load_model` finds them after `import mtq`.
"""

import importlib
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

__version__ = "0.1.0"

# The public modules by name, and the public classes with the modules that define them.
_MODULES = {
    "aggregators": "mtq.aggregators",
    "callbacks": "mtq.callbacks",
    "checkpoint": "mtq.runs.checkpoint",
    "distribution": "mtq.distribution",
    "dynamics": "mtq.dynamics",
    "environments": "mtq.environments",
    "evaluation": "mtq.evaluation",
    "exploration": "mtq.experience.exploration",
    "heads": "mtq.heads",
    "networks": "mtq.networks",
    "presets": "mtq.presets",
    "runs": "mtq.runs",
    "samplers": "mtq.experience.samplers",
    "settings": "mtq.settings",
    "spaces": "mtq.tasks",  # its earlier name
    "study": "mtq.study",
    "suites": "mtq.tasks.suites",
    "tasks": "mtq.tasks",
    "value_learning": "mtq.value_learning",
    "weightings": "mtq.weightings",
}
_CLASSES = {
    "BrokenEnvironmentError": "mtq.errors",
    "Experience": "mtq.experience.experience",
    "MultiTaskDQN": "mtq.learning.model",
    "Munchausen": "mtq.learning.munchausen",
    "NonFiniteLossError": "mtq.errors",
    "Task": "mtq.tasks",
    "TaskSet": "mtq.tasks",
    "Transition": "mtq.value_learning",
}
_COMMANDS = {"mtq.cli", "mtq.play_export", "mtq.cli.play_export"}  # the modules that `python -m` runs
__all__ = sorted([*_CLASSES, *_MODULES])

if TYPE_CHECKING:
    from mtq import aggregators as aggregators
    from mtq import callbacks as callbacks
    from mtq import distribution as distribution
    from mtq import dynamics as dynamics
    from mtq import environments as environments
    from mtq import evaluation as evaluation
    from mtq import heads as heads
    from mtq import networks as networks
    from mtq import presets as presets
    from mtq import runs as runs
    from mtq import settings as settings
    from mtq import study as study
    from mtq import tasks as spaces  # noqa: F401
    from mtq import tasks as tasks
    from mtq import value_learning as value_learning
    from mtq import weightings as weightings
    from mtq.errors import BrokenEnvironmentError as BrokenEnvironmentError
    from mtq.errors import NonFiniteLossError as NonFiniteLossError
    from mtq.experience import exploration as exploration
    from mtq.experience import samplers as samplers
    from mtq.experience.experience import Experience as Experience
    from mtq.learning.model import MultiTaskDQN as MultiTaskDQN
    from mtq.learning.munchausen import Munchausen as Munchausen
    from mtq.runs import checkpoint as checkpoint
    from mtq.tasks import Task as Task
    from mtq.tasks import TaskSet as TaskSet
    from mtq.tasks import suites as suites
    from mtq.value_learning import Transition as Transition


def __getattr__(name: str) -> Any:
    if name in _MODULES:
        return importlib.import_module(_MODULES[name])
    if name in _CLASSES:
        return getattr(importlib.import_module(_CLASSES[name]), name)
    raise AttributeError(f"module 'mtq' has no attribute {name!r}. It has: {', '.join(__all__)}.")


def __dir__() -> list[str]:
    return [*globals(), *__all__]


def _is_command() -> bool:
    """Whether this process is a command of mtq. `mtq --help` and others answer before TensorFlow is imported."""
    program = Path(sys.argv[0]).name if sys.argv else ""
    return program in ("mtq", "mtq.exe") or (program == "-m" and not _COMMANDS.isdisjoint(sys.orig_argv))


if not _is_command():
    importlib.import_module("mtq.learning.model")
    for _name in ("exploration", "samplers", "spaces", "suites"):  # `from mtq.samplers import Prioritized` works too
        sys.modules.setdefault(f"mtq.{_name}", importlib.import_module(_MODULES[_name]))
