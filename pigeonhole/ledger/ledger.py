"""The durable record of every job in Redis: its batches, which of them are pending, and their answers.

A batch is recorded before its message is published, and every change is atomic, so a lost message, or one that comes
twice, does no harm. The keys of job J, behind the prefix:

    job:J           hash   model, sources, state, counters, times
    job:J:refs      hash   batch number → its references (`Batch`)
    job:J:waiting   zset   piece → when it is overdue, for pieces that nobody has claimed
    job:J:claimed   zset   piece → when its lease expires, for pieces that a worker has in hand
    job:J:rows      hash   piece without digest → its answers (`Answers`)
    job:J:digests   hash   batch number → the digest of its references
    job:J:parts     hash   batch number → the pieces it was split into; and how often a single image was lost
    active          zset   job → when it was created, for jobs that are neither finished nor cancelled
    jobs            zset   job → when it was created, for all
    swept           string when the last sweep was

A piece is pending while it is in `waiting` or `claimed`; committing removes it and stores its answers in one step, so
that a batch done twice counts once. A job is `open` while images are submitted to it, `closed` when its sources are
exhausted, `finished` when a closed job has no pending piece, or `cancelled`; then its keys expire.

A claim is a lease, which the process that holds it renews. A piece whose process was lost, or let its lease expire, is
split, until an image that kills its reader is alone.

The name of a piece carries the digest of the references on record (`Piece`). Should Redis forget a batch that it had
acknowledged, and another be recorded under the same number, then nothing that is done for the old one counts.
"""

import json
import re
import secrets
from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace
from datetime import UTC, datetime

from pigeonhole.errors import ErrorKind, JobCancelled, MessageInvalid, UnknownJob, UsageError
from pigeonhole.ledger import scripts
from pigeonhole.ledger.done import DoneBatch
from pigeonhole.ledger.messages import VERSION, Answers, Batch
from pigeonhole.ledger.pieces import Piece
from pigeonhole.ledger.redis_client import Client, connect, server_time, translates
from pigeonhole.ledger.status import JobStatus, status_of, status_or_unreadable
from pigeonhole.settings import Settings
from pigeonhole.sources.reference import Place

#: Seconds that a claim lasts unless it is renewed: so long a worker that vanished goes unnoticed.
LEASE = 20.0
#: Seconds between two sweeps after which holders may have been kept from renewing: then a lapsed lease says nothing.
SWEEP_GAP = 10.0
#: How often a single image may be lost with its process before it is blamed. One that kills its reader is found by
#: the worker (`worker.trial`) long before; this only keeps any other from going round for ever.
LOSSES = 20
_JOB = re.compile(r"\d{8}-\d{6}-[0-9a-f]{6}")
#: What a job's own keys end with, in the order that the scripts know them by; `active` comes after them.
_PARTS = ("", ":refs", ":waiting", ":claimed", ":rows", ":parts", ":digests")


