"""The blocks of a report, which are rendered as HTML and as Markdown."""

import dataclasses
from collections.abc import Sequence

from matplotlib.figure import Figure


@dataclasses.dataclass(frozen=True)
class Heading:
    """The heading of a section.

    Attributes:
        text: The text of the heading.
    """

    text: str


@dataclasses.dataclass(frozen=True)
class Paragraph:
    """A paragraph of plain text.

    Attributes:
        text: The text of the paragraph.
    """

    text: str


@dataclasses.dataclass(frozen=True)
class Code:
    """Preformatted text, such as a command.

    Attributes:
        text: The text, which is shown unchanged.
    """

    text: str


@dataclasses.dataclass(frozen=True)
class Table:
    """A table of text.

    Attributes:
        header: The headers of the columns.
        rows: The cells of each row, one for each column; the first cell is the name of the row.
        marks: The marks of cells that are highlighted, `"good"` or `"bad"`, by the indices of row and column.
    """

    header: Sequence[str]
    rows: Sequence[Sequence[str]]
    marks: dict[tuple[int, int], str] = dataclasses.field(default_factory=dict)


@dataclasses.dataclass(frozen=True)
class Picture:
    """A figure with its caption.

    Attributes:
        name: The name of the file, without its extension.
        figure: The figure.
        caption: The caption, which is also the text for screen readers.
    """

    name: str
    figure: Figure
    caption: str


Block = Heading | Paragraph | Code | Table | Picture
