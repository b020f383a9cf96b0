"""tf-agents for tests, where it is installed. It must be imported by `mtq.interfaces`, which knows how."""

import importlib

import pytest

from mtq.interfaces import HAS_TF_AGENTS as HAS_TF_AGENTS

needs_tf_agents = pytest.mark.skipif(not HAS_TF_AGENTS, reason="tf-agents is not installed, or its import is blocked")


def tf_agents(module):
    """A module of tf-agents, such as `"specs.array_spec"`; None where there is no tf-agents."""
    return importlib.import_module(f"tf_agents.{module}") if HAS_TF_AGENTS else None
