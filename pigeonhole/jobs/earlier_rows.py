"""The rows of earlier runs that a resumed command keeps, and the images that it still has to classify."""

import os
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence, Set
from typing import TYPE_CHECKING, NamedTuple

from pigeonhole.errors import MessageInvalid
from pigeonhole.filesystem.scratch import explaining_no_room, scratch_database
from pigeonhole.jobs.state import Run, State
from pigeonhole.jobs.summary import Summary
from pigeonhole.ledger.done import DoneBatch, Origin
from pigeonhole.ledger.wire.messages import Row
from pigeonhole.row_options import DEFAULT, RowOptions
from pigeonhole.sources.reference import Identity, Location, Place, Reference, Root
from pigeonhole.sources.registry import by_scheme
from pigeonhole.sources.source import Source
from pigeonhole.text import counted

if TYPE_CHECKING:
    import sqlite3


class KeptRows(NamedTuple):
    """The rows of one batch that are kept, and the origin of each."""

    rows: list[Row]
    origins: list[Origin]


class EarlierRows:
    """The rows of earlier runs that a resumed command keeps.

    A row is kept if the model is the same, and the image file has not changed since a worker read it. A row whose file
    was deleted is kept as well, since it can't be classified again.

    Args:
        state: the resume state of the command; rows that are not kept are dropped from it.
        checkpoint: the current model: `name@digest`, or a name alone if its digest is not known.
        root: the producer's image root.
        pending: runs whose jobs still exist; their remaining batches are passed to `take`.
        retry_errors: drop error rows, so that these images are classified again.
        options: the options for rows.

    Attributes:
        summary: the counters of the rows that are kept.
        dropped: the number of rows that are not kept, by reason.
        of_run: the number of rows that are kept, by the number of their run.
    """

    def __init__(
        self,
        state: State,
        checkpoint: str,
        root: Root,
        pending: Sequence[Run] = (),
        retry_errors: bool = False,
        options: RowOptions = DEFAULT,
    ) -> None:
        self.summary = Summary()
        self.dropped: Counter[str] = Counter()
        self.of_run: Counter[int] = Counter()
        self._state = state
        self._checkpoint = checkpoint
        self._root = root
        self._pending = pending
        self._retry_errors = retry_errors
        self._options = options
        self._sources: dict[str, Source] = {}
        self._index: sqlite3.Connection | None = None

    def batches(self) -> Iterator[KeptRows]:
        """Yield the rows that are kept, a batch at a time, and note their images for `missing`.

        Raises:
            OutputFailed: the disk has no room for the index of the images.
        """
        for run in self._state.runs:
            stop = run.delivered if run in self._pending else None  # the job delivers batches after a gap again
            for done, dropped in run.done(stop):
                yield self._kept(run, done, dropped)

    def take(self, run: Run, done: DoneBatch) -> KeptRows:
        """Record a batch of a pending run, and return the rows that are kept.

        Workers may have read its images long ago, so these are checked for changes, too.
        """
        run.deliver(done)
        return self._kept(run, done, frozenset())

    def missing(self, references: Iterable[Reference]) -> Iterator[Reference]:
        """Yield the references that have no row; an image that is named twice and has one row is yielded once.

        Raises:
            OutputFailed: the index of the images can't be read or written.
        """
        if self._index is None:
            yield from references
            return
        for reference in references:
            key = _key(reference.shown + reference.path, reference.place)
            with explaining_no_room():
                found = self._index.execute("UPDATE kept SET rows = rows - 1 WHERE image = ? AND rows > 0", (key,))
            if not found.rowcount:
                yield reference

    def message(self) -> str:
        """Return a message about the rows that are kept and those that are not; empty if there were no rows."""
        if not self.summary.images and not self.dropped:
            return ""
        again = ", ".join(f"{count:,} {why}" for why, count in self.dropped.most_common())
        return f"resuming: {counted(self.summary.images, 'row')} kept" + (
            f"; classified again: {again}" if again else ""
        )

    def close(self) -> None:
        """Delete the index of the images."""
        if self._index is not None:
            self._index.close()

    def _kept(self, run: Run, done: DoneBatch, dropped: Set[int]) -> KeptRows:
        """Return the rows of a batch that are kept, and drop the others from the state."""
        kept, again = KeptRows([], []), list[int]()
        try:
            delivered = list(zip(done.rows(self._options), done.origins(), strict=True))
        except MessageInvalid:  # damaged, or written by an earlier version
            self.dropped["or more in a batch that can't be read"] += 1
            return kept
        for at, (row, origin) in enumerate(delivered):
            if at in dropped:
                continue
            if why := self._why_not(row, origin):
                self.dropped[why] += 1
                again.append(at)
                continue
            kept.rows.append(row)
            kept.origins.append(origin)
        if again:
            run.drop(done.number, again)
        self.of_run[run.number] += len(kept.rows)
        for row in kept.rows:
            self.summary.keep(row)
        self._note((row.path, origin.location) for row, origin in zip(*kept, strict=True))
        return kept

    def _why_not(self, row: Row, origin: Origin) -> str:
        if row.error and self._retry_errors:
            return "with an error"
        if not _same_checkpoint(row.model, self._checkpoint):
            return f"by {row.model}, not {self._checkpoint}"
        now = self._identity(origin.location)
        return "whose file has changed" if now not in (0, origin.identity) else ""

    def _identity(self, location: Location) -> Identity:
        source = self._sources.get(location.scheme)
        if source is None:
            kind = by_scheme(location.scheme)
            if kind is None:
                return 0
            source = self._sources[location.scheme] = kind(self._root)
        return source.identity(location)

    def _note(self, images: Iterable[tuple[str, Location]]) -> None:
        """Add images that have a row to the index."""
        with explaining_no_room():
            if self._index is None:
                self._index = scratch_database()
                self._index.execute("CREATE TABLE kept (image BLOB PRIMARY KEY, rows INTEGER) WITHOUT ROWID")
            self._index.executemany(
                "INSERT INTO kept VALUES (?, 1) ON CONFLICT (image) DO UPDATE SET rows = rows + 1",
                ((_key(path, location.place),) for path, location in images),
            )


def _key(path: str, place: Place) -> bytes:
    """Return the key of an image in the index; it has the place, since members of an archive may share a path."""
    return os.fsencode(path) + (b"\0" + repr(tuple(place)).encode() if place else b"")


def _same_checkpoint(one: str, other: str) -> bool:
    """Return whether two values of `name@digest` name the same model; a missing digest matches any."""
    (name, _, digest), (other_name, _, other_digest) = one.partition("@"), other.partition("@")
    return name == other_name and (digest == other_digest or not digest or not other_digest)
