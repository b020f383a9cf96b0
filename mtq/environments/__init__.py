"""Environments: copies of a task's environment, stepped at once, and the checker that says how to fix one.

`gymnasium_environment` and `in_graph` hold their faces towards tf-agents, and need it.
"""

from mtq.environments.checker import check_task
from mtq.environments.copies import EnvironmentCopies, Step
from mtq.environments.make import make_copies
from mtq.errors import BrokenEnvironmentError

__all__ = ["BrokenEnvironmentError", "EnvironmentCopies", "Step", "check_task", "make_copies"]
