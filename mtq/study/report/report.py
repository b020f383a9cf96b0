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
    """The report of a study, as an HTML page, as Markdown and as a CSV file.

    Args:
        results: The results of the study.
        path: The folder of the study, which holds the trained networks and to which the report is written. Without it
            the networks' features are not compared.
        publication: The published results with which the study is compared; by default those of an earlier report in
            the folder.
    """

    def __init__(self, results: Results, path: str | Path | None = None, publication: Published | None = None) -> None:
        self.results = results
        self.path = None if path is None else as_path("path of a report", path)
        if publication is None and self.path is not None:
            publication = Published.saved(self.path / _PUBLISHED)
        self.publication = publication

    @functools.cached_property
    def summary(self) -> Summary:
        """The statistics of the report."""
        return summarize(self.results, self.path, self.publication)

    def write(self, title: str | None = None, to: str | Path | None = None) -> Path:
        """Writes `report.html`, `report.md` with its `figures/`, and `numbers.csv`; replaces an earlier report.

        Args:
            title: The title of the report; by default that of the report it replaces, or "What sharing the network
                does".
            to: The folder to which the report is written; by default the folder of the study.

        Returns:
            The path of `report.html`.

        Raises:
            ValueError: Neither the report nor this call was given a folder.
            FileExistsError: The path is a file, or the folder has files with a report's names that no report wrote.
        """
        if to is None and self.path is None:
            raise ValueError(
                "to must be the folder to which the report is written, because the report was made without a path. "
                "Received: None. Pass to=."
            )
        check_installed()
        folder = as_path("folder of a report", to if to is not None else self.path)
        check_folder_place(folder, "folder of a report")
        folder.mkdir(parents=True, exist_ok=True)
        with contextlib.ExitStack() as until_written:
            if self.path is not None and folder.resolve() == self.path.resolve():  # another shard may write too
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
    """Returns the title of a report; empty if the file does not exist."""
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
            f"The folder for a report must hold no report, or one that mtq wrote. Received: {str(folder)!r}, which has "
            f"{taken[0]} but no {_NUMBERS} of a report. Choose another folder (to=), or move these files."
        )
    return set()


def _is_report(folder: Path) -> bool:
    return _text(folder / _NUMBERS).partition("\n")[0].strip() == ",".join(COLUMNS)


def _text(path: Path) -> str:
    return path.read_text(encoding="utf-8", errors="replace") if path.is_file() else ""


def _save_pictures(blocks: Sequence[Block], folder: Path, replaced: set[str]) -> None:
    pictures = {block.name: block.figure for block in blocks if isinstance(block, Picture)}
    for name in replaced - pictures.keys():  # of an earlier report with more arms
        (folder / f"{name}.png").unlink(missing_ok=True)
    for name, figure in pictures.items():
        save_figure(figure, folder / f"{name}.png")
