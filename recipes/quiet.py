"""Imports TensorFlow without its notices about the machine, for a recipe that is run as a program."""

import importlib.util
import runpy
from pathlib import Path

_mtq = importlib.util.find_spec("mtq")  # without importing it, which would import TensorFlow
assert _mtq is not None
assert _mtq.origin is not None
runpy.run_path(str(Path(_mtq.origin).parent / "cli" / "quiet.py"))["import_tensorflow"]()
