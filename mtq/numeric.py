"""What counts as a number in a setting: Python's and NumPy's, but no bool and no text."""

import numbers
from typing import Any


def is_whole(value: Any) -> bool:
    """Whether this is an integer."""
    return isinstance(value, numbers.Integral) and not isinstance(value, bool)


def is_real(value: Any) -> bool:
    """Whether this is a number on the line, finite or not."""
    return isinstance(value, numbers.Real) and not isinstance(value, bool)
