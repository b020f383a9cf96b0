"""A report as blocks, which HTML and Markdown are made of."""

import dataclasses
from collections.abc import Sequence

from matplotlib.figure import Figure


@dataclasses.dataclass(frozen=True)
class Heading:
    """Begins a section."""

    text: str


@dataclasses.dataclass(frozen=True)
class Paragraph:
    """Plain text."""

    text: str


@dataclasses.dataclass(frozen=True)
class Code:
    """Text as it is typed."""

    text: str


@dataclasses.dataclass(frozen=True)
class Table:
    """Rows of text.

    Attributes:
        header: Of the columns.
        rows: As long as the header; the first cell names the row.
        marks: Names for cells that are to stand out, by row and column: `"good"` or `"bad"`.
    """

    header: Sequence[str]
    rows: Sequence[Sequence[str]]
    marks: dict[tuple[int, int], str] = dataclasses.field(default_factory=dict)


@dataclasses.dataclass(frozen=True)
class Picture:
    """A figure.

    Attributes:
        name: Of its file.
        figure: What is drawn.
        caption: What is to be seen.
    """

    name: str
    figure: Figure
    caption: str


Block = Heading | Paragraph | Code | Table | Picture
