"""The style of a report's pictures."""

import math
from typing import Any

import matplotlib as mpl
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from mtq.study.analysis.summary import Summary

INK = "#111213"  # the black that an HTML page replaces by its text color
DOTS = (0, (1, 3))
_COLORS = (  # Okabe and Ito's palette; from the ninth arm on Paul Tol's
    *("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9", "#8c6d31", "#7f7f7f"),
    *("#882255", "#332288", "#999933", "#aa4499"),
)
_LINES = ("-", "-.", ":")  # dashed lines are left for published curves
_STYLE = {
    "svg.fonttype": "none",
    "svg.hashsalt": "mtq",
    "font.family": "sans-serif",
    "font.size": 9.5,
    "text.color": INK,
    "axes.edgecolor": INK,
    "axes.labelcolor": INK,
    "axes.titlecolor": INK,
    "xtick.color": INK,
    "ytick.color": INK,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "legend.frameon": False,
}


def style() -> Any:
    """Returns a context in which figures are drawn and saved in the report's style."""
    return mpl.rc_context(_STYLE)


def arm_styles(summary: Summary) -> list[tuple[str, str, str]]:
    """Returns the name, the color and the line style of each arm."""
    return [
        (name, _COLORS[i % len(_COLORS)], _LINES[i // len(_COLORS) % len(_LINES)])
        for i, name in enumerate(summary.results.names)
    ]


def panels(number: int, row_height: float, share_y: bool = False) -> tuple[Figure, list[Axes]]:
    """Creates a figure with panels, three in a row.

    Args:
        number: The number of panels.
        row_height: The height of a row in inches.
        share_y: Whether the panels share their vertical axis.

    Returns:
        The figure, and the axes of its panels.
    """
    columns = min(number, 3)
    lines = math.ceil(number / columns)
    figure = Figure(figsize=(3.3 * columns, row_height * lines + 0.6), layout="constrained")
    axes = figure.subplots(lines, columns, squeeze=False, sharey=share_y).ravel()
    for unused in axes[number:]:
        unused.set_axis_off()
    return figure, list(axes[:number])
