"""Writing of pictures, each complete or absent."""

import os
from pathlib import Path

from matplotlib.figure import Figure

from mtq.storage.folders import beside, check_kind

_PNG = b"\x89PNG\r\n\x1a\n"


def save_figure(figure: Figure, path: Path) -> None:
    """Writes a PNG beside its place first, so that who looks while a run goes on never sees half of one.

    Args:
        figure: What to write.
        path: Its place; missing directories are made.

    Raises:
        FileExistsError: The file exists and is not a PNG.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    check_picture_place(path)
    with beside(path) as new:
        figure.savefig(new, dpi=120, format="png")
        os.replace(new, path)


def check_picture_place(path: Path) -> None:
    """Raises a FileExistsError if something other than a PNG is at this path."""
    check_kind(path, "picture", ".png file", lambda file: file.read(len(_PNG)) == _PNG)
