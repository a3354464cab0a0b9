"""The durable record of every job in Redis: its batches, which of them are pending, and their answers.

A batch is recorded before its message is published, and every change is atomic, so a lost message, or one that comes
twice, does no harm. The keys of job J, behind the prefix:

    job:J           hash   model, sources, state, counters, times
    job:J:refs      hash   batch number → its references (`Batch`)
    job:J:waiting   zset   piece → when it is overdue, for pieces that nobody has claimed
    job:J:claimed   zset   piece → when its lease expires, for pieces that a worker has in hand
    job:J:rows      hash   piece without digest → its answers (`Answers`)
    job:J:parts     hash   batch number → the pieces it was split into; and how often a single image was lost
    job:J:digests   hash   batch number → the digest of its references
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
import secrets
from collections.abc import Iterable
from datetime import UTC, datetime

from redis import RedisError

from pigeonhole.errors import JobCancelled, JobDamaged, MessageInvalid, UnknownJob, UsageError
from pigeonhole.ledger.done import DoneBatch
from pigeonhole.ledger.leases import Leases
from pigeonhole.ledger.messages import VERSION, Batch
from pigeonhole.ledger.numbers import number_or, text
from pigeonhole.ledger.pieces import Piece
from pigeonhole.ledger.redis_client import explained, translates
from pigeonhole.ledger.status import JobStatus, Record, status_of, status_or_unreadable
from pigeonhole.ledger.store import JOB
from pigeonhole.ledger.upkeep import Upkeep, pieces_of
from pigeonhole.sources.reference import Place


class Ledger(Leases, Upkeep):
    """The jobs in one Redis; see `Store` for the arguments."""

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
            why = "has all of its images" if state == b"closed" else f"is {state.decode()}"
            raise UsageError(f"job {job} {why}: nothing can be added to it; submit a new one")
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
        if not self.client.exists(*self._keys(job)) and self.client.zscore(self._key("jobs"), job) is None:
            raise UnknownJob(job)
        self._run("delete", job)

    @translates
    def pending(self, job: str) -> list[Piece]:
        """Return all pending pieces, overdue or not.

        Raises:
            UnknownJob: no such job.
        """
        self.status(job)
        _, _, waiting, claimed, *_ = self._keys(job)
        return sorted(pieces_of([*self.client.zrange(waiting, 0, -1), *self.client.zrange(claimed, 0, -1)], []))

    @translates
    def status(self, job: str) -> JobStatus:
        """Return a job's counters in one round trip, however large it is.

        Raises:
            UnknownJob: no such job.
            MessageInvalid: another version wrote it, or it is damaged.
        """
        return status_of(self._records([job])[0])

    @translates
    def statuses(self, active_only: bool = False) -> list[JobStatus]:
        """Return the counters of all jobs, oldest first, in two round trips; removes those that have expired.

        One whose record can't be understood is `unreadable`, and does not hide the others; `status` says why.
        """
        listed = self.client.zrange(self._key("active" if active_only else "jobs"), 0, -1, withscores=True)
        created = {text(name): number_or(seconds, 0.0) for name, seconds in listed}
        records = self._records(self._forget_expired([name for name in created if JOB.fullmatch(name)]))
        # One without a record has gone in this moment.
        return [
            status_or_unreadable(record, created[record.job]) for record in records if record.fields or record.error
        ]

    @translates
    def job_ids(self) -> list[str]:
        """Return the ids of all jobs, oldest first; removes those that have expired."""
        names = [text(name) for name in self.client.zrange(self._key("jobs"), 0, -1)]
        return self._forget_expired([name for name in names if JOB.fullmatch(name)])

    @translates
    def digests(self, job: str, numbers: Iterable[int]) -> list[str | None]:
        """Return the digests of the references on record under each of these numbers; None where there are none."""
        listed = list(numbers)
        found = self.client.hmget(self._keys(job)[6], [str(number) for number in listed]) if listed else []
        return [None if digest is None else text(digest) for digest in found]

    @translates
    def read(self, job: str, start: int, limit: int) -> list[DoneBatch]:
        """Return the batches that are done, by number from `start`, up to the first of `limit` that is not.

        Raises:
            UnknownJob: it was deleted meanwhile.
            JobDamaged: there are answers without references.
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
            raise JobDamaged(
                f"Redis has lost references of job {job}: `pigeonhole delete {job}`, then submit its images again"
            )
        return [DoneBatch(*one) for one in zip(numbers, batches, done, strict=False)]

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

    def _records(self, names: list[str]) -> list[Record]:
        """Return what Redis holds of each job; of one with a key of another type, the error."""
        with self.client.pipeline(transaction=False) as pipe:
            for name in names:
                job, _, waiting, claimed, *_ = self._keys(name)
                pipe.hgetall(job)
                pipe.zcard(waiting)
                pipe.zcard(claimed)
            pipe.time()
            *replies, (seconds, microseconds) = pipe.execute(raise_on_error=False)
        now = self._now() if self._now else seconds + microseconds / 1e6
        return [self._record(name, now, *replies[3 * at : 3 * at + 3]) for at, name in enumerate(names)]

    def _record(self, name: str, now: float, *replies: object) -> Record:
        for reply in replies:
            if isinstance(reply, RedisError):
                error = explained(reply, self.url)
                if not isinstance(error, MessageInvalid):
                    raise error from reply
                return Record(name, now, {}, 0, 0, error)
        return Record(name, now, *replies)  # type: ignore[arg-type]  # as the three commands reply

    def _check(self, job: str, state: bytes | None) -> None:
        if state is None:
            raise UnknownJob(job)
        if state == b"cancelled":
            raise JobCancelled(job)


def _images(batch: Batch) -> list[tuple[str, str, Place]]:
    """Return what tells the images of a batch from others, wherever its groups cut their paths."""
    return [(scheme, root + path, place) for scheme, root, path, place in batch.located()]
