"""A job in a real Redis that can be restored to any moment, and programs that stop after each round trip to it.

The real code runs: the scripts in Redis, `Ledger`, `sweep`, and the handling of a lost process. Only Celery's queue is
replaced by a list, from which messages are taken in any order.
"""

from array import array
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, replace
from functools import cache, cached_property
from typing import Any

from pigeonhole.errors import JobCancelled, UnknownJob, UsageError
from pigeonhole.ledger.leases import LEASE
from pigeonhole.ledger.ledger import Ledger
from pigeonhole.ledger.pieces import Piece
from pigeonhole.ledger.queue.task_queue import Queue
from pigeonhole.ledger.redis.client import Client
from pigeonhole.ledger.sweep import sweep
from pigeonhole.ledger.wire.messages import Answers, Batch, Group
from pigeonhole.settings import Settings
from worker import losses

MODEL = "digits"

_DUMP = """
local held = {}
for i, key in ipairs(KEYS) do
  held[i] = redis.call('DUMP', key) or ''
  held[#KEYS + i] = redis.call('TTL', key) > 0 and 1 or 0
end
return held
"""
_RESTORE = """
redis.call('DEL', unpack(KEYS))
for i, key in ipairs(KEYS) do
  if ARGV[1 + i] ~= '' then
    redis.call('RESTORE', key, ARGV[1 + #KEYS + i] * ARGV[1] * 1000, ARGV[1 + i])
  end
end
"""


@dataclass(frozen=True)
class Held:
    """The content of Redis about the job, in an order that does not depend on its history."""

    record: frozenset[tuple[bytes, bytes]]
    refs: frozenset[tuple[bytes, bytes]]
    digests: frozenset[tuple[bytes, bytes]]
    rows: frozenset[tuple[bytes, bytes]]
    parts: frozenset[tuple[bytes, bytes]]
    waiting: frozenset[tuple[bytes, float]]
    claimed: frozenset[tuple[bytes, float]]
    active: frozenset[tuple[bytes, float]]
    swept: bytes | None
    keys: frozenset[str]
    expiring: frozenset[str]

    @cached_property
    def state(self) -> str:
        """Return the state of the job: `open`, `closed`, `finished`, `cancelled`; or `deleted`."""
        return dict(self.record).get(b"state", b"deleted").decode()

    @cached_property
    def batches(self) -> dict[int, Batch]:
        """Return the stored references by number."""
        return {int(number): Batch.decode(data) for number, data in self.refs}

    def counter(self, name: bytes) -> int:
        """Return a counter of the job's record."""
        return int(dict(self.record).get(name, 0))


@dataclass(frozen=True)
class Moment:
    """The content of Redis, the waiting messages without an order, and the time."""

    held: Held
    messages: tuple[Piece, ...]
    now: float


@dataclass(frozen=True)
class Running:
    """A program that is interrupted after a round trip; replaying its replies leads to the same point.

    Args:
        program: the name of the program, a method of `World`.
        piece: the piece with which it was started.
        answers: the replies of Redis and the queue so far, in order.
        times: the times that it has read so far.
    """

    program: str
    piece: Piece | None = None
    answers: tuple[Any, ...] = ()
    times: tuple[float, ...] = ()

    def __hash__(self) -> int:
        return hash((self.program, self.piece, len(self.answers)))  # replies may be lists


