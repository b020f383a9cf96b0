"""Environments: copies of a task's environment, stepped at once, and the checker that says how to mend one.

`mtq.environments.tf_environments` holds what needs tf-agents.
"""

from mtq.environments.checker import check_task
from mtq.environments.copies import EnvironmentCopies, Step

__all__ = ["EnvironmentCopies", "Step", "check_task"]
