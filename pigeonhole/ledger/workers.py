"""Workers: each one's announcement in Redis, which expires when the worker no longer renews it.

The keys, behind the prefix: `workers` (zset: worker → when last seen) and `worker:ID` (hash, expiring).
A worker renews its announcement from the loop that also takes its messages, so that one which lost its
connection falls silent.
"""

import time
from dataclasses import dataclass, field

from pigeonhole.ledger import scripts
from pigeonhole.ledger.numbers import number_or, text
from pigeonhole.ledger.redis_client import translates
from pigeonhole.ledger.store import Store
from pigeonhole.text import model_identity

#: Seconds between two announcements, and after which a silent worker counts as gone.
ANNOUNCE_EVERY = 3.0
GONE_AFTER = 12
#: Seconds that one worker's turn to sweep lasts.
SWEEP_TURN = 4.0


@dataclass(frozen=True, kw_only=True)
class Announcement:
    """What a worker says of itself.

    Args:
        name: Celery's name for it, `celery@host`; two of one machine may have the same.
        model: the name of its checkpoint, after which its queue is named.
        digest: the checkpoint's SHA-256.
        version: of Pigeonhole.
        runtime: what runs its network, and in which precision: `torch/f32`.
        processes: how many of its processes have loaded the checkpoint.
        skew: seconds that its machine's clock is ahead of Redis'.
        seen: when it last announced itself, and
        busy: when it last had something in hand, or started; seconds since the epoch on Redis' clock.
        instance: made at random when it starts: what tells it from others of its name.
        host: the name of its machine, by which the machine's health check finds it, whatever its own name is.
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
        """The name of its announcement in Redis."""
        return f"{self.name}#{self.instance}" if self.instance else self.name

    @property
    def identity(self) -> str:
        """The model as this worker's rows name it."""
        return model_identity(self.model, self.digest, self.runtime.rpartition("/")[2] or "f32")


class Workers(Store):
    """The workers that share one Redis; see `Store` for the arguments."""

    @translates
    def announce(self, worker: Announcement, busy: bool = True) -> None:
        """Announce a worker; it counts as gone unless this is repeated in time.

        Args:
            worker: what it says of itself; the times are those of this call.
            busy: whether it has something in hand, or has only just started.
        """
        about = {name: getattr(worker, name) for name in ("model", "digest", "version", "runtime", "host")}
        now = self.time()
        fields = [part for pair in about.items() for part in pair] + ["processes", worker.processes]
        fields += ["skew", time.time() - now]
        keys = (self._key(f"worker:{worker.id}"), self._key("workers"))
        self._script("announce", scripts.script)(keys, (now, worker.id, GONE_AFTER, int(busy), *fields))

    @translates
    def leave(self, id: str) -> None:
        """Take back a worker's announcement."""
        self.client.delete(self._key(f"worker:{id}"))
        self.client.zrem(self._key("workers"), id)

    @translates
    def alive(self) -> list[Announcement]:
        """Return the workers that announced themselves lately, by name."""
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
    # What another program left under our prefix shall not hide the workers beside it: it is shown as far as it goes.
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
