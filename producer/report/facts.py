"""Facts about all rows, for the head of a report."""

from dataclasses import dataclass

from pigeonhole.jobs.summary import duration
from pigeonhole.ledger.status import JobStatus


@dataclass(frozen=True, kw_only=True)
class Facts:
    """Facts about all rows; empty or None if they are not known.

    Args:
        source: the job or file of the rows.
        job: id of the job.
        state: state of the job.
        sources: SOURCEs of the job.
        images: number of submitted images.
        started, finished: start and end of the job, in seconds since the epoch.
        seconds: duration of the job.
        images_per_second: mean speed of the job.
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
        """Return the facts about a job's rows; without a job, as for a CSV file, only the source is known."""
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
