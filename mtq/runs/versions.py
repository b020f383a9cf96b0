"""The versions of the software that made a run: Python, mtq and the packages that mtq depends on."""

import functools
import importlib.metadata
import platform
import subprocess
from pathlib import Path

_PACKAGES = ("tensorflow", "keras", "tf-agents", "gymnasium", "numpy")


def versions() -> dict[str, str]:
    """Returns the versions of Python, mtq and the packages that mtq depends on, by name."""
    commit = _commit()
    own = f"{_version('mtq-rl')} ({commit})" if commit else _version("mtq-rl")
    return {"python": platform.python_version(), "mtq": own, **{package: _version(package) for package in _PACKAGES}}


def _version(package: str) -> str:
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return "not installed"


@functools.cache
def _commit() -> str:
    """Returns the commit of mtq if it is in a repository, with a + if files have changed since; empty if it is not."""
    git = ["git", "-C", str(Path(__file__).parent)]
    try:
        command = [*git, "describe", "--always", "--dirty=+", "--abbrev=10", "--exclude=*"]
        return subprocess.run(command, capture_output=True, text=True, check=True, timeout=10).stdout.strip()
    except (OSError, subprocess.SubprocessError):
        return ""
