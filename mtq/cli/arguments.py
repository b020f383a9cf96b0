"""Types of arguments that commands take."""

import argparse


def count(text: str) -> int:
    """An integer of at least 1, of which `_` may group the digits."""
    try:
        number = int(text.replace("_", ""))
    except ValueError:
        number = 0
    if number < 1:
        raise argparse.ArgumentTypeError(f"must be an integer of at least 1. Received: {text!r}.")
    return number
