"""The durable record of every job in Redis: what is owed, claimed and done.

Written before anything is published and changed only in atomic steps, it is what makes a lost message, or one
that comes twice, harmless. The keys of job J, behind the prefix:

    job:J           hash   model, sources, state, counters, times
    job:J:refs      hash   batch number → its references (`Batch`)
    job:J:waiting   zset   batch number → when it is overdue, for batches that nobody has claimed
    job:J:claimed   zset   batch number → when it is overdue, for batches that a worker has in hand
    job:J:rows      hash   batch number → its answers (`Answers`)
    active          zset   job → when it was created, for jobs that are neither finished nor cancelled
    jobs            zset   job → when it was created, for all

A batch is owed while it stands in `waiting` or `claimed`; committing strikes it off and stores its answers in one
step, so that a batch done twice counts once. A job is `open` while it is submitted to, `closed` when its source
is exhausted, `finished` when a closed job owes nothing, or `cancelled`; then its keys expire.
"""

import json
import secrets
from collections.abc import Callable
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from itertools import takewhile

from worker.contract import scripts
from worker.contract.errors import JobCancelled, MessageInvalid, UnknownJob, UsageError
from worker.contract.messages import VERSION, Answers, Batch
from worker.contract.redis_client import Client, connect, translates
from worker.contract.settings import Settings


@dataclass(frozen=True, kw_only=True)
class JobStatus:
    """A job's counters at one moment; times are seconds since the epoch on Redis' clock, None if not yet.

    In a list of jobs, `state` is `unreadable` and the counters are 0 where another version wrote the record.
    """

    job: str
    state: str
    model: str
    created: float
    sources: tuple[str, ...] = ()
    started: float | None = None
    finished: float | None = None
    batches: int = 0
    batches_waiting: int = 0
    batches_claimed: int = 0
    images: int = 0
    done: int = 0
    errors: int = 0
    reviews: int = 0

    @property
    def labels(self) -> int:
        """How many images have a label."""
        return self.done - self.errors

    @property
    def over(self) -> bool:
        """Whether nothing more will happen to it."""
        return self.state not in ("open", "closed")

    def to_json(self) -> dict[str, object]:
        """Give all fields, and `labels`, as they are printed with `--json`."""
        return asdict(self) | {"labels": self.labels}


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
        self._settings = settings
        self._now = now
        self._add = self.client.register_script(scripts.ADD)
        self._close = self.client.register_script(scripts.CLOSE)
        self._cancel = self.client.register_script(scripts.CANCEL)
        self._claim = self.client.register_script(scripts.CLAIM)
        self._commit = self.client.register_script(scripts.COMMIT)
        self._overdue = self.client.register_script(scripts.OVERDUE)

    @translates
    def ping(self) -> None:
        """Raise BrokerUnreachable unless Redis answers."""
        self.client.ping()

    @translates
    def create(self, model: str, sources: tuple[str, ...]) -> str:
        """Open a job for a model's queue and give its id, which begins with the date and sorts by it."""
        now = self._now() if self._now else float("{}.{:06d}".format(*self.client.time()))
        job = f"{datetime.fromtimestamp(now, UTC):%Y%m%d-%H%M%S}-{secrets.token_hex(3)}"
        with self.client.pipeline() as pipe:
            pipe.hset(
                self._key(f"job:{job}"),
                mapping={
                    "v": VERSION,
                    "model": model,
                    "sources": json.dumps(sources),
                    "state": "open",
                    "created": now,
                },
            )
            pipe.zadd(self._key("jobs"), {job: now})
            pipe.zadd(self._key("active"), {job: now})
            pipe.execute()
        return job

    @translates
    def add(self, job: str, number: int, batch: Batch) -> None:
        """Put a batch on record as owed; once it is there, adding it again changes nothing.

        Raises:
            UnknownJob, JobCancelled: the job is gone.
            UsageError: the job is complete; nothing can be added.
        """
        state = self._run(self._add, job, number, batch.encode(), len(batch), self._settings.publish_seconds)
        self._check(job, state, submitting=True)

    @translates
    def close(self, job: str) -> None:
        """Say that everything is submitted.

        Raises:
            UnknownJob, JobCancelled: the job is gone.
        """
        self._check(job, self._run(self._close, job, self._settings.result_ttl))

    @translates
    def cancel(self, job: str) -> None:
        """Strike off what is still owed; rows that are done stay.

        Raises:
            UnknownJob: no such job.
            UsageError: it is over already.
        """
        state = self._run(self._cancel, job, self._settings.result_ttl)
        if state in (b"finished", b"cancelled"):
            raise UsageError(f"job {job} is {state.decode()} already")
        self._check(job, state)

    @translates
    def delete(self, job: str) -> None:
        """Forget a job and its rows; messages that are still queued for it will find nothing to do.

        Raises:
            UnknownJob: no such job.
        """
        with self.client.pipeline() as pipe:
            pipe.delete(*self._keys(job)[:5])
            pipe.zrem(self._key("active"), job)
            pipe.zrem(self._key("jobs"), job)
            deleted, _, listed = pipe.execute()
        if not deleted and not listed:
            raise UnknownJob(job)

    @translates
    def claim(self, job: str, number: int) -> Batch | None:
        """Note that a worker has a batch in hand, and give its references.

        Returns:
            None where the batch is done, cancelled or unknown: there is nothing to do.

        Raises:
            MessageInvalid: the references can't be understood.
        """
        data = self._run(self._claim, job, number, self._settings.claim_seconds)
        return None if data is None else Batch.decode(data)

    @translates
    def commit(self, job: str, number: int, answers: Answers) -> bool:
        """Strike a batch off and store its answers, in one step.

        Returns:
            False where the batch was not owed any more; then nothing has changed.
        """
        counts = (len(answers), len(answers.errors), len(answers.review))
        ttl = self._settings.result_ttl
        return bool(self._run(self._commit, job, number, answers.encode(), *counts, ttl))

    @translates
    def overdue(self, job: str, lost: int) -> list[int]:
        """Take the batches that should be published again, and note that they are.

        Args:
            job: its id.
            lost: how many of the batches that wait may have lost their message.
        """
        seconds = self._settings.publish_seconds
        return _numbers(self._run(self._overdue, job, lost, seconds, "now"))

    @translates
    def owed(self, job: str) -> list[int]:
        """Take all batches that are not done, overdue or not, and note that they are published again.

        Raises:
            UnknownJob: no such job.
        """
        status = self._status(job)
        seconds = self._settings.publish_seconds
        return _numbers(self._run(self._overdue, job, status.batches, seconds, "+inf"))

    @translates
    def status(self, job: str) -> JobStatus:
        """Give a job's counters in one round trip, however large it is.

        Raises:
            UnknownJob: no such job.
            MessageInvalid: another version wrote it, or it is damaged.
        """
        return self._status(job)

    @translates
    def statuses(self, active_only: bool = False) -> list[JobStatus]:
        """Give the counters of all jobs, oldest first, in two round trips; forgets those that have expired.

        One whose record can't be understood is `unreadable`, and does not hide the others; `status` says why.
        """
        listed = self.client.zrange(self._key("active" if active_only else "jobs"), 0, -1, withscores=True)
        created = {name.decode(errors="surrogateescape"): seconds for name, seconds in listed}
        names = list(created)
        with self.client.pipeline(transaction=False) as pipe:
            for name in names:
                pipe.exists(self._key(f"job:{name}"))
            there = pipe.execute()
        expired = [name for name, exists in zip(names, there, strict=True) if not exists]
        if expired:
            self.client.zrem(self._key("jobs"), *expired)
            self.client.zrem(self._key("active"), *expired)
        records = self._records([name for name, exists in zip(names, there, strict=True) if exists])
        # One without a record has gone in this moment.
        return [_status_or_unreadable(*record, created[record[0]]) for record in records if record[1]]

    @translates
    def read(self, job: str, start: int, limit: int) -> list[tuple[Batch, Answers]]:
        """Give the batches that are done, by number from `start`, up to the first of `limit` that is not.

        Raises:
            UnknownJob: it was deleted meanwhile.
            MessageInvalid: what is stored can't be understood.
        """
        _, refs, _, _, rows, _ = self._keys(job)
        numbers = [str(number) for number in range(start, start + limit)]
        done = list(takewhile(lambda data: data is not None, self.client.hmget(rows, numbers)))
        if not done:
            return []
        batches = self.client.hmget(refs, numbers[: len(done)])
        if None in batches:
            self._status(job)  # says so if it was deleted between the two
            raise MessageInvalid(f"job {job} has answers without references: the ledger is damaged; submit it again")
        return [(Batch.decode(batch), Answers.decode(data)) for batch, data in zip(batches, done, strict=True)]

    def _status(self, job: str) -> JobStatus:
        return _status(*self._records([job])[0])

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

    def _run(self, script: Client, job: str, *args: object) -> Client:
        return script(self._keys(job), (self._time(), job, *args))

    def _check(self, job: str, state: bytes | None, submitting: bool = False) -> None:
        if state is None:
            raise UnknownJob(job)
        if state == b"cancelled":
            raise JobCancelled(job)
        if submitting and state != b"open":
            raise UsageError(f"job {job} is {state.decode()}: nothing can be added to it; submit a new one")

    def _key(self, name: str) -> str:
        return f"{self._settings.prefix}:{name}"

    def _keys(self, job: str) -> tuple[str, ...]:
        """Give a job's keys in the order that the scripts know them by."""
        own = [self._key(f"job:{job}{part}") for part in ("", ":refs", ":waiting", ":claimed", ":rows")]
        return (*own, self._key("active"))

    def _time(self) -> float | str:
        return self._now() if self._now else ""


