"""The table of a run's results."""

from collections.abc import Mapping
from typing import Any


def results_table(tasks: Mapping[str, Mapping[str, Any]]) -> str:
    """Returns a table of mean returns as text, with a line for each task.

    Args:
        tasks: The figures of each task: `"random"`, `"before"`, `"after"`, `"after_std"` and, if it is known,
            `"training"`, as in `metrics.json`.
    """
    width = max(len("task"), *map(len, tasks))
    lines = [f"{'task':<{width}}  {'random':>9}  {'before':>9}  {'after':>9}  {'± SD':>7}  {'training':>9}"]
    for name, figures in tasks.items():
        lines.append(
            f"{name:<{width}}  {figures['random']:>9.1f}  {figures['before']:>9.1f}  {figures['after']:>9.1f}  "
            f"{figures['after_std']:>7.1f}  {_optional(figures.get('training')):>9}"
        )
    return "\n".join(lines)


def _optional(figure: float | None) -> str:
    return "–" if figure is None else f"{figure:.1f}"
