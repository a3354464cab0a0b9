"""Recovery: the ledger's methods for sweeps and followers."""

from contextlib import suppress
from typing import NamedTuple

from pigeonhole.errors import MessageInvalid
from pigeonhole.ledger.leases import LEASE
from pigeonhole.ledger.pieces import Piece
from pigeonhole.ledger.redis import scripts
from pigeonhole.ledger.redis.client import translated, translates
from pigeonhole.ledger.redis.store import LISTS, Store
from pigeonhole.ledger.wire.numbers import moment_or_none, text

#: Seconds between two sweeps after which expired leases do not count: workers may have been unable to renew them.
SWEEP_GAP = 10.0
#: Seconds without progress after which a job with waiting batches counts as starving.
STARVING_AFTER = 5.0


class Overdue(NamedTuple):
    """The pieces of a job that need attention.

    Args:
        lapsed: the pieces whose lease has expired; the caller passes them to `lose` or `renew`.
        lost: the waiting pieces to publish again; the time when they are overdue next is set already.
        removed: names in the job's sets that were no pieces of it; they are removed already.
        promoted: the piece to publish ahead of all other jobs, since the job is starving; None: it is not.
        cancelled: the job was open without a submitter for too long, and is cancelled now.
    """

    lapsed: list[Piece]
    lost: list[Piece]
    removed: list[str]
    promoted: Piece | None = None
    cancelled: bool = False


class Upkeep(Store):
    """The ledger's methods for sweeps and followers."""

    @translates
    def last_sweep(self) -> float | None:
        """Return the time of the last sweep's end, in seconds since the epoch; None if it is not known."""
        with suppress(MessageInvalid), translated(self.url):  # a key of another type; the next sweep overwrites it
            return moment_or_none(self.client.get(self._key("swept")))
        return None

    @translates
    def sweep_age(self) -> float | None:
        """Return the seconds since the last sweep's end; None if it is not known or lies in the future."""
        last = self.last_sweep()
        age = None if last is None else self._clock() - last
        return None if age is None or age < 0 else age

    @translates
    def swept_lately(self) -> bool:
        """Return whether the last sweep was less than `SWEEP_GAP` seconds ago.

        If not, Redis or all processes were down, or the clock has stepped, so workers could not renew their leases.
        """
        age = self.sweep_age()
        return age is not None and age < SWEEP_GAP

    @translates
    def note_sweep(self) -> None:
        """Record the end of a sweep; a sweep that fails is not recorded, so leases are not given up for it."""
        self.client.set(self._key("swept"), self._clock())

    @translates
    def mend_lists(self) -> list[str]:
        """Remove the lists of jobs if another program has written another type to their keys.

        Returns:
            The names of the keys that were removed.
        """
        keys = [self._key(name) for name in LISTS]
        return [text(key) for key in self._script("lists", scripts.script)(keys, ())]

    @translates
    def list_again(self, job: str) -> bool:
        """Add an unfinished job to the lists again if Redis has lost it there; sweeps read the list `active` only.

        Returns:
            True if the job was missing.
        """
        return bool(self._run("relist", job))

    @translates
    def note_submitter(self, job: str) -> bool:
        """Record a heartbeat of a job's submitter, which calls this every `HEARTBEAT` seconds.

        Returns:
            False if the job is not open any more.
        """
        return bool(self._run("submits", job))

    @translates
    def overdue(self, job: str, lost: int, steady: bool = False) -> Overdue:
        """Return the pieces that need attention, and repair times that lie ahead since the clock stepped back.

        Args:
            job: the job's id.
            lost: the number of waiting pieces that may have lost their messages.
            steady: whether the last sweep was just now; if not, the clock may have stepped forward, so silence of a
                submitter does not count.
        """
        given = (self.settings.publish_seconds, LEASE, self.settings.result_ttl, STARVING_AFTER, int(steady))
        lapsed, waiting, removed, oldest, cancelled = self._run("overdue", job, lost, *given)
        wrong = [text(member) for member in removed]
        promoted = pieces_of([oldest] if oldest else [], [])
        return Overdue(
            pieces_of(lapsed, wrong),
            pieces_of(waiting, wrong),
            wrong,
            promoted[0] if promoted else None,
            bool(cancelled),
        )


def pieces_of(members: list[bytes], wrong: list[str]) -> list[Piece]:
    """Parse the members of a set as pieces; append members that are not pieces to `wrong`."""
    pieces = []
    for member in members:
        try:
            pieces.append(Piece.parse(text(member)))
        except MessageInvalid:
            wrong.append(text(member))
    return pieces
