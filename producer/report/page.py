"""Rows → one HTML file to look at and mend them: it needs no network, and no other file but the images it links to.

What it shows is in blocks of JSON, a column for each field of a row, from which its script builds everything else. So
the rows stream through here, however many there are; what is kept of them is the most doubtful few, for their
thumbnails, and a digest, by which the page knows its own progress again.
"""

import base64
import hashlib
import heapq
import json
import math
import os
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass
from functools import cache
from importlib.resources import files
from itertools import islice
from typing import BinaryIO, Protocol
from urllib.parse import quote

from pigeonhole.jobs.summary import duration
from pigeonhole.ledger.messages import Row
from pigeonhole.ledger.status import JobStatus
from pigeonhole.version import VERSION

#: Rows in a block of JSON, and thumbnails in one.
ROWS_AT_ONCE, THUMBNAILS_AT_ONCE = 2_000, 64
#: The script's parts, in the order in which they build on each other.
SCRIPTS = ("data", "paths", "decisions", "charts", "sheet", "review", "main")
#: No source but what is inlined here, by digest; and where a browser knows them, no text ever becomes markup.
_POLICY = (
    "default-src 'none'; script-src {script}; style-src {style}; img-src data: file: 'self'; "
    "base-uri 'none'; form-action 'none'; require-trusted-types-for 'script'; trusted-types 'none'"
)


@dataclass(frozen=True, kw_only=True)
class Facts:
    """What is known of the rows as a whole; empty or None where it is not.

    Args:
        source: the job or file that they come from.
        job, state, sources: of the job.
        images: that were submitted.
        started, finished: the job, in seconds since the epoch.
        seconds: that it took.
        images_per_second: in that time.
    """

    source: str
    job: str = ""
    state: str = ""
    sources: tuple[str, ...] = ()
    images: int | None = None
    started: float | None = None
    finished: float | None = None
    seconds: float | None = None
    images_per_second: float | None = None

    @classmethod
    def of(cls, source: str, job: JobStatus | None) -> "Facts":
        """Give what is known of a job's rows; without one, as of a CSV file, nothing but where they come from."""
        if job is None:
            return cls(source=source)
        seconds = duration(job)
        return cls(
            source=source,
            job=job.job,
            state=job.state,
            sources=job.sources,
            images=job.images,
            started=job.started,
            finished=job.finished,
            seconds=seconds or None,
            images_per_second=job.done / seconds if seconds else None,
        )


@dataclass(frozen=True)
class Links:
    """Where the images are, seen from the report: the URLs that come before a relative and before an absolute path."""

    relative: str
    absolute: str

    @classmethod
    def between(cls, report: str, images: str) -> "Links":
        """Give the way from a report's folder to where the rows' relative paths begin, and to the root."""
        folder = os.path.dirname(os.path.abspath(report))
        return cls(_url(os.path.relpath(images, folder)) + "/", _url(os.path.relpath("/", folder)))


class Thumbnails(Protocol):
    """Makes small pictures; see `producer.report.thumbnails`."""

    def make(self, paths: Sequence[str]) -> Iterator[tuple[int, bytes | str]]:
        """Give for each path its position and a WebP file's bytes, or why there is none; in any order."""


@dataclass
class Written:
    """What a report holds: rows, pictures that are embedded, and pictures that could not be made."""

    rows: int = 0
    embedded: int = 0
    unreadable: int = 0


