"""The durable record of every job in Redis: its batches, which of them are pending, and their answers.

A batch is recorded before its message is published, and every change is atomic. So a lost or duplicated message does no
harm. The keys of job J, behind the prefix:

    job:J           hash   model, sources, state, counters, times
    job:J:refs      hash   batch number → its references (`Batch`)
    job:J:waiting   zset   piece → when it is overdue, for pieces that no worker has claimed
    job:J:claimed   zset   piece → when its lease expires, for pieces that a worker has claimed
    job:J:rows      hash   piece without digest → its answers (`Answers`)
    job:J:parts     hash   batch number → its pieces after a split; also the losses of single images
    job:J:digests   hash   batch number → the digest of its references
    active          zset   job → when it was created, for jobs that are neither finished nor cancelled
    jobs            zset   job → when it was created, for all jobs
    swept           string the time of the last sweep

A piece is pending while it is in `waiting` or `claimed`. A commit removes it and stores its answers in one step, so a
batch that is classified twice counts once. A job is `open` while images are submitted to it, and `closed` once all are.
It is `finished` when it is closed and has no pending piece, or it is `cancelled`; then its keys expire.

A claim is a lease that the worker process renews. If the process is lost or its lease expires, the piece is split. An
image that crashes its reader ends up alone in a piece.

The name of a piece contains the digest of the references on record (`Piece`). If Redis loses a batch and another one is
recorded under the same number, answers to the old batch do not count.
"""

import json
import secrets
from collections.abc import Iterable
from datetime import UTC, datetime

from redis import RedisError

from pigeonhole.errors import JobCancelled, JobDamaged, MessageInvalid, UnknownJob, UsageError
from pigeonhole.ledger.done import DoneBatch
from pigeonhole.ledger.leases import Leases
from pigeonhole.ledger.pieces import Piece
from pigeonhole.ledger.redis.client import explained, translates
from pigeonhole.ledger.redis.store import JOB
from pigeonhole.ledger.status import JobStatus, Record, status_of, status_or_unreadable
from pigeonhole.ledger.upkeep import Upkeep, pieces_of
from pigeonhole.ledger.wire.messages import VERSION, Batch
from pigeonhole.ledger.wire.numbers import number_or, text
from pigeonhole.sources.reference import Place