def _numbers(members: list[bytes]) -> list[int]:
    """Give the batches among the members of a set; what we did not write shall not stop a sweep."""
    return [int(member) for member in members if member.isdigit()]


def _status(name: str, record: dict[bytes, bytes], waiting: int, claimed: int) -> JobStatus:
    if not record:
        raise UnknownJob(name)
    fields = {key.decode(errors="replace"): value.decode(errors="replace") for key, value in record.items()}
    if fields.get("v") != str(VERSION):
        raise MessageInvalid(
            f"job {name} was written by another version of Pigeonhole (record {fields.get('v')!r}, we know "
            f"{VERSION}): use that version, or `pigeonhole delete {name}`"
        )
    try:
        return JobStatus(
            job=name,
            state=fields["state"],
            model=fields["model"],
            sources=tuple(json.loads(fields["sources"])),
            created=float(fields["created"]),
            started=float(fields["started"]) if "started" in fields else None,
            finished=float(fields["finished"]) if "finished" in fields else None,
            batches_waiting=waiting,
            batches_claimed=claimed,
            **{key: int(fields.get(key, 0)) for key in ("batches", "images", "done", "errors", "reviews")},
        )
    except (KeyError, TypeError, ValueError, RecursionError) as exc:
        raise MessageInvalid(
            f"the record of job {name} is damaged ({exc!r}): `pigeonhole delete {name}` forgets it"
        ) from exc


def _status_or_unreadable(
    name: str, record: dict[bytes, bytes], waiting: int, claimed: int, created: float
) -> JobStatus:
    try:
        return _status(name, record, waiting, claimed)
    except MessageInvalid:
        return JobStatus(job=name, state="unreadable", model="", created=created)
