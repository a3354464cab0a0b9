"""Begin the jobs of a command, or take up those of its earlier runs."""

from collections.abc import Iterable
from itertools import chain, islice
from typing import NamedTuple

from pigeonhole.jobs.connection import Connection
from pigeonhole.jobs.state import Run, State
from pigeonhole.jobs.submit import Submission
from pigeonhole.limits import TOP
from pigeonhole.sources.reference import Reference


class ActiveRun(NamedTuple):
    """A run whose job is there, and the submission of its batches."""

    run: Run
    job: str
    submission: Submission


def resume_run(client: Connection, run: Run) -> ActiveRun:
    """Complete the job of an earlier run with the batches that the run has; see `Connection.can_resume`."""
    # A job that was closed is submitted again only where Redis forgets a part of it.
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
    """Submit images as a new job; None where there are none, and no job is needed.

    Args:
        client: where the job will be.
        state: of the command.
        references: the images that no run has.
        sources: as the user named them.
        model: whose queue the job goes to.
        needs_job: whether a job is needed without images too: FILE is about one.
        top: how many of its most probable classes each row shall have.
    """
    following = iter(references)
    first = [] if needs_job else list(islice(following, 1))
    if not needs_job and not first:
        return None
    job = client.new_job()
    run = state.begin_run(job if client.settings.broker_url else "")  # first: a kill leaves no job that nobody knows
    client.create(sources, model, job)
    return ActiveRun(run, job, client.submission(job, chain(first, following), run, top=top))
