"""A job's record, as the ledger keeps it and `status` shows it."""

import json
from dataclasses import asdict, dataclass

from pigeonhole.errors import MessageInvalid, UnknownJob
from pigeonhole.ledger.messages import VERSION


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
        """The number of images with a label."""
        return self.done - self.errors

    @property
    def over(self) -> bool:
        """True if the job is finished or cancelled, or its record can't be read."""
        return self.state not in ("open", "closed")

    def to_json(self) -> dict[str, object]:
        """Return all fields, and `labels`, as they are printed with `--json`."""
        return asdict(self) | {"labels": self.labels}


def status_of(name: str, record: dict[bytes, bytes], waiting: int, claimed: int) -> JobStatus:
    """Read a job's record.

    Args:
        name: the job's id.
        record: its hash; empty where there is none.
        waiting, claimed: how many of its pieces are.

    Raises:
        UnknownJob: there is none.
        MessageInvalid: another version wrote it, or it is damaged.
    """
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


def status_or_unreadable(
    name: str, record: dict[bytes, bytes], waiting: int, claimed: int, created: float
) -> JobStatus:
    """Read a job's record for a list, in which one that can't be understood shall not hide the others.

    Args:
        created: what the list says of its age, in seconds since the epoch.
    """
    try:
        return status_of(name, record, waiting, claimed)
    except MessageInvalid:
        return JobStatus(job=name, state="unreadable", model="", created=created)
