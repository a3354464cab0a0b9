"""Facts about the rows as a whole, for the head of a report."""

from dataclasses import dataclass

from pigeonhole.jobs.summary import duration
from pigeonhole.ledger.status import JobStatus


@dataclass(frozen=True, kw_only=True)
class Facts:
    """Facts about the rows as a whole; empty or None where they are not known.

    Args:
        source: the job or file that they come from.
        job, state, sources: of the job.
        images: that were submitted.
        started, finished: the job, in seconds since the epoch.
        seconds: that it took.
        images_per_second: in that time.
    """

    source: str
    job: str = ""
    state: str = ""
    sources: tuple[str, ...] = ()
    images: int | None = None
    started: float | None = None
    finished: float | None = None
    seconds: float | None = None
    images_per_second: float | None = None

    @classmethod
    def of(cls, source: str, job: JobStatus | None) -> "Facts":
        """Return the facts about a job's rows; without a job, as of a CSV file, only where they come from."""
        if job is None:
            return cls(source=source)
        seconds = duration(job)
        return cls(
            source=source,
            job=job.job,
            state=job.state,
            sources=job.sources,
            images=job.images,
            started=job.started,
            finished=job.finished,
            seconds=seconds or None,
            images_per_second=job.done / seconds if seconds else None,
        )
