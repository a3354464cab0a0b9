"""Rows → one HTML file to look at and mend them: it needs no network, and no other file but the images it links to.

What it shows is in blocks of JSON, a column for each field of a row, from which its script builds everything else. So
the rows stream through here, however many there are; what is kept of them is the most doubtful few, for their
thumbnails, and a digest, by which the page knows its own progress again.
"""

import base64
import hashlib
import json
import os
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass
from functools import cache
from importlib.resources import files
from itertools import islice
from typing import BinaryIO, Protocol
from urllib.parse import quote

from pigeonhole.ledger.messages import Row
from pigeonhole.version import VERSION
from producer.report.columns import Columns, Doubtful
from producer.report.facts import Facts
from producer.report.file_facts import FileFacts
from producer.report.truth import Truth

#: Rows in a block of JSON, and thumbnails in one.
ROWS_AT_ONCE, THUMBNAILS_AT_ONCE = 2_000, 64
#: The script's parts, in the order in which they build on each other.
SCRIPTS = (
    *("words", "data", "orders", "paths", "decisions", "address", "charts", "truth", "cells"),
    *("layout", "sheet", "picker", "selection", "zoom", "details", "keys", "viewer", "overview", "filters", "main"),
)
#: No source but what is inlined here, by digest; and where a browser knows them, no text ever becomes markup.
_POLICY = (
    "default-src 'none'; script-src {script}; style-src {style}; img-src data: file: 'self'; "
    "base-uri 'none'; form-action 'none'; require-trusted-types-for 'script'; trusted-types 'none'"
)


@dataclass(frozen=True)
class Links:
    """Where the images are, seen from the report: the URLs that come before a relative and before an absolute path."""

    relative: str
    absolute: str

    @classmethod
    def between(cls, report: str, images: str) -> "Links":
        """Return the way from a report's folder to where the rows' relative paths begin, and to the root."""
        folder = os.path.dirname(os.path.abspath(report))
        return cls(_url(os.path.relpath(images, folder)) + "/", _url(os.path.relpath("/", folder)))


class Thumbnails(Protocol):
    """Makes small pictures; see `producer.report.thumbnails`."""

    def make(self, paths: Sequence[str]) -> Iterator[tuple[int, bytes | str]]:
        """Yield for each path its position and a WebP file's bytes, or why there is none; in any order."""


@dataclass(frozen=True)
class Options:
    """What a report holds beside the rows.

    Args:
        thumbnails: makes the embedded pictures; None: all images are linked.
        limit: how many rows get a thumbnail; the most doubtful have them.
        csv_safe: whether what the page exports is for spreadsheets; see `SafeCsv`.
        truth: the true labels; None: not known.
        files: looks up sizes and dates; None: no file is looked up.
    """

    thumbnails: Thumbnails | None = None
    limit: int = 0
    csv_safe: bool = False
    truth: Truth | None = None
    files: FileFacts | None = None


@dataclass
class Written:
    """Counts of a report: rows, pictures that are embedded, pictures that could not be made, and files not found.

    Args:
        rows, embedded, unreadable: the counts.
        looked_up: images with a label whose files were looked up.
        missing: those of them that are not there.
    """

    rows: int = 0
    embedded: int = 0
    unreadable: int = 0
    looked_up: int = 0
    missing: int = 0


def write(
    file: BinaryIO, rows: Iterable[Row], facts: Facts, links: Links, made: float, options: Options | None = None
) -> Written:
    """Write a report.

    Args:
        file: where to.
        rows: in the order of submission.
        facts: about them.
        links: to the images whose pictures are not embedded.
        made: now, in seconds since the epoch.
        options: what else it holds; None: the rows alone.

    Returns:
        The counts of what was written.

    Raises:
        UsageError: no image has a true label, although they are given.
    """
    options = options or Options()
    before, _, after = page().partition("{{data}}")
    file.write(before.encode())
    columns, written = Columns(options.truth, options.files), Written()
    doubtful = Doubtful(options.limit if options.thumbnails else 0)
    rows = iter(rows)
    while block := list(islice(rows, ROWS_AT_ONCE)):
        doubtful.add(written.rows, block)
        written.rows += len(block)
        file.write(_data("rows", columns.block(block)))
    if options.truth:
        options.truth.check()
    if options.thumbnails:
        for pictures in _pictures(doubtful.rows(), options.thumbnails, written):
            file.write(_data("thumbnails", pictures))
    if options.files:
        written.looked_up, written.missing = options.files.looked_up, options.files.missing
    known = {"links": asdict(links), "made": made, "version": VERSION, "csv_safe": options.csv_safe}
    known["missing"] = written.missing
    file.write(_data("facts", asdict(facts) | columns.end() | known).removesuffix(b"\n"))
    file.write(after.encode())
    return written


def _pictures(rows: Sequence[tuple[int, str]], thumbnails: Thumbnails, written: Written) -> Iterator[object]:
    made = thumbnails.make([path for _, path in rows])
    while some := list(islice(made, THUMBNAILS_AT_ONCE)):
        written.embedded += sum(isinstance(one, bytes) for _, one in some)
        written.unreadable += sum(isinstance(one, str) for _, one in some)
        yield {
            "row": [rows[position][0] for position, _ in some],
            "picture": [base64.b64encode(one).decode() if isinstance(one, bytes) else "" for _, one in some],
            "why": [one if isinstance(one, str) else "" for _, one in some],
        }


def _url(path: str) -> str:
    """Spell a relative path as a URL: a folder's name may have `#`, `?` or `%` in it, or bytes that are not UTF-8."""
    return quote(os.fsencode(path))


def _data(kind: str, value: object) -> bytes:
    """Return a block of JSON that is ASCII alone, and in which nothing can end the element or begin another."""
    text = json.dumps(value, separators=(",", ":"), allow_nan=False).replace("<", "\\u003c")
    return f'<script type="application/json" data-kind="{kind}">{text}</script>\n'.encode("ascii")


@cache
def page() -> str:
    """Return the page around the data, with its style and script inlined and allowed by their digests."""
    assets = files("producer.report") / "assets"
    style = (assets / "report.css").read_text("utf-8")
    script = "\n".join((assets / f"{name}.js").read_text("utf-8") for name in SCRIPTS)
    policy = _POLICY.format(script=_source(script), style=_source(style))
    html = (assets / "report.html").read_text("utf-8")
    for name, text in (("policy", policy), ("style", style), ("script", script)):
        html = html.replace("{{" + name + "}}", text)
    return html


def _source(text: str) -> str:
    return f"'sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()}'"
