"""Writes pictures atomically."""

import os
from pathlib import Path

from matplotlib.figure import Figure

from mtq.storage.folders import beside, check_kind

_PNG = b"\x89PNG\r\n\x1a\n"


def save_figure(figure: Figure, path: Path) -> None:
    """Writes a figure as a PNG file, replacing an existing PNG atomically, so that readers never see a partial file.

    Args:
        figure: The figure to write.
        path: The path of the file. Missing folders are created.

    Raises:
        FileExistsError: The path exists and is not a PNG file.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    check_picture_place(path)
    with beside(path) as new:
        figure.savefig(new, dpi=120, format="png")
        os.replace(new, path)


def check_picture_place(path: Path) -> None:
    """Raises a FileExistsError if a path holds anything other than a PNG file.

    Args:
        path: The path to be written.
    """
    check_kind(path, "picture", ".png file", lambda file: file.read(len(_PNG)) == _PNG)