class World:
    """One job of one Redis.

    Args:
        settings: settings with a prefix of their own.
        client: a client of the Redis.
        sizes: the number of images in each batch.
        renamed: one image of each batch gets another name when it is submitted again.

    Attributes:
        start: the moment when all images are submitted.
        earlier: the content of Redis before that: without a job, with an open job, and after each batch.
    """

    def __init__(self, settings: Settings, client: Client, sizes: tuple[int, ...], renamed: bool = False) -> None:
        self._settings, self._client = settings, client
        self.sizes, self._renamed = sizes, renamed
        self._now = 1_800_000_000.0
        ledger = Ledger(settings, now=lambda: self._now, client=client)
        self._job = ledger.create(MODEL, ())
        key = f"{settings.prefix}:job:{self._job}"
        self._own = [key, *(f"{key}:{part}" for part in ("refs", "digests", "rows", "parts", "waiting", "claimed"))]
        self._keys = [*self._own, f"{settings.prefix}:active", f"{settings.prefix}:swept"]
        self._dump, self._restore = client.register_script(_DUMP), client.register_script(_RESTORE)
        self._messages = list[Piece]()
        # Redis' dumps for a content; the same content may have several, which depend on its history.
        self._known: dict[tuple[bytes | int, ...], Held] = {}
        self._dumps: dict[Held, tuple[bytes | int, ...]] = {}
        # The result of a step depends only on these two, so it is cached.
        self._steps: dict[tuple[Moment, Running], tuple[Moment, Running | None]] = {}
        self.earlier = [self._moment().held]
        for number in range(len(sizes)):
            piece = ledger.add(self._job, number, self._batch(number))
            assert piece
            self._messages.append(piece)
            self.earlier.append(self._moment().held)
        ledger.close(self._job, len(sizes))
        self.start = self._moment()

    def _batch(self, number: int, again: bool = False) -> Batch:
        names = [f"{number}-{image}.png" for image in range(self.sizes[number])]
        if again and self._renamed:
            names[0] = f"other-{names[0]}"
        return Batch((Group("file", "", "", tuple(names)),))

    def step(self, moment: Moment, running: Running) -> tuple[Moment, Running | None]:
        """Run one round trip of a program; return the moment after it, and the program there, or None at its end."""
        key = (moment, running)
        if key not in self._steps:
            self._restore_moment(moment)
            steps = _Steps(running.answers, running.times)
            queue: Any = _Messages(self._messages, steps)
            ledger = _StepLedger(self._settings, lambda: self._now, _StepClient(self._client, steps))
            after: Running | None = None
            try:
                getattr(self, f"_{running.program}")(ledger, queue, running.piece)
            except Paused:
                after = replace(running, answers=tuple(steps.answers), times=tuple(steps.times))
            self._steps[key] = (self._moment(), after)
        return self._steps[key]

    def run(self, moment: Moment, program: str, piece: Piece | None = None) -> Moment:
        """Run a program to its end without interruption."""
        running: Running | None = Running(program, piece)
        while running is not None:
            moment, running = self.step(moment, running)
        return moment

    def later(self, moment: Moment, swept: bool) -> Moment:
        """Advance the clock, so that all leases expire and all waiting pieces are overdue.

        Args:
            moment: the moment from which to advance.
            swept: whether there were sweeps meanwhile; if not, Redis was down.
        """
        moment = replace(moment, now=moment.now + LEASE + 1)
        return self.run(moment, "note_sweep") if swept else moment

    def _moment(self) -> Moment:
        dump = tuple(self._dump(self._keys))
        if dump not in self._known:
            self._known[dump] = self._read()
            self._dumps.setdefault(self._known[dump], dump)
        self._at = self._known[dump]
        return Moment(self._at, tuple(sorted(self._messages, key=str)), self._now)

    def _restore_moment(self, moment: Moment) -> None:
        if moment.held != self._at:
            self._restore(self._keys, (self._settings.result_ttl, *self._dumps[moment.held]))
        self._messages = list(moment.messages)
        self._now = moment.now

    def _read(self) -> Held:
        record, refs, digests, rows, parts = (frozenset(self._client.hgetall(key).items()) for key in self._keys[:5])
        waiting, claimed, active = (
            frozenset(map(tuple, self._client.zrange(key, 0, -1, withscores=True))) for key in self._keys[5:8]
        )
        swept = self._client.get(self._keys[8])
        existing = frozenset(key for key in self._own if self._client.exists(key))
        expiring = frozenset(key for key in self._own if self._client.ttl(key) > 0)
        return Held(record, refs, digests, rows, parts, waiting, claimed, active, swept, existing, expiring)

    # The programs. For each step, a program runs again from its beginning.

    def _work(self, ledger: Ledger, queue: Queue, piece: Piece) -> None:
        """Claim and commit a piece, as a worker process does."""
        batch = ledger.claim(self._job, piece)
        if batch is not None:
            ledger.commit(self._job, piece, answers_to(batch))

    def _lose(self, ledger: Ledger, queue: Queue, piece: Piece) -> None:
        """Record a loss, as the parent of a lost process does."""
        losses._services[:] = [(ledger, queue, MODEL, MODEL)]
        request: Any = _Request(args=(self._job, str(piece)))
        losses.WatchedRequest._record_loss(request)

    def _renew(self, ledger: Ledger, queue: Queue, piece: Piece) -> None:
        ledger.renew(self._job, [piece])

    def _sweep(self, ledger: Ledger, queue: Queue, piece: None) -> None:
        sweep(ledger, queue)

    def _note_sweep(self, ledger: Ledger, queue: Queue, piece: None) -> None:
        ledger.note_sweep()

    def _cancel(self, ledger: Ledger, queue: Queue, piece: None) -> None:
        with suppress(UsageError):  # it is finished already
            ledger.cancel(self._job)

    def _delete(self, ledger: Ledger, queue: Queue, piece: None) -> None:
        with suppress(UnknownJob):
            ledger.delete(self._job)

    def _submit(self, ledger: Ledger, queue: Queue, piece: None) -> None:
        """Submit all images again, as a submission does if its job turns out to be open."""
        with suppress(UnknownJob, JobCancelled):
            for number in range(len(self.sizes)):
                with suppress(UsageError):  # another batch is on record, and is not changed
                    if added := ledger.add(self._job, number, self._batch(number, again=True)):
                        queue.publish(MODEL, self._job, added)
            ledger.close(self._job, len(self.sizes))


