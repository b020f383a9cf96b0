"""Patterns of error messages."""

import re


def error(*parts):
    """A pattern of messages that contain all of these, in order."""
    return "(?s)" + ".*".join(re.escape(part) for part in parts)
