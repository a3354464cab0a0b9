"""Dead letters: messages and batches that a worker could not do, kept for `status` with the reason.

A batch whose images lay in a folder that is gone is tried again; see `worker.folders`. A message that is damaged, or of
a version that nobody here knows, is never guessed at, and never tried again and again either. The key, behind the
prefix: `dead` (hash: what it was → when and why).
"""

import json
from dataclasses import dataclass

from pigeonhole.errors import MessageInvalid
from pigeonhole.ledger.numbers import moment
from pigeonhole.ledger.redis_client import Client, connect, server_time, translated, translates
from pigeonhole.settings import Settings

#: How many are kept; with more, somebody writes garbage on purpose.
MOST = 1000
#: Characters that are kept of a foreign message.
_LONGEST = 300


@dataclass(frozen=True, order=True)
class DeadLetter:
    """One message or batch that a worker could not do.

    Args:
        seen: when, last; seconds since the epoch on Redis' clock.
        what: a message's beginning, or which batch of which job.
        why: in words.
    """

    seen: float
    what: str
    why: str


class DeadLetters:
    """The dead letters in one Redis.

    Args:
        settings: where Redis is, and the prefix of its keys.
        client: a client in place of a new one.
    """

    def __init__(self, settings: Settings, client: Client | None = None) -> None:
        self.url = settings.broker_url
        self.client = client or connect(settings.broker_url)
        self._key = f"{settings.prefix}:dead"
        self._ttl = settings.result_ttl

    @translates
    def add(self, what: str, why: str) -> None:
        """Keep a message or batch that can't be done; the same again only moves its time."""
        what, why = _printable(what), _printable(why)
        try:
            with translated(self.url):
                known = self.client.hlen(self._key)
        except MessageInvalid:
            self.client.delete(self._key)  # not a hash: somebody else's, where we keep what nobody understands
            known = 0
        if known >= MOST and not self.client.hexists(self._key, what):
            return
        self.client.hset(self._key, what, json.dumps({"seen": server_time(self.client), "why": why}))
        self.client.expire(self._key, self._ttl)

    @translates
    def all(self) -> list[DeadLetter]:
        """Return all dead letters, oldest first."""
        try:
            with translated(self.url):
                letters = self.client.hgetall(self._key)
        except MessageInvalid as exc:
            return [DeadLetter(0.0, f"key {self._key}", str(exc))]
        return sorted(_letter(what, body) for what, body in letters.items())

    def of_job(self, job: str) -> list[DeadLetter]:
        """Return the dead letters about a job's batches, oldest first."""
        return [letter for letter in self.all() if letter.what.startswith(about(job, ""))]


def about(job: str, piece: object) -> str:
    """Name a batch of a job, as its dead letter does."""
    return f"job {job}, batch {piece}"


def held_back(job: str, piece: object) -> str:
    """Name a batch of a job that is tried again when its volume is back, as its dead letter does."""
    return f"{about(job, piece)}, is held back"


def _letter(what: bytes, body: bytes) -> DeadLetter:
    shown = what.decode(errors="replace")
    try:
        kept = json.loads(body)
        return DeadLetter(moment(kept["seen"]), shown, str(kept["why"]))
    except (KeyError, TypeError, ValueError, RecursionError):
        return DeadLetter(0.0, shown, "not written by us")


def _printable(text: str) -> str:
    return text[:_LONGEST].encode("utf-8", "backslashreplace").decode()