def write(
    file: BinaryIO,
    rows: Iterable[Row],
    facts: Facts,
    links: Links,
    made: float,
    thumbnails: Thumbnails | None = None,
    limit: int = 0,
    csv_safe: bool = False,
) -> Written:
    """Write a report.

    Args:
        file: where to.
        rows: in any order; as they come, they are numbered.
        facts: about them.
        links: to the images whose pictures are not embedded.
        made: now, in seconds since the epoch.
        thumbnails, limit: who makes them, and of how many rows; the most doubtful have them.
        csv_safe: whether what the page exports is for spreadsheets; see `SafeCsv`.

    Returns:
        What became of it.
    """
    before, _, after = page().partition("{{data}}")
    file.write(before.encode())
    columns, doubtful, written = Columns(), _Doubtful(limit if thumbnails else 0), Written()
    rows = iter(rows)
    while block := list(islice(rows, ROWS_AT_ONCE)):
        doubtful.add(written.rows, block)
        written.rows += len(block)
        file.write(_data("rows", columns.block(block)))
    if thumbnails:
        for pictures in _pictures(doubtful.rows(), thumbnails, written):
            file.write(_data("thumbnails", pictures))
    known = {"links": asdict(links), "made": made, "version": VERSION, "linked": thumbnails is None}
    known["csv_safe"] = csv_safe
    file.write(_data("facts", asdict(facts) | columns.end() | known).removesuffix(b"\n"))
    file.write(after.encode())
    return written


class Columns:
    """Turns rows into columns; texts that come again and again are written once, at the end."""

    def __init__(self) -> None:
        self._labels: dict[str, int] = {}
        self._models: dict[str, int] = {}
        self._digest = hashlib.sha256()

    def block(self, rows: Sequence[Row]) -> dict[str, object]:
        """Return rows as columns, labels and models as numbers; the label of an error is -1."""
        columns: dict[str, object] = {
            "path": [row.path for row in rows],
            "label": [-1 if row.error else self._label(row.label) for row in rows],
            "confidence": [_finite(row.confidence) for row in rows],
            "review": [int(row.review) for row in rows],
            "error": [row.error for row in rows],
            "model": [self._models.setdefault(row.model, len(self._models)) for row in rows],
            "top": [[part for label, p in row.top for part in (self._label(label), p)] for row in rows],
        }
        for row in rows:  # what the rows say, however they came here and whatever else is known of them
            self._digest.update(json.dumps(row[:6]).encode())
        return columns

    def end(self) -> dict[str, object]:
        """Give what can only be told after the last row."""
        return {"labels": list(self._labels), "models": list(self._models), "digest": self._digest.hexdigest()}

    def _label(self, label: str) -> int:
        return self._labels.setdefault(label, len(self._labels))


class _Doubtful:
    """Keeps the most doubtful rows that have a label; an image that gave an error is not decoded again."""

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._heap: list[tuple[bool, float, int, str]] = []  # the least doubtful of them is at its top

    def add(self, start: int, rows: Sequence[Row]) -> None:
        for number, row in enumerate(rows, start):
            if not row.error and self._limit:
                entry = (row.review, -(_finite(row.confidence) or 0.0), -number, row.path)
                if len(self._heap) < self._limit:
                    heapq.heappush(self._heap, entry)
                else:
                    heapq.heappushpop(self._heap, entry)

    def rows(self) -> list[tuple[int, str]]:
        """Give (number, path) of each, most doubtful first."""
        return [(-number, path) for _, _, number, path in sorted(self._heap, reverse=True)]


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


def _finite(confidence: float | None) -> float | None:
    """Give a confidence as JSON can have it: somebody else's CSV may say `nan`."""
    return confidence if confidence is not None and math.isfinite(confidence) else None


def _url(path: str) -> str:
    """Spell a relative path as a URL: a folder's name may have `#`, `?` or `%` in it, or bytes that are not UTF-8."""
    return quote(os.fsencode(path))


def _data(kind: str, value: object) -> bytes:
    """Give a block of JSON that is ASCII alone, and in which nothing can end the element or begin another."""
    text = json.dumps(value, separators=(",", ":"), allow_nan=False).replace("<", "\\u003c")
    return f'<script type="application/json" data-kind="{kind}">{text}</script>\n'.encode("ascii")


@cache
def page() -> str:
    """Give the page around the data, with its style and script inlined and allowed by their digests."""
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