def answers_to(batch: Batch) -> Answers:
    """Return answers that identify their images."""
    images = len(batch)
    best, ppm = array("H", range(images)), array("I", [900_000] * images)
    return Answers(MODEL, tuple(batch.shown()), images, 1, best, ppm)


class Paused(BaseException):
    """Raised when a program has made its step; no `Exception`, so that only the world catches it."""


@dataclass
class _Request:
    args: tuple[str, str]


class _Steps:
    """Replays the replies of earlier round trips, executes one more, and stops at the next.

    The times that a program has read are replayed as well, so that it makes the same decisions.
    """

    def __init__(self, answers: tuple[Any, ...], times: tuple[float, ...]) -> None:
        self.answers, self.times = list(answers), list(times)
        self._known = len(answers)
        self._next = self._read = 0

    def time(self, now: float) -> float:
        if self._read == len(self.times):
            self.times.append(now)
        self._read += 1
        return self.times[self._read - 1]

    def at_once(self, trip: Callable[[], Any]) -> Any:
        if self._next == len(self.answers):
            self.answers.append(trip())
            self._known += 1
        self._next += 1
        return self.answers[self._next - 1]

    def __call__(self, trip: Callable[[], Any]) -> Any:
        if self._next > self._known:
            raise Paused
        if self._next == self._known:
            self.answers.append(trip())
        self._next += 1
        return self.answers[self._next - 1]


class _StepLedger(Ledger):
    """A ledger that reads replayed times; scripts get the current time."""

    def _clock(self) -> float:
        return self.client.steps.time(super()._clock())  # type: ignore[no-any-return]


class _StepClient:
    """A Redis client each of whose round trips is a step."""

    def __init__(self, client: Client, steps: _Steps) -> None:
        self._client, self.steps = client, steps

    def register_script(self, source: str) -> Callable[..., Any]:
        script = _registered(self._client, source)
        return lambda keys, args: self.steps(lambda: script(keys, args))

    def pipeline(self, **options: object) -> "_StepPipeline":
        return _StepPipeline(self._client.pipeline(**options), self.steps)

    def hget(self, key: str, field: str) -> Any:
        """Read a batch's references without a step of their own: they hardly ever change."""
        return self.steps.at_once(lambda: self._client.hget(key, field))

    def __getattr__(self, command: str) -> Callable[..., Any]:
        send = getattr(self._client, command)
        return lambda *args, **options: self.steps(lambda: send(*args, **options))


@cache
def _registered(client: Client, source: str) -> Callable[..., Any]:
    return client.register_script(source)  # type: ignore[no-any-return]


class _StepPipeline:
    """A pipeline, which is executed as one step."""

    def __init__(self, pipe: Client, steps: _Steps) -> None:
        self._pipe, self._steps = pipe, steps

    def __enter__(self) -> "_StepPipeline":
        return self

    def __exit__(self, *_: object) -> None:
        self._pipe.reset()

    def execute(self, **options: bool) -> Any:
        return self._steps(lambda: self._pipe.execute(**options))

    def __getattr__(self, command: str) -> Callable[..., Any]:
        return getattr(self._pipe, command)  # type: ignore[no-any-return]


class _Messages:
    """Celery's queue, as `Queue` shows it."""

    def __init__(self, messages: list[Piece], steps: _Steps) -> None:
        self._messages, self._steps = messages, steps

    def publish(self, model: str, job: str, piece: Piece, first: bool = False) -> None:
        self._steps(lambda: self._messages.append(piece))

    def depth(self, model: str) -> int:
        return self._steps(lambda: len(self._messages))  # type: ignore[no-any-return]
