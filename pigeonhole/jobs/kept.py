"""The rows that a run keeps of an earlier one, and what is left to be classified."""

import json
import os
import stat
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, nullcontext
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING

from pigeonhole.errors import OutputFailed
from pigeonhole.jobs.journal import JOURNAL, PLACES, Command, Earlier, Journal, Places, noting
from pigeonhole.jobs.options import DEFAULT, RowOptions
from pigeonhole.jobs.summary import Summary
from pigeonhole.ledger.messages import Row
from pigeonhole.output_files import remove, target
from pigeonhole.scratch import explaining_no_room, scratch_database
from pigeonhole.sinks.file import File
from pigeonhole.sinks.format import Format
from pigeonhole.sinks.registry import FORMATS
from pigeonhole.sources.archives import INSIDE, files_of
from pigeonhole.sources.reference import Reference
from pigeonhole.text import counted, minute

if TYPE_CHECKING:
    import sqlite3


class Kept:
    """The rows that a run keeps of an earlier one.

    Args:
        earlier: None: there is none, and nothing is kept.
        checkpoint: whose rows are kept: `name@digest`, or a name alone for all of that name.
        retry_errors: error rows are not.
        goes_on: tells whether a job can be taken up.
        named: what the sources name: rows of anything else stay as they are. None: they name everything.
        options: what the user asks of rows, of those that are kept too.

    Attributes:
        job: the earlier one's, where it is taken up: then all rows before its own are kept, since what it was submitted
            with depends on them.
        summary: of what is kept, once it was read.
        dropped: how many rows are not kept, for each reason.
    """

    def __init__(
        self,
        earlier: Earlier | None,
        checkpoint: str = "",
        retry_errors: bool = False,
        goes_on: Callable[[str], bool] = lambda job: False,
        named: "Listed | None" = None,
        options: RowOptions = DEFAULT,
    ) -> None:
        self.job = earlier.job if earlier and not retry_errors and goes_on(earlier.job) else ""
        self.summary = Summary()
        self.dropped: Counter[str] = Counter()
        self._earlier = earlier
        self._checkpoint = checkpoint
        self._retry_errors = retry_errors
        self._named = named
        self._options = options
        self._index: sqlite3.Connection | None = None
        self._places = Places()
        self._part = ""

    def rows(self, format: Format) -> Iterator[bytes]:
        """Give them as they stand there, but for marks that a threshold decides anew, and remember their paths.

        Raises:
            UsageError: something there is no row of ours.
            OutputFailed: there is no room for the paths.
        """
        if self._earlier is None:
            return
        journal = self._earlier.journal
        stop = journal.offset if journal and self.job else None
        if journal and not self.job:
            self._places = Places.read(self._earlier.file)
        for line, row in self._earlier.rows(format, stop):
            why = "" if self.job else self._why_not(row)
            if why:
                self.dropped[why] += 1
                continue
            if journal is None:
                for file in files_of(row.path):
                    self._places.add(file)
            now = self._options.apply(row)
            self.summary.keep(now)
            self._remember(row.path)
            yield line if now == row else format.lines.encode((now,))

    def missing(self, references: Iterable[Reference]) -> Iterator[Reference]:
        """Leave out what has a row; one that is named twice, and has one row, is left out once.

        Where the others are is noted, for whoever goes on with their rows.

        Raises:
            OutputFailed: there is no room for the paths.
        """
        if self._index is not None:
            self._sql("UPDATE kept SET left = rows")
        with noting(self._part) if self._part else nullcontext(lambda path, link: None) as note:
            for reference in references:
                path = reference.shown + reference.path
                if self._index is None or not self._sql(
                    "UPDATE kept SET left = left - 1 WHERE path = ? AND left > 0", path
                ):
                    note(
                        reference.file, reference.link
                    )  # first: a row without a note is of no use, and the reverse does no harm
                    yield reference

    def told(self) -> str:
        """Say what is kept, and what is not; empty where there was nothing."""
        if self._earlier is None or not (self.job or self.summary.images or self.dropped):
            return ""
        kept = f"{counted(self.summary.images, 'row')} of {self._earlier.file!r} kept"
        if self.job:
            before = f"; {kept} from before it" if self.summary.images else ""
            # The job is one piece: what has changed since, nobody looks for.
            return (
                f"going on with job {self.job}, submitted at {minute(self._earlier.begun / 1e9)}{before}; what changed "
                "or came since may not be in it: --fresh starts over"
            )
        again = ", ".join(f"{count:,} {why}" for why, count in self.dropped.most_common())
        return f"{'going on' if self.summary.images else 'starting over'}: {kept}" + (
            f"; classified again: {again}" if again else ""
        )

    def taken_from(self, part: str) -> None:
        """Make what lies beside a `FILE.part` fit for the rows that are kept, just before they take its place.

        A command that is killed in between must find nothing that it would misread: places without a journal say
        nothing, and without its place a row is made again.
        """
        self._part = part
        if self.job:
            return  # its rows are where it was submitted from
        journal = self._earlier.journal if self._earlier else None
        if journal is None:
            remove(part + JOURNAL)
        elif journal.job:
            replace(journal, job="", offset=0).write(part)
        self._places.write(part)

    @property
    def file(self) -> str:
        """Where they are; empty where there is nothing."""
        return self._earlier.file if self._earlier else ""

    def close(self) -> None:
        """Forget the paths."""
        if self._index is not None:
            self._index.close()

    def _why_not(self, row: Row) -> str:
        assert self._earlier is not None  # for the type checker
        if self._named is not None and not self._named.times(row.path):
            return ""  # it would get no other
        if row.error and self._retry_errors:
            return "with an error"
        if self._named is not None and INSIDE in row.path and self._named.times(row.path) > 1:
            return "of a name that is there more than once"  # nobody knows which of them has the label
        if not _same_checkpoint(row.model, self._checkpoint):
            return f"by {row.model}, not {self._checkpoint}"
        return "whose file has changed" if self._changed(row.path, self._earlier) else ""

    def _changed(self, path: str, earlier: Earlier) -> bool:
        """Return whether a file may not be what was classified; of a finished run, its times alone must tell."""
        return any(self._file_changed(file, earlier) for file in files_of(path))

    def _file_changed(self, file: str, earlier: Earlier) -> bool:
        try:
            # The path's own as well: where it is a link, this is what changes when it is led elsewhere.
            found, own = os.stat(file), os.lstat(file)
        except (OSError, ValueError):
            return False  # what is gone has had its row
        if max(found.st_mtime_ns, found.st_ctime_ns, own.st_mtime_ns, own.st_ctime_ns) >= earlier.begun:
            return True
        return earlier.journal is not None and not self._places.have(file, stat.S_ISLNK(own.st_mode))

    def _remember(self, path: str) -> None:
        if self._index is None:
            self._index = scratch_database()
            self._sql("CREATE TABLE kept (path BLOB PRIMARY KEY, rows INTEGER, left INTEGER) WITHOUT ROWID")
        self._sql("INSERT INTO kept VALUES (?, 1, 1) ON CONFLICT (path) DO UPDATE SET rows = rows + 1", path)

    def _sql(self, statement: str, *paths: str) -> int:
        """Do something with the paths, and tell how many it changed."""
        assert self._index is not None  # for the type checker
        with explaining_no_room("paths"):
            return self._index.execute(statement, tuple(map(os.fsencode, paths))).rowcount


