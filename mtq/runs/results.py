"""What a run came to, as a table."""

from collections.abc import Mapping


def results_table(tasks: Mapping[str, Mapping[str, float]]) -> str:
    """A table of mean returns, a line per task.

    Args:
        tasks: By task what `metrics.json` holds.
    """
    width = max(len("task"), *map(len, tasks))
    lines = [f"{'task':<{width}}  {'random':>9}  {'before':>9}  {'after':>9}  {'± SD':>7}"]
    for name, figures in tasks.items():
        lines.append(
            f"{name:<{width}}  {figures['random']:>9.1f}  {figures['before']:>9.1f}  {figures['after']:>9.1f}  "
            f"{figures['after_std']:>7.1f}"
        )
    return "\n".join(lines)
