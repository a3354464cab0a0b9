"""Begin or resume the jobs of a command: the jobs of earlier runs continue, and the rest is a new job."""

from collections.abc import Iterable
from itertools import chain, islice
from typing import NamedTuple

from pigeonhole.jobs.connection import Connection
from pigeonhole.jobs.state import Run, State
from pigeonhole.jobs.submit import Submission
from pigeonhole.sources.reference import Reference


class Begun(NamedTuple):
    """A run whose job is there, and the submission of its batches."""

    run: Run
    job: str
    submission: Submission


def begin(
    client: Connection,
    state: State,
    pending: list[Run],
    references: Iterable[Reference],
    sources: list[str],
    model: str,
) -> list[Begun]:
    """Submit what is missing, and return the runs to follow, in order.

    Args:
        client: where the jobs are.
        state: of the command.
        pending: its runs whose jobs continue; see `Connection.can_resume`.
        references: the images that no run has.
        sources: as the user named them.
        model: whose queue a new job goes to.
    """
    begun, following = list[Begun](), iter(references)
    for run in pending:
        # A job that was closed is submitted again only where Redis forgets a part of it.
        is_open = client.status(run.job).state == "open"
        begun.append(Begun(run, run.job, client.submission(run.job, following if is_open else (), run, is_open)))
        if is_open:
            return begun
    first = list[Reference]()
    if pending:
        first = list(islice(following, 1))
        if not first:
            return begun
    shared = bool(client.settings.broker_url)
    job = client.new_job()
    run = state.begin_run(job if shared else "")  # first: a command that is killed here leaves no job behind
    client.create(sources, model, job)
    return [*begun, Begun(run, job, client.submission(job, chain(first, following), run))]