class Ledger:
    """The jobs in one Redis.

    Args:
        settings: where Redis is, the prefix of its keys, and how long things may take.
        now: a clock in place of the server's, for tests.
        client: a client in place of a new one.
    """

    def __init__(
        self, settings: Settings, now: Callable[[], float] | None = None, client: Client | None = None
    ) -> None:
        self.url = settings.broker_url
        self.client = client or connect(settings.broker_url)
        self.settings = settings
        self._now = now
        self._scripts = dict[str, Client]()

    @translates
    def ping(self) -> None:
        """Raise BrokerUnreachable unless Redis answers."""
        self.client.ping()

    @translates
    def new_job(self) -> str:
        """Return an id for a job that is created later; it begins with the date and sorts by it."""
        return f"{datetime.fromtimestamp(self._clock(), UTC):%Y%m%d-%H%M%S}-{secrets.token_hex(3)}"

    @translates
    def create(self, model: str, sources: tuple[str, ...], job: str | None = None) -> str:
        """Open a job for a model's queue and return its id; one that is on record stays as it is.

        Args:
            model: its name.
            sources: as the user named them.
            job: an id from `new_job`, which the caller may have recorded before; None: a new one.
        """
        oldest = [name.decode(errors="replace") for name in self.client.zrange(self._key("jobs"), 0, 9)]
        self._forget_expired(oldest)  # so that the list ends somewhere though nobody looks at it
        job = job or self.new_job()
        self._run("create", job, VERSION, model, json.dumps(sources))
        return job

    @translates
    def add(self, job: str, number: int, batch: Batch) -> Piece | None:
        """Record a batch as pending.

        Returns:
            The batch as a piece, to be published; None where it is on record already, and nothing has changed.

        Raises:
            UnknownJob, JobCancelled: the job is gone.
            UsageError: the job is complete, so nothing can be added, or another batch is on record under this number.
        """
        piece, seconds = Piece(number, batch.digest), self.settings.publish_seconds
        state, added = self._run("add", job, str(piece), batch.encode(), len(batch), seconds)
        self._check(job, state)
        if added:
            return piece
        known = self.client.hget(self._keys(job)[1], str(number))
        if known is None:
            raise UsageError(f"job {job} is {state.decode()}: nothing can be added to it; submit a new one")
        there = Batch.decode(known)
        # Paths may be shown otherwise, by another spelling of the same sources.
        if _images(there) != _images(batch):
            raise UsageError(
                f"job {job} holds other images as its batch {number}: the sources are not what they were when it was "
                f"begun; `pigeonhole cancel {job}`, then the same command again, without --job"
            )
        return None

    @translates
    def close(self, job: str, batches: int) -> bool:
        """Note that everything is submitted.

        Args:
            job: its id.
            batches: how many that is.

        Returns:
            False where fewer are on record: Redis has forgotten what it had acknowledged, and they must be added again.

        Raises:
            UnknownJob, JobCancelled: the job is gone.
            UsageError: there are more.
        """
        state, known = self._run("close", job, batches, self.settings.result_ttl)
        self._check(job, state)
        if known > batches:
            raise UsageError(
                f"job {job} has {known} batches, and these sources make {batches}: they are not what it was begun "
                f"with; `pigeonhole cancel {job}`, then the same command again, without --job"
            )
        return bool(known == batches)

    @translates
    def cancel(self, job: str) -> None:
        """Drop the pending pieces; rows that are done stay.

        Raises:
            UnknownJob: no such job.
            UsageError: it is finished.
        """
        state = self._run("cancel", job, self.settings.result_ttl)
        if state == b"finished":
            raise UsageError(f"job {job} is finished already")
        if state is None:
            raise UnknownJob(job)

    @translates
    def delete(self, job: str) -> None:
        """Delete a job and its rows; messages that are still queued for it will find nothing to do.

        Raises:
            UnknownJob: no such job.
        """
        # Looked for before, not counted after: a deletion that is sent again finds nothing any more.
        if not self.client.exists(*self._keys(job)[:-2]) and self.client.zscore(self._key("jobs"), job) is None:
            raise UnknownJob(job)
        # No MULTI, which a full Redis refuses: a job without keys is removed from the lists sooner or later.
        self.client.delete(*self._keys(job)[:-2])
        self._unlist([job])

    @translates
    def claim(self, job: str, piece: Piece) -> Batch | None:
        """Claim a piece, and return its references.

        It must be renewed within `LEASE` seconds, and again, for as long as it is in hand.

        Returns:
            None where it is done, split, cancelled or unknown: there is nothing to do.

        Raises:
            MessageInvalid: the references can't be understood.
        """
        data = self._run("claim", job, str(piece), LEASE)
        return None if data is None else piece.of(_recorded(data, piece))

    @translates
    def renew(self, job: str, pieces: Iterable[Piece]) -> int:
        """Renew the leases of pieces that are in hand.

        Returns:
            How many of them are claimed; the others are done or split, or wait again.
        """
        return int(self._run("renew", job, LEASE, *map(str, pieces)))

    @translates
    def commit(self, job: str, piece: Piece, answers: Answers) -> bool:
        """Store the answers to a piece and remove it from the pending ones, in one step.

        Returns:
            False where it is not pending any more; then nothing has changed.
        """
        counts = (len(answers), len(answers.errors), len(answers.review))
        ttl = self.settings.result_ttl
        data = replace(answers, batch=piece.digest).encode()
        return bool(self._run("commit", job, str(piece), data, *counts, ttl))

    @translates
    def lose(self, job: str, piece: Piece, model: str) -> list[Piece]:
        """Note that the process with a piece in hand was lost: split the piece, or count the loss of a single image.

        A piece that is split is not pending any more, only its parts are: what its late owner may commit is dropped.

        Args:
            job, piece: what was in hand.
            model: what the error row names, should the one image be blamed.

        Returns:
            What should be published now.

        Raises:
            MessageInvalid: the references can't be understood; then nothing has changed.
        """
        data = self.client.hget(self._keys(job)[1], str(piece.number))
        if data is None:
            return []
        parts = piece.split(len(_recorded(data, piece)))
        losses = self._run("lose", job, str(piece), self.settings.publish_seconds, *map(str, parts))
        if losses is None:
            return []
        if parts:
            return parts
        if losses < LOSSES:
            return [piece]
        blame = (ErrorKind.CRASHED, f"the process that had it, and nothing else, in hand ended {losses} times")
        self.commit(job, piece, Answers.failed(model, [blame]))
        return []

    @translates
    def losses(self, job: str, piece: Piece) -> int:
        """Return how often a quarantined image was lost with its process."""
        return int(self.client.hget(self._keys(job)[5], f"losses:{piece.key}") or 0)

    @translates
    def release(self, job: str, piece: Piece) -> bool:
        """Return a claimed piece to those that wait: another worker may be able to read it.

        Returns:
            False where nobody has it in hand.
        """
        return bool(self._run("release", job, str(piece), self.settings.publish_seconds))

    @translates
    def swept_lately(self) -> bool:
        """Return whether somebody swept a moment ago.

        If not, Redis or everybody was away: those who hold leases had no chance to renew them.
        """
        last = self.client.get(self._key("swept"))
        return last is not None and 0 <= self._clock() - float(last) < SWEEP_GAP

    @translates
    def note_sweep(self) -> None:
        """Note that somebody has swept, at the end of it: one that fails on its way gives nobody's lease up."""
        self.client.set(self._key("swept"), self._clock())

    @translates
    def overdue(self, job: str, lost: int) -> tuple[list[Piece], list[Piece]]:
        """Return the pieces that need attention.

        Args:
            job: its id.
            lost: how many of the pieces that wait may have lost their message.

        Returns:
            Those whose lease has expired, for `lose` or `renew`; and those that wait and should be published again,
            which is noted.
        """
        lapsed, waiting = self._run("overdue", job, lost, self.settings.publish_seconds)
        return _pieces(lapsed), _pieces(waiting)

    @translates
    def pending(self, job: str) -> list[Piece]:
        """Return all pending pieces, overdue or not.

        Raises:
            UnknownJob: no such job.
        """
        self.status(job)
        _, _, waiting, claimed, *_ = self._keys(job)
        return sorted(_pieces([*self.client.zrange(waiting, 0, -1), *self.client.zrange(claimed, 0, -1)]))

    @translates
    def status(self, job: str) -> JobStatus:
        """Return a job's counters in one round trip, however large it is.

        Raises:
            UnknownJob: no such job.
            MessageInvalid: another version wrote it, or it is damaged.
        """
        return status_of(*self._records([job])[0])

    @translates
    def statuses(self, active_only: bool = False) -> list[JobStatus]:
        """Return the counters of all jobs, oldest first, in two round trips; removes those that have expired.

        One whose record can't be understood is `unreadable`, and does not hide the others; `status` says why.
        """
        listed = self.client.zrange(self._key("active" if active_only else "jobs"), 0, -1, withscores=True)
        created = {name.decode(errors="surrogateescape"): seconds for name, seconds in listed}
        records = self._records(self._forget_expired([name for name in created if _JOB.fullmatch(name)]))
        # One without a record has gone in this moment.
        return [status_or_unreadable(*record, created[record[0]]) for record in records if record[1]]

    @translates
    def read(self, job: str, start: int, limit: int) -> list[DoneBatch]:
        """Return the batches that are done, by number from `start`, up to the first of `limit` that is not.

        Raises:
            UnknownJob: it was deleted meanwhile.
            MessageInvalid: there are answers without references.
        """
        keys = self._keys(job)
        numbers = range(start, start + limit)
        done = list[tuple[tuple[str, bytes], ...]]()
        for number, data in zip(numbers, self.client.hmget(keys[4], [str(number) for number in numbers]), strict=True):
            answers = ((str(number), data),) if data is not None else self._parts(keys, number)
            if answers is None:
                break
            done.append(answers)
        if not done:
            return []
        batches = self.client.hmget(keys[1], [str(number) for number in numbers[: len(done)]])
        if None in batches:
            self.status(job)  # says so if it was deleted between the two
            raise MessageInvalid(f"job {job} has answers without references: the ledger is damaged; submit it again")
        return [DoneBatch(*one) for one in zip(numbers, batches, done, strict=False)]

    @translates
    def digests(self, job: str, numbers: Sequence[int]) -> list[str | None]:
        """Return the digests of batches by number; None for those that are not on record."""
        key, found = self._keys(job)[6], list[bytes | None]()
        for start in range(0, len(numbers), 1000):
            found += self.client.hmget(key, [str(number) for number in numbers[start : start + 1000]])
        return [None if digest is None else digest.decode(errors="replace") for digest in found]

    def _parts(self, keys: tuple[str, ...], number: int) -> tuple[tuple[str, bytes], ...] | None:
        """Return the answers to all pieces of a batch that was split; None where it was not, or not all are done."""
        split = self.client.hget(keys[5], str(number))
        if split is None:
            return None
        names = split.decode(errors="replace").split(",")
        answers = self.client.hmget(keys[4], names)
        return None if None in answers else tuple(zip(names, answers, strict=True))

    def _forget_expired(self, names: list[str]) -> list[str]:
        """Remove the jobs whose keys are gone from the lists, and return the others."""
        with self.client.pipeline(transaction=False) as pipe:
            for name in names:
                pipe.exists(self._key(f"job:{name}"))
            there = pipe.execute()
        if expired := [name for name, exists in zip(names, there, strict=True) if not exists]:
            self._unlist(expired)
        return [name for name, exists in zip(names, there, strict=True) if exists]

    def _unlist(self, names: list[str]) -> None:
        """Remove jobs from both lists."""
        self.client.zrem(self._key("jobs"), *names)
        self.client.zrem(self._key("active"), *names)

    def _records(self, names: list[str]) -> list[tuple[str, dict[bytes, bytes], int, int]]:
        with self.client.pipeline(transaction=False) as pipe:
            for name in names:
                job, _, waiting, claimed, *_ = self._keys(name)
                pipe.hgetall(job)
                pipe.zcard(waiting)
                pipe.zcard(claimed)
            replies = pipe.execute()
        triples = zip(replies[::3], replies[1::3], replies[2::3], strict=True)
        return [(name, *triple) for name, triple in zip(names, triples, strict=True)]

    def _run(self, name: str, job: str, *args: object) -> Client:
        """Run the script of that name on a job."""
        if name not in self._scripts:
            self._scripts[name] = self.client.register_script(scripts.on_job(name))
        return self._scripts[name](self._keys(job), (self._time(), job, *args))

    def _check(self, job: str, state: bytes | None) -> None:
        if state is None:
            raise UnknownJob(job)
        if state == b"cancelled":
            raise JobCancelled(job)

    def _key(self, name: str) -> str:
        return f"{self.settings.prefix}:{name}"

    def _keys(self, job: str) -> tuple[str, ...]:
        """Return a job's keys in the order that the scripts know them by; UnknownJob where that is no job's id."""
        if not _JOB.fullmatch(job):
            raise UnknownJob(job)  # `ID:rows`, say, would be a key of another's
        own = [self._key(f"job:{job}{part}") for part in _PARTS]
        return (*own, self._key("active"), self._key("jobs"))

    def _time(self) -> float | str:
        return self._now() if self._now else ""

    def _clock(self) -> float:
        return self._now() if self._now else server_time(self.client)


def _pieces(members: list[bytes]) -> list[Piece]:
    """Return the pieces among the members of a set; what we did not write shall not stop a sweep."""
    pieces = []
    for member in members:
        try:
            pieces.append(Piece.parse(member.decode(errors="replace")))
        except MessageInvalid:
            continue  # it goes with the job's keys
    return pieces


def _images(batch: Batch) -> list[tuple[str, str, Place]]:
    """Return what tells the images of a batch from others, wherever its groups cut their paths."""
    return [(scheme, root + path, place) for scheme, root, path, place in batch.located()]


def _recorded(data: bytes, piece: Piece) -> Batch:
    """Return the batch on record that a piece is of.

    Raises:
        MessageInvalid: it can't be understood, or is another.
    """
    batch = Batch.decode(data)
    if batch.digest != piece.digest:
        raise MessageInvalid(f"the references on record as batch {piece.number} are not those of {piece}")
    return batch
