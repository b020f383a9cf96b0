"""The report as Markdown, which refers to its pictures in a folder."""

from collections.abc import Sequence

from mtq.study.report.document import Block, Code, Heading, Paragraph, Picture, Table


def as_markdown(title: str, blocks: Sequence[Block], pictures: str) -> str:
    """Renders a report as Markdown.

    Args:
        title: The title of the report.
        blocks: The blocks of the report.
        pictures: The folder of the pictures, relative to the Markdown file.
    """
    return f"# {title}\n" + "\n".join(_block(block, pictures) for block in blocks)


def _block(block: Block, pictures: str) -> str:
    match block:
        case Heading(text):
            return f"\n## {text}"
        case Paragraph(text):
            return f"{text}\n"
        case Code(text):
            return f"```\n{text}\n```\n"
        case Table(header, rows):
            lines = [_row(header), _row(["---", *["---:"] * (len(header) - 1)]), *(_row(row) for row in rows)]
            return "\n".join(lines) + "\n"
        case Picture():
            return f"![{block.caption}]({pictures}/{block.name}.png)\n\n{block.caption}\n"


def _row(cells: Sequence[str]) -> str:
    return f"| {' | '.join(cell.replace('|', '∣') for cell in cells)} |"
