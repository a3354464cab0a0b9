"""Writes a report: one HTML file that needs no network and no other files, except the images that it links to.

The rows are blocks of JSON with a column for each field, from which the page's script builds everything. They are
streamed, so a report may have any number of rows. Only the most doubtful rows are kept in memory, for their thumbnails,
and a digest, under which the browser stores the progress of a review.
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

from pigeonhole.ledger.wire.messages import Row
from pigeonhole.version import VERSION
from producer.report.columns import Columns, Doubtful
from producer.report.facts import Facts
from producer.report.file_facts import FileFacts
from producer.report.truth import Truth

#: The number of rows, and of thumbnails, in a block of JSON.
ROWS_AT_ONCE, THUMBNAILS_AT_ONCE = 2_000, 64
#: The parts of the script; each uses only those before it.
SCRIPTS = (
    *("rows/words", "rows/data", "rows/orders", "rows/paths", "rows/decisions", "rows/address"),
    *("views/charts", "rows/truth", "views/cells", "views/layout", "views/sheet", "views/picker", "selection"),
    *("views/zoom", "views/details", "keys", "views/viewer", "views/overview", "views/filters", "main"),
)
#: The content security policy: only the inlined script and style run, by digest, and text never becomes markup.
_POLICY = (
    "default-src 'none'; script-src {script}; style-src {style}; img-src data: file: 'self'; "
    "base-uri 'none'; form-action 'none'; require-trusted-types-for 'script'; trusted-types 'none'"
)


@dataclass(frozen=True)
class Links:
    """The URL prefixes of images, relative to the report.

    Args:
        relative: the prefix of relative paths.
        absolute: the prefix of absolute paths.
    """

    relative: str
    absolute: str

    @classmethod
    def between(cls, report: str, images: str) -> "Links":
        """Return the links of a report.

        Args:
            report: path of the report.
            images: the folder that the rows' paths are relative to.
        """
        folder = os.path.dirname(os.path.abspath(report))
        return cls(_url(os.path.relpath(images, folder)) + "/", _url(os.path.relpath("/", folder)))


class Thumbnails(Protocol):
    """Makes thumbnails; see `producer.report.thumbnails`."""

    def make(self, paths: Sequence[str]) -> Iterator[tuple[int, bytes | str]]:
        """Yield the position of each path with its thumbnail as WebP, or the reason for its absence; in any order."""


@dataclass(frozen=True)
class Options:
    """The options of a report.

    Args:
        thumbnails: makes thumbnails; None: all images are linked.
        limit: the number of thumbnails, which the most doubtful rows get.
        csv_safe: whether the page's exports are safe for spreadsheets; see `SafeCsv`.
        truth: the true labels; None: there are none.
        files: looks up sizes and dates; None: no file is looked up.
    """

    thumbnails: Thumbnails | None = None
    limit: int = 0
    csv_safe: bool = False
    truth: Truth | None = None
    files: FileFacts | None = None


@dataclass
class Written:
    """The counts of a written report.

    Args:
        rows: number of rows.
        embedded: number of embedded thumbnails.
        unreadable: number of thumbnails that could not be made.
        looked_up: number of labelled images whose files were looked up.
        missing: number of those whose files are missing.
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
        file: the file to write to.
        rows: the rows, in the order of their submission.
        facts: facts about the rows.
        links: links to images without a thumbnail.
        made: the current time, in seconds since the epoch.
        options: thumbnails, true labels and other options; None: rows only.

    Returns:
        The counts of the report.

    Raises:
        UsageError: true labels are given, but no image has one.
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
    """Quote a relative path as a URL: it may contain `#`, `?`, `%`, or bytes that are not UTF-8."""
    return quote(os.fsencode(path))


def _data(kind: str, value: object) -> bytes:
    """Return an element with a value as JSON, in ASCII, in which no text can end the element or start another."""
    text = json.dumps(value, separators=(",", ":"), allow_nan=False).replace("<", "\\u003c")
    return f'<script type="application/json" data-kind="{kind}">{text}</script>\n'.encode("ascii")


@cache
def page() -> str:
    """Return the page without data; its style and script are inlined, and allowed by their digests."""
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
