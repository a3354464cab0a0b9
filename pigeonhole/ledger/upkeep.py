"""Recovery: what a sweep looks at, and what it mends."""

from contextlib import suppress
from typing import NamedTuple

from pigeonhole.errors import MessageInvalid
from pigeonhole.ledger import scripts
from pigeonhole.ledger.leases import LEASE
from pigeonhole.ledger.numbers import moment_or_none, text
from pigeonhole.ledger.pieces import Piece
from pigeonhole.ledger.redis_client import translated, translates
from pigeonhole.ledger.store import LISTS, Store

#: Seconds between two sweeps after which holders may have been kept from renewing: then a lapsed lease says nothing.
SWEEP_GAP = 10.0
#: Seconds without progress after which a job whose batches wait starves.
STARVING_AFTER = 5.0


class Overdue(NamedTuple):
    """The pieces of a job that need attention.

    Args:
        lapsed: their lease has expired: they are for `lose` or `renew`.
        lost: they wait, and should be published again, which is noted.
        removed: members that named no piece of the job; they are gone.
        promoted: the piece to publish ahead of all other jobs', since the job gets nothing otherwise.
        cancelled: whether the job was open, nobody has submitted to it for long, and it is cancelled for that.
    """

    lapsed: list[Piece]
    lost: list[Piece]
    removed: list[str]
    promoted: Piece | None = None
    cancelled: bool = False


class Upkeep(Store):
    """What sweeps and followers do for jobs."""

    @translates
    def last_sweep(self) -> float | None:
        """Return when the last sweep ended, in seconds since the epoch; None if that is not known."""
        with suppress(MessageInvalid), translated(self.url):  # a key of another type; the next sweep overwrites it
            return moment_or_none(self.client.get(self._key("swept")))
        return None

    @translates
    def sweep_age(self) -> float | None:
        """Return the seconds since the last sweep ended; None if that is not known, or lies ahead."""
        last = self.last_sweep()
        age = None if last is None else self._clock() - last
        return None if age is None or age < 0 else age

    @translates
    def swept_lately(self) -> bool:
        """Return whether somebody swept a moment ago.

        If not, Redis or everybody was away, or the clock has stepped: those who hold leases had no chance to renew.
        """
        age = self.sweep_age()
        return age is not None and age < SWEEP_GAP

    @translates
    def note_sweep(self) -> None:
        """Note that somebody has swept, at the end of it: one that fails on its way gives nobody's lease up."""
        self.client.set(self._key("swept"), self._clock())

    @translates
    def mend_lists(self) -> list[str]:
        """Remove lists of jobs that are none.

        Returns:
            The names of the keys that were removed.
        """
        keys = [self._key(name) for name in LISTS]
        return [text(key) for key in self._script("lists", scripts.script)(keys, ())]

    @translates
    def list_again(self, job: str) -> bool:
        """List an unfinished job again, if Redis has lost it from a list: sweeps look at those in `active` alone.

        Returns:
            True if it was missing.
        """
        return bool(self._run("relist", job))

    @translates
    def note_submitter(self, job: str) -> bool:
        """Note that somebody submits to a job: it is called every `HEARTBEAT` seconds until all is submitted.

        Returns:
            False where the job is not open any more.
        """
        return bool(self._run("submits", job))

    @translates
    def overdue(self, job: str, lost: int, steady: bool = False) -> Overdue:
        """Return the pieces that need attention; mend what a clock that stepped back has left of them.

        Args:
            job: its id.
            lost: how many of the pieces that wait may have lost their message.
            steady: whether somebody swept a moment ago; if not, the clock may have stepped forward, and no silence
                counts.
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
    """Return the pieces among the members of a set, and add the others to a list."""
    pieces = []
    for member in members:
        try:
            pieces.append(Piece.parse(text(member)))
        except MessageInvalid:
            wrong.append(text(member))
    return pieces
