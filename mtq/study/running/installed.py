"""The packages that only studies need."""

import importlib.util

_PACKAGES = ("rliable", "scipy", "statsmodels")


def check_installed() -> None:
    """Raises an ImportError that says what to install, unless all packages are installed."""
    missing = [package for package in _PACKAGES if importlib.util.find_spec(package) is None]
    if missing:
        raise ImportError(
            f"A study needs packages for statistics. Not installed: {', '.join(missing)}. "
            "Install them by pip install 'mtq[study]', or in a clone of the repository by make setup."
        )
