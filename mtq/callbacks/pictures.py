"""How callbacks write pictures."""

import os
from pathlib import Path

from matplotlib.figure import Figure


def save_figure(figure: Figure, path: Path) -> None:
    """Writes a PNG beside its place first, so that who looks while a run goes on never sees half of one.

    Args:
        figure: What to write.
        path: Its place; missing directories are made.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    beside = path.with_name(f".{path.name}.part")
    figure.savefig(beside, dpi=120, format="png")
    os.replace(beside, path)
