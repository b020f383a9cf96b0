"""Environments: copies of a task's environment that are stepped at once, and a checker of environments.

The modules `gymnasium_environment` and `in_graph` implement tf-agents' interface and import tf-agents.
"""

from mtq.environments.checker import check_task
from mtq.environments.copies import EnvironmentCopies, Step
from mtq.environments.make import make_copies
from mtq.errors import BrokenEnvironmentError

__all__ = ["BrokenEnvironmentError", "EnvironmentCopies", "Step", "check_task", "make_copies"]
