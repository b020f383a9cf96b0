"""The tables of a report that show what helped and what hurt."""

from collections.abc import Callable, Sequence

from mtq.study.analysis.transfer import HELPED, HURT, NOT_TESTED, Transfer
from mtq.study.report.document import Table

_MARKS = {HELPED: "good", HURT: "bad"}


def verdict_table(
    rows: Sequence[Transfer], tasks: Sequence[str], name: Callable[[Transfer], str], header: str
) -> Table:
    """Creates a table with a row for each arm or pair of arms and a column for each task.

    Args:
        rows: The results of the tests, row by row, each row in the order of the tasks.
        tasks: The names of the tasks.
        name: A function that returns the first cell of a row, given any of the row's tests.
        header: The header of the first column.
    """
    cells, marks = [], {}
    for line, first in enumerate(range(0, len(rows), len(tasks))):
        tests = rows[first : first + len(tasks)]
        cells.append((name(tests[0]), *map(_text, tests)))
        marks.update(
            {(line, column): _MARKS[test.verdict] for column, test in enumerate(tests, 1) if test.verdict in _MARKS}
        )
    return Table((header, *tasks), cells, marks)


def _text(row: Transfer) -> str:
    if row.verdict == NOT_TESTED:
        return f"{row.difference:+.3g} ({NOT_TESTED})"
    p = "p < 0.001" if row.p_corrected < 0.001 else f"p = {row.p_corrected:.3f}"
    return f"{row.verdict}: {row.difference:+.3g} ({p})"
