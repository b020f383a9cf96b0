"""Experience: acting in environments with a policy, and storing and sampling the steps."""

from typing import Any


def __getattr__(name: str) -> Any:
    if name == "Experience":  # imported when it is used, because it needs tf-agents
        from mtq.experience.experience import Experience

        return Experience
    raise AttributeError(f"module 'mtq.experience' has no attribute {name!r}.")
