"""Tasks and task sets: their settings, and the specs that are read from their environments and checked."""

from mtq.storage.trust import import_environments, trusting_imports
from mtq.tasks.environment_source import IN_GRAPH, make_environment
from mtq.tasks.spec import TaskSpec, read_spec
from mtq.tasks.task import Task, TaskSet, check_tasks

__all__ = [
    "IN_GRAPH",
    "Task",
    "TaskSet",
    "TaskSpec",
    "check_tasks",
    "import_environments",
    "make_environment",
    "read_spec",
    "trusting_imports",
]
