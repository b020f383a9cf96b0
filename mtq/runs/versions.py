"""What made a run: the versions of Python and of what mtq stands on."""

import functools
import importlib.metadata
import platform
import subprocess
from pathlib import Path

_PACKAGES = ("tensorflow", "keras", "tf-agents", "gymnasium", "numpy")


def versions() -> dict[str, str]:
    """The versions of Python and of what mtq stands on."""
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
    """The commit that this is of, where it lies in a repository, with a + if files were changed since."""
    git = ["git", "-C", str(Path(__file__).parent)]
    try:
        made_of = [*git, "describe", "--always", "--dirty=+", "--abbrev=10", "--exclude=*"]
        return subprocess.run(made_of, capture_output=True, text=True, check=True, timeout=10).stdout.strip()
    except (OSError, subprocess.SubprocessError):
        return ""
