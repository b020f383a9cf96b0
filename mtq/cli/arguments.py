"""Types of command-line arguments, and the format of help texts."""

import argparse


class HelpFormatter(argparse.ArgumentDefaultsHelpFormatter, argparse.RawDescriptionHelpFormatter):
    """Shows the default of every option that has one, and keeps the line breaks of descriptions and epilogs."""

    def _get_help_string(self, action: argparse.Action) -> str | None:
        has_default = action.default is not None and action.default is not False and action.default != ""
        return super()._get_help_string(action) if has_default else action.help


def count(text: str) -> int:
    """Converts the text of an argument to an integer of at least 1.

    Args:
        text: The digits, which may be grouped by `_`.

    Raises:
        ArgumentTypeError: The text is not an integer of at least 1.
    """
    try:
        number = int(text.replace("_", ""))
    except ValueError:
        number = 0
    if number < 1:
        raise argparse.ArgumentTypeError(f"must be an integer of at least 1. Received: {text!r}.")
    return number
