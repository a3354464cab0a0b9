"""Start the jobs of a command, or resume those of its earlier runs."""

from collections.abc import Iterable
from itertools import chain, islice
from typing import NamedTuple

from pigeonhole.jobs.connection import Connection
from pigeonhole.jobs.state import Run, State
from pigeonhole.jobs.submit import Submission
from pigeonhole.limits import TOP
from pigeonhole.sources.reference import Reference


class ActiveRun(NamedTuple):
    """A run, the id of its job, and the submission of its batches."""

    run: Run
    job: str
    submission: Submission


def resume_run(client: Connection, run: Run) -> ActiveRun:
    """Resume the job of an earlier run, submitting the batches that the run recorded; see `Connection.can_resume`."""
    # A job that was closed is submitted again only if Redis loses a part of it.
    submitting = client.status(run.job).submitting
    return ActiveRun(run, run.job, client.submission(run.job, (), run, submitting))


def begin(
    client: Connection,
    state: State,
    references: Iterable[Reference],
    sources: list[str],
    model: str,
    needs_job: bool = True,
    top: int = TOP,
) -> ActiveRun | None:
    """Submit images as a new job.

    Args:
        client: the connection to the Redis of the job.
        state: the resume state of the command.
        references: the images that no earlier run has.
        sources: the SOURCEs as the user named them.
        model: the name of the model, which selects the queue.
        needs_job: create a job even without images, since FILE records one.
        top: the number of most probable classes in each row.

    Returns:
        The new run; None if there are no images and no job is needed.
    """
    following = iter(references)
    first = [] if needs_job else list(islice(following, 1))
    if not needs_job and not first:
        return None
    job = client.new_job()
    # Before the job exists, so that a kill leaves no job that nobody knows.
    run = state.begin_run(job if client.settings.broker_url else "")
    client.create(sources, model, job)
    return ActiveRun(run, job, client.submission(job, chain(first, following), run, top=top))
