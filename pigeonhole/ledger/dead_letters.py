"""Dead letters: messages and batches that a worker could not process, with the reason, for `status`.

A batch whose image folder is missing is retried; see `worker.processing.folders`. A damaged message, or one of an
unknown version, is not retried. Redis key, behind the prefix: `dead` (hash: message or batch → time and reason).
"""

import json
from dataclasses import dataclass

from pigeonhole.errors import MessageInvalid
from pigeonhole.ledger.redis.client import Client, connect, server_time, translated, translates
from pigeonhole.ledger.wire.numbers import moment
from pigeonhole.settings import Settings

#: The largest number of dead letters that are stored; more of them would come from an attack.
MOST = 1000
#: The number of characters of a message that are stored.
_LONGEST = 300


@dataclass(frozen=True, order=True)
class DeadLetter:
    """One message or batch that a worker could not process.

    Args:
        seen: the time of the last failure, in seconds since the epoch on Redis' clock.
        what: the beginning of the message, or the job and the batch.
        why: the reason, in words.
    """

    seen: float
    what: str
    why: str


class DeadLetters:
    """The dead letters in one Redis.

    Args:
        settings: the broker URL and the prefix of the keys.
        client: a client to use; None: a new one.
    """

    def __init__(self, settings: Settings, client: Client | None = None) -> None:
        self.url = settings.broker_url
        self.client = client or connect(settings.broker_url)
        self._key = f"{settings.prefix}:dead"
        self._ttl = settings.result_ttl

    @translates
    def add(self, what: str, why: str) -> None:
        """Record a message or batch that can't be processed; if it is on record, update its time and reason."""
        what, why = _printable(what), _printable(why)
        try:
            with translated(self.url):
                known = self.client.hlen(self._key)
        except MessageInvalid:
            self.client.delete(self._key)  # not a hash, so another program wrote it
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
    """Return the name of a batch in its dead letter."""
    return f"job {job}, batch {piece}"


def held_back(job: str, piece: object) -> str:
    """Return the name of a batch in its dead letter while it waits for its volume to be mounted again."""
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