class Listed:
    """What the sources name, on disk: asked for by path before the first row is kept, and submitted after that.

    Walking twice would not do: standard input can't be read again, and what went in between would have no row.

    Raises:
        OutputFailed: there is no room for it.
        SourceError: a source can't be read to its end.
    """

    def __init__(self, references: Iterable[Reference]) -> None:
        self._named = scratch_database()
        rows = ((os.fsencode(reference.shown + reference.path), json.dumps(reference)) for reference in references)
        with explaining_no_room("paths"):
            self._named.execute("CREATE TABLE named (path BLOB, reference TEXT)")
            self._named.executemany("INSERT INTO named VALUES (?, ?)", rows)
            self._named.execute("CREATE INDEX by_path ON named (path)")

    def times(self, path: str) -> int:
        """Return how often a path is named: members of an archive may have the same."""
        with explaining_no_room("paths"):
            found = self._named.execute("SELECT COUNT(*) FROM named WHERE path = ?", (os.fsencode(path),))
            return int(found.fetchone()[0])

    def __call__(self) -> Iterator[Reference]:
        """Give the references, in their order, as often as they are asked for."""
        with explaining_no_room("paths"):
            for (reference,) in self._named.execute("SELECT reference FROM named ORDER BY rowid"):
                yield Reference.from_json(json.loads(reference))

    def close(self) -> None:
        """Forget them."""
        self._named.close()


def opened(path: str, format: Format, kept: Kept) -> File:
    """Open FILE with the rows that are kept.

    Raises:
        OutputFailed: it can't be written, or another command writes to it.
        UsageError: what is there can't be understood.
    """
    with _safe(kept):
        ready = partial(kept.taken_from, target(path) + ".part")
        return File(path, format, kept.rows(format), ready, (JOURNAL, PLACES))


def begin(path: str, command: Command, kept: Kept, create: Callable[[], str], shared: bool) -> tuple[File, str]:
    """Open FILE for a command, with the rows that are kept, and give the job whose rows follow.

    Args:
        path: of FILE.
        command, kept: which it is, and what it keeps.
        create: makes a job where none is taken up.
        shared: the job goes on without us.

    Raises:
        OutputFailed, UsageError: as `opened`.
    """
    file = opened(path, FORMATS[command.format], kept)
    if kept.job:
        return file, kept.job
    journal = Journal(command, file.begun, offset=file.offset)
    try:
        with _safe(kept):
            journal.write(file.part)
            job = create()  # only now: where there is no room, no job is left behind
            if shared:
                replace(journal, job=job).write(file.part)
    except BaseException:
        file.give_up()
        raise
    return file, job


@contextmanager
def _safe(kept: Kept) -> Iterator[None]:
    """Say how to go on where there is no room for the rows that are kept, or for what lies beside them."""
    try:
        yield
    except OutputFailed as exc:
        if not kept.summary.images:
            raise
        raise OutputFailed(
            f"{exc}; the rows in {kept.file!r} are as they were: the same command again goes on with them once there "
            "is room"
        ) from exc


def _same_checkpoint(one: str, other: str) -> bool:
    """Compare `name@digest`; where one has no digest, any will do."""
    (name, _, digest), (other_name, _, other_digest) = one.partition("@"), other.partition("@")
    return name == other_name and (digest == other_digest or not digest or not other_digest)
