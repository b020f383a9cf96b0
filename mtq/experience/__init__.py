"""Experience: acting in environments with a policy, and storing and sampling the steps."""

from typing import Any


def __getattr__(name: str) -> Any:
    if name == "Experience":  # imported on first use, so that `import mtq` stays fast
        from mtq.experience.experience import Experience

        return Experience
    raise AttributeError(f"module 'mtq.experience' has no attribute {name!r}.")
