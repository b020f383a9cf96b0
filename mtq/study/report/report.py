"""The report of a study: HTML, Markdown, pictures, and a CSV file of every number."""

import contextlib
import functools
import re
from collections.abc import Sequence
from pathlib import Path

from mtq.storage.files import as_path, locked, write_text
from mtq.storage.folders import check_folder_place
from mtq.storage.pictures import save_figure
from mtq.study.analysis.published import Published
from mtq.study.analysis.results import Results
from mtq.study.analysis.summary import Summary, summarize
from mtq.study.report.document import Block, Picture
from mtq.study.report.html import as_html
from mtq.study.report.markdown import as_markdown
from mtq.study.report.numbers import COLUMNS, write_numbers
from mtq.study.report.sections import blocks_of
from mtq.study.report.style import style
from mtq.study.running.installed import check_installed

_PICTURES, _PUBLISHED = "figures", "published.json"
_MARKDOWN, _HTML, _NUMBERS = "report.md", "report.html", "numbers.csv"
_PICTURE = re.compile(rf"\({_PICTURES}/([a-z0-9_]+)\.png\)")
_TITLE = "What sharing the network does"


class Report:
    """What a study has found, to be read.

    Args:
        results: Of the study.
        path: Its folder, where the trained networks are and the report is written. Without it the networks' features
            are not compared.
        publication: Published figures to be laid beside; by default those of the report that was made here before.
    """

    def __init__(self, results: Results, path: str | Path | None = None, publication: Published | None = None) -> None:
        self.results = results
        self.path = None if path is None else as_path("path of a report", path)
        if publication is None and self.path is not None:
            publication = Published.saved(self.path / _PUBLISHED)
        self.publication = publication

    @functools.cached_property
    def summary(self) -> Summary:
        """Every statistic in it."""
        return summarize(self.results, self.path, self.publication)

    def write(self, title: str | None = None, to: str | Path | None = None) -> Path:
        """Writes `report.html`, `report.md` with its `figures/`, and `numbers.csv`; replaces an earlier report.

        Args:
            title: Of the report; by default that of the one it replaces, or "What sharing the network does".
            to: Another folder to write to.

        Returns:
            Where `report.html` is.

        Raises:
            ValueError: There is no folder to write to.
            FileExistsError: The folder is a file, or has files with a report's names that no report wrote.
        """
        if to is None and self.path is None:
            raise ValueError("to must say where the report is written, as it was made without a path. Received: None.")
        check_installed()
        folder = as_path("folder of a report", to if to is not None else self.path)
        check_folder_place(folder, "folder of a report")
        folder.mkdir(parents=True, exist_ok=True)
        with contextlib.ExitStack() as until_written:
            if self.path is not None and folder.resolve() == self.path.resolve():  # another shard may end too
                until_written.enter_context(locked(folder / ".lock_report", waits=True))
            self._write(title or _title_in(folder / _MARKDOWN) or _TITLE, folder)
        return folder / "report.html"

    def _write(self, title: str, folder: Path) -> None:
        if self.publication is not None and self.path is not None:
            self.publication.save(self.path / _PUBLISHED)
        with style():
            blocks = blocks_of(self.summary)
            replaced = _check_free(folder, blocks)
            write_numbers(self.summary, folder / _NUMBERS)  # first, because it identifies the folder as a report
            write_text(folder / _HTML, as_html(title, blocks))
            _save_pictures(blocks, folder / _PICTURES, replaced)
        write_text(folder / _MARKDOWN, as_markdown(title, blocks, _PICTURES))


def _title_in(markdown: Path) -> str:
    """Of a report that is there, or nothing."""
    if not markdown.exists():
        return ""
    return markdown.read_text(encoding="utf-8").partition("\n")[0].removeprefix("# ").strip()


def _check_free(folder: Path, blocks: Sequence[Block]) -> set[str]:
    """Returns the names of the pictures of an earlier report in the folder, which may be replaced.

    Raises:
        FileExistsError: There is no earlier report, but there are files of the same names.
    """
    if _is_report(folder):
        return set(_PICTURE.findall(_text(folder / _MARKDOWN)))
    pictures = [f"{_PICTURES}/{block.name}.png" for block in blocks if isinstance(block, Picture)]
    taken = [name for name in (_NUMBERS, _HTML, _MARKDOWN, *pictures) if (folder / name).exists()]
    if taken:
        raise FileExistsError(
            f"The folder for a report must hold none, or one that mtq wrote. Received: {str(folder)!r}, which has "
            f"{taken[0]} but no report's {_NUMBERS}. Choose another folder (to=), or move what is there."
        )
    return set()


def _is_report(folder: Path) -> bool:
    return _text(folder / _NUMBERS).partition("\n")[0].strip() == ",".join(COLUMNS)


def _text(path: Path) -> str:
    return path.read_text(encoding="utf-8", errors="replace") if path.is_file() else ""


def _save_pictures(blocks: Sequence[Block], folder: Path, replaced: set[str]) -> None:
    pictures = {block.name: block.figure for block in blocks if isinstance(block, Picture)}
    for of_more_arms in replaced - pictures.keys():
        (folder / f"{of_more_arms}.png").unlink(missing_ok=True)
    for name, figure in pictures.items():
        save_figure(figure, folder / f"{name}.png")
