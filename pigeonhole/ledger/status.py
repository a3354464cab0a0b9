"""The status of a job: its record in Redis, as `status` shows it."""

import json
from dataclasses import asdict, dataclass, field
from enum import StrEnum
from typing import NamedTuple

from pigeonhole.errors import MessageInvalid, UnknownJob
from pigeonhole.ledger.wire.messages import VERSION
from pigeonhole.ledger.wire.numbers import moment, moment_or_none, text, whole

#: The states in a record. The scripts write them; users see a `JobState`.
STORED = ("open", "closed", "finished", "cancelled")
#: Seconds between two heartbeats of a submitter, and after which a silent one counts as lost: three are missing.
HEARTBEAT = 5.0
SILENT_AFTER = 3 * HEARTBEAT
#: Seconds without a finished batch after which a job counts as stalled: a batch takes about one second.
STALLED_AFTER = 60.0


class JobState(StrEnum):
    """The state of a job, in the words that users see."""

    QUEUED = "queued"  # no worker has taken a batch of it
    RUNNING = "running"
    FINISHED = "finished"  # every image has its row
    CANCELLED = "cancelled"
    UNREADABLE = "unreadable"  # in a list: another version wrote its record, or it is damaged


@dataclass(frozen=True, kw_only=True)
class JobStatus:
    """The counters of a job at one moment. Times are seconds since the epoch on Redis' clock; None: not yet.

    A job in a list whose `state` is `unreadable` has counters of 0.
    """

    job: str
    state: JobState
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
    #: Whether its submission is not complete, so that `images` may still grow.
    submitting: bool = False
    #: The time of the last heartbeat of its submitter; and of the last finished batch, or when work became pending.
    submitter_seen: float | None = field(default=None, compare=False)
    progressed: float | None = None
    #: Whether it advances only by the batches that sweeps publish ahead of all other jobs.
    starving: bool = False
    #: The number of times that a quarantined image was released because its isolation run could not start.
    untried: int = 0
    #: The time when this status was read.
    read_at: float = field(default=0.0, compare=False)

    @property
    def labels(self) -> int:
        """The number of images with a label."""
        return self.done - self.errors

    @property
    def over(self) -> bool:
        """True if the job is finished or cancelled, or its record can't be read."""
        return self.state not in (JobState.QUEUED, JobState.RUNNING)

    @property
    def age(self) -> float:
        """The seconds since it was created."""
        return max(0.0, self.read_at - self.created)

    @property
    def images_per_second(self) -> float | None:
        """The images done per second since its first batch was taken; None before that."""
        if self.started is None:
            return None
        seconds = (self.read_at if self.finished is None else self.finished) - self.started
        return self.done / seconds if seconds > 0 else None

    @property
    def silent(self) -> float | None:
        """The seconds since the submitter's last heartbeat, if its submission was cut off; else None."""
        return self._since(self.submitter_seen, SILENT_AFTER) if self.submitting else None

    @property
    def stalled(self) -> float | None:
        """The seconds since the last finished batch, if batches are pending and that is long ago; else None."""
        pending = self.batches_waiting + self.batches_claimed
        return self._since(self.progressed, STALLED_AFTER) if pending and not self.over else None

    def _since(self, then: float | None, longest: float) -> float | None:
        seconds = self.read_at - (self.created if then is None else then)
        return seconds if seconds > longest else None

    def to_json(self) -> dict[str, object]:
        """Return the fields and derived values that `--json` prints."""
        speed = self.images_per_second
        shown = asdict(self) | {"labels": self.labels, "silent": self.silent, "stalled": self.stalled}
        del shown["read_at"]  # so that the output for a finished job does not change
        return shown | {"images_per_second": None if speed is None else round(speed, 1)}


_COUNTS = ("batches", "images", "done", "errors", "reviews", "untried")


class Record(NamedTuple):
    """The data about a job that were read from Redis.

    Args:
        job: the job's id.
        now: the time of reading.
        fields: the job's hash; empty: there is none.
        waiting: the number of its pieces that wait.
        claimed: the number of its pieces that are claimed.
        error: the reason why the other fields could not be read.
    """

    job: str
    now: float
    fields: dict[bytes, bytes]
    waiting: int
    claimed: int
    error: MessageInvalid | None = None


def status_of(record: Record) -> JobStatus:
    """Return the status of a job from its record.

    Raises:
        UnknownJob: there is no such job.
        MessageInvalid: another version wrote the record, or it is damaged.
    """
    if record.error:
        raise record.error
    if not record.fields:
        raise UnknownJob(record.job)
    fields = {text(key): text(value) for key, value in record.fields.items()}
    if fields.get("v") != str(VERSION):
        raise MessageInvalid(
            f"job {record.job} was written by another version of Pigeonhole (record version {fields.get('v')!r}, ours "
            f"is {VERSION}): use that version, or delete the job: `pigeonhole delete {record.job}`"
        )
    try:
        return JobStatus(
            job=record.job,
            state=_state(fields["state"], "started" in fields),
            submitting=fields["state"] == "open",
            model=fields["model"],
            sources=_sources(fields["sources"]),
            created=moment(fields["created"]),
            started=moment(fields["started"]) if "started" in fields else None,
            finished=moment(fields["finished"]) if "finished" in fields else None,
            submitter_seen=moment_or_none(fields.get("submitting")),
            progressed=moment_or_none(fields.get("progressed")),
            starving=bool(fields.get("promoted")) and record.waiting > 0,
            read_at=record.now,
            batches_waiting=record.waiting,
            batches_claimed=record.claimed,
            **{key: whole(fields.get(key, "0")) for key in _COUNTS},
        )
    except (KeyError, TypeError, ValueError, RecursionError) as exc:
        raise MessageInvalid(
            f"the record of job {record.job} is damaged ({exc!r:.200}). Try: `pigeonhole delete {record.job}`"
        ) from exc


def status_or_unreadable(record: Record, created: float) -> JobStatus:
    """Return the status of a job for a list; a record that can't be read gets the state `unreadable`.

    Args:
        record: the job's record.
        created: the time of creation from the list of jobs, in seconds since the epoch.
    """
    try:
        return status_of(record)
    except MessageInvalid:
        return JobStatus(job=record.job, state=JobState.UNREADABLE, model="", created=created)


def _state(stored: str, started: bool) -> JobState:
    """Return the state that users see for a stored state."""
    if stored not in STORED:
        raise ValueError(f"{stored!r:.100} is not a state")
    if stored in ("open", "closed"):
        return JobState.RUNNING if started else JobState.QUEUED
    return JobState(stored)


def _sources(written: str) -> tuple[str, ...]:
    sources = json.loads(written)
    if not isinstance(sources, list) or not all(isinstance(source, str) for source in sources):
        raise ValueError(f"{written!r:.100} is not a list of sources")
    return tuple(sources)
