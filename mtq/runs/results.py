"""The table of a run's results."""

from collections.abc import Mapping


def results_table(tasks: Mapping[str, Mapping[str, float]]) -> str:
    """Returns a table of mean returns as text, with a line for each task.

    Args:
        tasks: The figures of each task: `"random"`, `"before"`, `"after"` and `"after_std"`, as in `metrics.json`.
    """
    width = max(len("task"), *map(len, tasks))
    lines = [f"{'task':<{width}}  {'random':>9}  {'before':>9}  {'after':>9}  {'± SD':>7}"]
    for name, figures in tasks.items():
        lines.append(
            f"{name:<{width}}  {figures['random']:>9.1f}  {figures['before']:>9.1f}  {figures['after']:>9.1f}  "
            f"{figures['after_std']:>7.1f}"
        )
    return "\n".join(lines)
