"""mtq: one network with a shared backbone and a head per task learns several tasks by deep Q-learning.

The names below are imported when they are first used, so that `import mtq` costs nothing and prints nothing.
"""

import importlib
from typing import TYPE_CHECKING, Any

from mtq import _startup

_startup.prepare()

__version__ = "0.1.0"

_SUBMODULES = (
    "aggregators",
    "callbacks",
    "checkpoint",
    "distribution",
    "dynamics",
    "environments",
    "evaluation",
    "exploration",
    "networks",
    "runs",
    "spaces",
    "study",
    "suites",
    "value_learning",
    "weightings",
)
_HOME = {
    "BrokenEnvironmentError": "mtq.environment_error",
    "Experience": "mtq.experience",
    "MultiTaskDQN": "mtq.model",
    "NonFiniteLossError": "mtq.callbacks",
    "Task": "mtq.tasks",
    "TaskSet": "mtq.tasks",
    "Transition": "mtq.value_learning",
}
__all__ = sorted([*_HOME, *_SUBMODULES])

if TYPE_CHECKING:
    from mtq import aggregators as aggregators
    from mtq import callbacks as callbacks
    from mtq import checkpoint as checkpoint
    from mtq import distribution as distribution
    from mtq import dynamics as dynamics
    from mtq import environments as environments
    from mtq import evaluation as evaluation
    from mtq import exploration as exploration
    from mtq import networks as networks
    from mtq import runs as runs
    from mtq import spaces as spaces
    from mtq import study as study
    from mtq import suites as suites
    from mtq import value_learning as value_learning
    from mtq import weightings as weightings
    from mtq.callbacks import NonFiniteLossError as NonFiniteLossError
    from mtq.environment_error import BrokenEnvironmentError as BrokenEnvironmentError
    from mtq.experience import Experience as Experience
    from mtq.model import MultiTaskDQN as MultiTaskDQN
    from mtq.tasks import Task as Task
    from mtq.tasks import TaskSet as TaskSet
    from mtq.value_learning import Transition as Transition


def __getattr__(name: str) -> Any:
    if name in __all__:
        importlib.import_module("keras")  # first, so that every class of mtq is known to Keras from then on
    if name in _SUBMODULES:
        return importlib.import_module(f"mtq.{name}")
    if name in _HOME:
        return getattr(importlib.import_module(_HOME[name]), name)
    raise AttributeError(f"module 'mtq' has no attribute {name!r}. It has: {', '.join(__all__)}.")


def __dir__() -> list[str]:
    return [*globals(), *__all__]
