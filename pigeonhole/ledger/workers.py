"""Announcements of workers in Redis, which expire unless the worker renews them.

The keys, behind the prefix: `workers` (zset: worker → when last seen) and `worker:ID` (hash, expiring).
A worker renews its announcement in the loop that takes its messages, so a worker without a connection disappears.
"""

import time
from dataclasses import dataclass, field

from pigeonhole.ledger.redis import scripts
from pigeonhole.ledger.redis.client import translates
from pigeonhole.ledger.redis.store import Store
from pigeonhole.ledger.wire.numbers import number_or, text
from pigeonhole.text import model_identity

#: Seconds between two announcements, and after which a silent worker counts as lost.
ANNOUNCE_EVERY = 3.0
GONE_AFTER = 12
#: Seconds that one worker's turn to sweep lasts.
SWEEP_TURN = 4.0


@dataclass(frozen=True, kw_only=True)
class Announcement:
    """The announcement of a worker.

    Args:
        name: Celery's name for the worker, such as `celery@host`; two workers on one machine may share a name.
        model: the name of the worker's model, which is also the name of its queue.
        digest: the SHA-256 of the model file.
        version: the worker's version of Pigeonhole.
        runtime: the runtime of the network and its precision: `torch/f32`.
        processes: the number of its processes that have loaded the model.
        skew: the seconds by which its machine's clock is ahead of Redis' clock.
        seen: the time of the last announcement, in seconds since the epoch on Redis' clock.
        busy: the time when it last had a piece, or started, in seconds since the epoch on Redis' clock.
        instance: a random id from the worker's start, which distinguishes workers with the same name.
        host: the host name of its machine, by which the health check on that machine finds it.
    """

    name: str
    model: str
    digest: str
    version: str
    runtime: str = ""
    processes: int = 0
    skew: float = field(default=0.0, compare=False)
    seen: float = 0.0
    busy: float = 0.0
    instance: str = ""
    host: str = ""

    @property
    def id(self) -> str:
        """The id of the announcement in Redis."""
        return f"{self.name}#{self.instance}" if self.instance else self.name

    @property
    def identity(self) -> str:
        """The model as this worker's rows name it."""
        return model_identity(self.model, self.digest, self.runtime.rpartition("/")[2] or "f32")


class Workers(Store):
    """The workers that share one Redis; see `Store` for the arguments."""

    @translates
    def announce(self, worker: Announcement, busy: bool = True) -> None:
        """Announce a worker; it counts as lost unless this is repeated within `GONE_AFTER` seconds.

        Args:
            worker: the announcement; its times are ignored, and are set to now.
            busy: whether the worker has a piece, or has only just started.
        """
        about = {name: getattr(worker, name) for name in ("model", "digest", "version", "runtime", "host")}
        now = self.time()
        fields = [part for pair in about.items() for part in pair] + ["processes", worker.processes]
        fields += ["skew", time.time() - now]
        keys = (self._key(f"worker:{worker.id}"), self._key("workers"))
        self._script("announce", scripts.script)(keys, (now, worker.id, GONE_AFTER, int(busy), *fields))

    @translates
    def leave(self, id: str) -> None:
        """Remove a worker's announcement."""
        self.client.delete(self._key(f"worker:{id}"))
        self.client.zrem(self._key("workers"), id)

    @translates
    def alive(self) -> list[Announcement]:
        """Return the workers that announced themselves lately, sorted by name."""
        known = self._script("alive", scripts.script)((self._key("workers"),), (self.time(), GONE_AFTER))
        ids = sorted(map(text, known))
        with self.client.pipeline(transaction=False) as pipe:
            for id in ids:
                pipe.hgetall(self._key(f"worker:{id}"))
            records = pipe.execute(raise_on_error=False)
        found = zip(ids, records, strict=True)
        return [_announcement(id, record) for id, record in found if isinstance(record, dict) and b"seen" in record]

    @translates
    def may_sweep(self) -> bool:
        """Return whether it is this worker's turn to sweep: one at a time is enough."""
        return bool(self._script("turn", scripts.script)((self._key("sweeping"),), (self._time(), SWEEP_TURN)))

    @translates
    def time(self) -> float:
        """Return the time on Redis' clock, in seconds since the epoch."""
        return self._clock()


def _announcement(id: str, record: dict[bytes, bytes]) -> Announcement:
    # Invalid values from another program get defaults, so that they do not hide the other workers.
    name, _, instance = id.rpartition("#") if "#" in id else (id, "", "")
    texts = {
        field: text(record.get(field.encode(), b"")) for field in ("model", "digest", "version", "runtime", "host")
    }
    return Announcement(
        name=name,
        instance=instance,
        processes=max(0, int(number_or(record.get(b"processes"), 0.0))),
        skew=number_or(record.get(b"skew"), 0.0),
        seen=number_or(record.get(b"seen"), 0.0),
        busy=number_or(record.get(b"busy"), 0.0),
        **texts,
    )
