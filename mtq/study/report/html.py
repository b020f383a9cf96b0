"""The report as one self-contained HTML page."""

import html
import io
import re
from collections.abc import Sequence

from mtq.study.report.document import Block, Code, Heading, Paragraph, Picture, Table
from mtq.study.report.style import INK

_STYLE = """
:root { color-scheme: light dark; --ink: #1c1c1c; --paper: #ffffff; --soft: #f2f2f0; --line: #d4d4d0;
  --good: #d9efe2; --bad: #f8dccf; }
@media (prefers-color-scheme: dark) { :root { --ink: #e6e6e3; --paper: #181818; --soft: #242424; --line: #454545;
  --good: #17452f; --bad: #5c2a17; } }
body { color: var(--ink); background: var(--paper); font: 16px/1.5 system-ui, sans-serif; max-width: 72rem;
  margin: 2rem auto; padding: 0 1rem; }
h1 { font-size: 1.7rem; } h2 { font-size: 1.25rem; margin-top: 2.5rem; border-top: 1px solid var(--line);
  padding-top: 1.2rem; }
p, figcaption { max-width: 48rem; } figcaption { font-size: .9rem; opacity: .85; }
figure { margin: 1.2rem 0; } figure svg { width: 100%; height: auto; color: var(--ink); }
pre { background: var(--soft); padding: .8rem; overflow-x: auto; border-radius: 6px; }
.table { overflow-x: auto; } table { border-collapse: collapse; font-size: .92rem; margin: .8rem 0; }
th, td { padding: .3rem .7rem; border-bottom: 1px solid var(--line); text-align: right; white-space: nowrap;
  font-variant-numeric: tabular-nums; }
th:first-child, td:first-child { text-align: left; }
td.long { white-space: normal; text-align: left; min-width: 18rem; }
td.good { background: var(--good); } td.bad { background: var(--bad); }
"""
_LONG = 60  # the number of characters above which the text of a cell may wrap


def as_html(title: str, blocks: Sequence[Block]) -> str:
    """Renders a report as an HTML page.

    Args:
        title: The title of the report.
        blocks: The blocks of the report.
    """
    body = "\n".join(_block(block) for block in blocks)
    return (
        f'<!doctype html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n<title>{html.escape(title)}</title>\n'
        f'<meta name="viewport" content="width=device-width, initial-scale=1">\n<style>{_STYLE}</style>\n</head>\n'
        f"<body>\n<h1>{html.escape(title)}</h1>\n{body}\n</body>\n</html>\n"
    )


def _block(block: Block) -> str:
    match block:
        case Heading(text):
            return f"<h2>{html.escape(text)}</h2>"
        case Paragraph(text):
            return f"<p>{html.escape(text)}</p>"
        case Code(text):
            return f"<pre>{html.escape(text)}</pre>"
        case Table():
            return _table(block)
        case Picture():
            return f"<figure>{_svg(block)}<figcaption>{html.escape(block.caption)}</figcaption></figure>"


def _table(table: Table) -> str:
    head = "".join(f"<th>{html.escape(cell)}</th>" for cell in table.header)
    rows = []
    for i, row in enumerate(table.rows):
        cells = []
        for j, cell in enumerate(row):
            classes = f"{table.marks.get((i, j), '')} {'long' if len(cell) > _LONG else ''}".strip()
            attribute = f' class="{classes}"' if classes else ""
            cells.append(f"<td{attribute}>{html.escape(cell)}</td>")
        rows.append(f"<tr>{''.join(cells)}</tr>")
    return f'<div class="table"><table>\n<tr>{head}</tr>\n' + "\n".join(rows) + "\n</table></div>"


def _svg(picture: Picture) -> str:
    """Renders a figure as SVG, whose black becomes the text color of the page."""
    buffer = io.StringIO()
    picture.figure.savefig(buffer, format="svg", transparent=True, metadata={"Date": None})
    text = buffer.getvalue()
    text = text[text.index("<svg") :].replace(INK, "currentColor")
    prefix = picture.name  # makes the ids unique among the pictures of the page
    text = re.sub(r'id="([^"]+)"', rf'id="{prefix}-\1"', text)
    text = re.sub(r"url\(#([^)]+)\)", rf"url(#{prefix}-\1)", text)
    text = re.sub(r'href="#([^"]+)"', rf'href="#{prefix}-\1"', text)
    label = html.escape(picture.caption, quote=True)
    return text.replace("<svg ", f'<svg role="img" aria-label="{label}" ', 1)