class Ledger(Leases, Upkeep):
    """The jobs in one Redis; see `Store` for the arguments."""

    @translates
    def new_job(self) -> str:
        """Return a new job id; it begins with date and time, so ids sort by age."""
        return f"{datetime.fromtimestamp(self._clock(), UTC):%Y%m%d-%H%M%S}-{secrets.token_hex(3)}"

    @translates
    def create(self, model: str, sources: tuple[str, ...], job: str | None = None) -> str:
        """Open a job for a model's queue and return its id; a job that is on record is not changed.

        Args:
            model: the model's name.
            sources: the SOURCEs as the user named them.
            job: an id from `new_job`, which the caller may have recorded before; None: a new one.
        """
        oldest = [name.decode(errors="replace") for name in self.client.zrange(self._key("jobs"), 0, 9)]
        self._forget_expired(oldest)  # bounds the list even if no command ever lists jobs
        job = job or self.new_job()
        self._run("create", job, VERSION, model, json.dumps(sources))
        return job

    @translates
    def add(self, job: str, number: int, batch: Batch) -> Piece | None:
        """Record a batch as pending.

        Returns:
            The batch as a piece, to publish; None if it is on record already and nothing has changed.

        Raises:
            UnknownJob, JobCancelled: the job was deleted or cancelled.
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
        # The images are compared, not the shown paths: the same sources may be spelled differently.
        if _images(there) != _images(batch):
            raise UsageError(
                f"job {job} has other images in its batch {number}: its sources have changed since it was started. "
                f"Try: `pigeonhole cancel {job}`, then the same command without --job"
            )
        return None

    @translates
    def close(self, job: str, batches: int) -> bool:
        """Close a job: all of its batches are submitted.

        Args:
            job: the job's id.
            batches: the number of batches that were submitted.

        Returns:
            False if fewer are on record: Redis has lost acknowledged batches, and they must be added again.

        Raises:
            UnknownJob, JobCancelled: the job was deleted or cancelled.
            UsageError: more batches are on record.
        """
        state, known = self._run("close", job, batches, self.settings.result_ttl)
        self._check(job, state)
        if known > batches:
            raise UsageError(
                f"job {job} has {known} batches, and these sources have {batches}: they have changed since it was "
                f"started. Try: `pigeonhole cancel {job}`, then the same command without --job"
            )
        return bool(known == batches)

    @translates
    def cancel(self, job: str) -> None:
        """Cancel a job: drop its pending pieces and keep its rows.

        Raises:
            UnknownJob: no such job.
            UsageError: the job is finished.
        """
        state = self._run("cancel", job, self.settings.result_ttl)
        if state == b"finished":
            raise UsageError(f"job {job} is finished already")
        if state is None:
            raise UnknownJob(job)

    @translates
    def delete(self, job: str) -> None:
        """Delete a job and its rows; workers ignore messages that are still queued for it.

        Raises:
            UnknownJob: no such job.
        """
        # Checked before the deletion: if the command is sent twice, the second one deletes nothing.
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
            MessageInvalid: another version wrote the record, or it is damaged.
        """
        return status_of(self._records([job])[0])

    @translates
    def statuses(self, active_only: bool = False) -> list[JobStatus]:
        """Return the counters of all jobs, oldest first, in two round trips; remove jobs that have expired.

        A job whose record can't be read is `unreadable`; `status` raises the reason.
        """
        listed = self.client.zrange(self._key("active" if active_only else "jobs"), 0, -1, withscores=True)
        created = {text(name): number_or(seconds, 0.0) for name, seconds in listed}
        records = self._records(self._forget_expired([name for name in created if JOB.fullmatch(name)]))
        # A job without a record was deleted since the list was read.
        return [
            status_or_unreadable(record, created[record.job]) for record in records if record.fields or record.error
        ]

    @translates
    def job_ids(self) -> list[str]:
        """Return the ids of all jobs, oldest first; remove jobs that have expired."""
        names = [text(name) for name in self.client.zrange(self._key("jobs"), 0, -1)]
        return self._forget_expired([name for name in names if JOB.fullmatch(name)])

    @translates
    def digests(self, job: str, numbers: Iterable[int]) -> list[str | None]:
        """Return the digest of each of these batches as recorded; None for a batch that is not on record."""
        listed = list(numbers)
        found = self.client.hmget(self._keys(job)[6], [str(number) for number in listed]) if listed else []
        return [None if digest is None else text(digest) for digest in found]

    @translates
    def read(self, job: str, start: int, limit: int) -> list[DoneBatch]:
        """Return at most `limit` finished batches, by number from `start` and without a gap.

        Raises:
            UnknownJob: the job was deleted meanwhile.
            JobDamaged: a batch has answers but no references.
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
            self.status(job)  # raises UnknownJob if it was deleted between the two reads
            raise JobDamaged(
                f"Redis has lost references of job {job}. Try: `pigeonhole delete {job}`, then submit its images again"
            )
        return [DoneBatch(*one) for one in zip(numbers, batches, done, strict=False)]

    def _parts(self, keys: tuple[str, ...], number: int) -> tuple[tuple[str, bytes], ...] | None:
        """Return the answers to all pieces of a split batch; None if it was not split, or a piece is pending."""
        split = self.client.hget(keys[5], str(number))
        if split is None:
            return None
        names = split.decode(errors="replace").split(",")
        answers = self.client.hmget(keys[4], names)
        return None if None in answers else tuple(zip(names, answers, strict=True))

    def _forget_expired(self, names: list[str]) -> list[str]:
        """Remove jobs from the lists whose keys have expired, and return the others."""
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
        """Return the record of each job; for a job with a key of another type, a record with the error."""
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
    """Return the identity of each image in a batch, however its groups divide the paths."""
    return [(scheme, root + path, place) for scheme, root, path, place in batch.located()]
