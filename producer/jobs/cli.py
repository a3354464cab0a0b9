"""The commands that show and manage jobs: `status`, `results`, `resume`, `cancel`, `delete`."""

import json
import re
import sys
from collections import Counter
from collections.abc import Sequence
from contextlib import closing, suppress
from typing import TYPE_CHECKING, Annotated

import typer

from pigeonhole.errors import MessageInvalid, UsageError
from pigeonhole.row_options import RowOptions
from pigeonhole.text import counted
from producer.arguments.options import (
    AsJson,
    Broker,
    CsvSafe,
    Job,
    LabelMapFile,
    OptionalJob,
    OutputFile,
    Overwrite,
    ReviewBelow,
    RowFormat,
    SeveralJobs,
    TopOfJob,
    UnknownLabel,
)
from producer.arguments.outputs import row_format, sink_for, state_for
from producer.command import broker_settings, client_for, guarded, notify

if TYPE_CHECKING:
    from pigeonhole.jobs.connection import Connection
    from pigeonhole.ledger.status import JobStatus

app = typer.Typer()


@app.command(epilog="Example: pigeonhole status --watch")
@guarded
def status(
    job: OptionalJob = None,
    watch: Annotated[bool, typer.Option("--watch", help="Update the view until Ctrl-C or the end of JOB.")] = False,
    broker: Broker = None,
    as_json: AsJson = False,
) -> None:
    """Show all jobs as a table, newest first, or one job in full.

    A job is queued until a worker takes its first batch, then running, and in the end finished or cancelled. Where `…`
    follows the number of images, more are still being submitted.
    """
    from rich.console import Console

    from pigeonhole.ledger.dead_letters import DeadLetters
    from producer.display.summary_text import dead_letters_text, job_text, problems_of, sweep_text
    from producer.jobs.table import jobs_table

    if watch and as_json:
        raise UsageError("--watch and --json exclude each other: give one of them")
    settings = broker_settings(broker=broker)
    client, letters = client_for(settings), DeadLetters(settings)
    job = job and client.job_id(job)
    if watch:
        from producer.display.progress import JobProgress
        from producer.jobs.watch import watch_job, watch_jobs

        if job is None:
            watch_jobs(client)
            return
        watch_job(client, job, JobProgress())
    statuses = client.jobs()[::-1] if job is None else [client.status(job)]
    dead = letters.all() if job is None else letters.of_job(job)
    age = client.retrying(client.ledger.sweep_age)
    workers = client.retrying(client.workers.alive)
    at_work = Counter(worker.model for worker in workers)
    if as_json:
        now = [
            status.to_json() | {"workers": None, "sweep_age": None}
            if status.over
            else status.to_json() | {"workers": at_work[status.model], "sweep_age": age}
            for status in statuses
        ]
        typer.echo(json.dumps(now if job is None else now[0]))
    elif job is not None:
        typer.echo(job_text(statuses[0], at_work[statuses[0].model]))
    elif not statuses:
        typer.echo("no jobs")
    else:
        width = Console(file=sys.stdout).width if sys.stdout.isatty() else None
        Console(file=sys.stdout, width=width or _UNLIMITED).print(jobs_table(statuses, workers, width))
    if dead:
        notify(dead_letters_text(dead))
    if not as_json and not all(status.over for status in statuses):
        notify(
            "\n".join(
                [
                    *(problem for status in statuses for problem in problems_of(status, at_work[status.model])),
                    sweep_text(age),
                ]
            )
        )


#: Width of a line in a file or a pipe, in cells.
_UNLIMITED = 10_000


@app.command(epilog="Example: pigeonhole results last -o so-far.csv")
@guarded
def results(
    job: Job,
    output: OutputFile = None,
    format: RowFormat = None,
    csv_safe: CsvSafe = False,
    overwrite: Overwrite = False,
    top: TopOfJob = None,
    label_map: LabelMapFile = None,
    unknown_label: UnknownLabel = None,
    review_below: ReviewBelow = None,
    broker: Broker = None,
) -> None:
    """Write the rows that a job has so far, in the order of their submission."""
    from pigeonhole.jobs.state import Command

    format = row_format(output, format, csv_safe, top=top)
    client = client_for(broker_settings(broker=broker))
    job = client.job_id(job)
    status = client.status(job)
    with (
        closing(state_for(output, format, Command("results", (job,)), overwrite)) as state,
        sink_for(output, format, state, top=top is not None) as sink,
    ):
        assert sink is not None  # for the type checker: it is None only with --json
        for rows in client.results(job, RowOptions(review_below, top, label_map, unknown_label)):
            sink.write(rows)
        sink.finish(status)


@app.command(epilog="Example: pigeonhole resume last")
@guarded
def resume(job: Job, broker: Broker = None) -> None:
    """Publish the pending batches of a job again; safe at any time."""
    client = client_for(broker_settings(broker=broker))
    job = client.job_id(job)
    published = client.resume(job)
    now = client.status(job)
    pending = "nothing is pending" if now.over else f"{counted(now.images - now.done, 'image')} pending"
    notify(f"job {job} is {now.state}: published {counted(published, 'batch', 'batches')} again, {pending}")
    if now.submitting and not now.over:
        notify("its submission is not complete: another command still submits images to it, or was interrupted")


@app.command(epilog="Example: pigeonhole cancel last")
@guarded
def cancel(job: Job, broker: Broker = None) -> None:
    """Drop the pending images of a job; its rows stay."""
    client = client_for(broker_settings(broker=broker))
    job = client.job_id(job)
    client.cancel(job)
    now = client.status(job)
    notify(f"job {job} is cancelled: {now.done:,} of {now.images:,} images were done")


@app.command(epilog="Example: pigeonhole delete --finished --older-than 7d")
@guarded
def delete(
    jobs: SeveralJobs = None,
    finished: Annotated[bool, typer.Option("--finished", help="All jobs that are finished or cancelled.")] = False,
    older_than: Annotated[
        str | None,
        typer.Option(
            "--older-than",
            metavar="AGE",
            help="All finished and cancelled jobs that are older: 90m, 12h, 7d, 2w; s, m, h, d and w are the units.",
        ),
    ] = None,
    force: Annotated[bool, typer.Option("--force", help="Delete each JOB, whether it is queued or running.")] = False,
    broker: Broker = None,
) -> None:
    """Delete jobs and their rows; one that is queued or running only with --force.

    A job's age is the time since it was created, as `status` shows it.
    """
    least = None if older_than is None else age_in_seconds(older_than)
    if not jobs and not finished and least is None:
        raise UsageError("no job is given: name JOBs, or give --finished or --older-than AGE")
    if jobs and (finished or least is not None):
        raise UsageError("JOBs can't be combined with --finished or --older-than: give one of them")
    if force and not jobs:
        raise UsageError("--force needs JOBs: name them, or drop it")
    client = client_for(broker_settings(broker=broker))
    if jobs:
        chosen = list(dict.fromkeys(map(client.job_id, jobs)))
        _check_known(client, chosen, force)
    else:
        chosen = [status.job for status in client.jobs() if _is_old(status, least or 0.0)]
    for job in chosen:
        client.delete(job, missing_ok=True)
    notify(f"job {chosen[0]} is deleted" if jobs and len(chosen) == 1 else f"{counted(len(chosen), 'job')} deleted")


#: Unit of `--older-than` → seconds.
_UNITS = {"s": 1, "m": 60, "h": 3600, "d": 86_400, "w": 604_800}


def age_in_seconds(text: str) -> float:
    """Parse an age such as `7d` into seconds; raise UsageError for other text."""
    match = re.fullmatch(r"(\d{1,9}(?:\.\d{1,6})?)([smhdw])", text)
    if match is None:
        raise UsageError(f"--older-than {text!r} is not an age: give a number and s, m, h, d or w, such as 7d")
    return float(match[1]) * _UNITS[match[2]]


def _is_old(status: "JobStatus", least: float) -> bool:
    """Return whether a job is finished or cancelled, and older than some seconds."""
    from pigeonhole.ledger.status import JobState

    return status.state in (JobState.FINISHED, JobState.CANCELLED) and status.age >= least


def _check_known(client: "Connection", jobs: Sequence[str], force: bool) -> None:
    """Raise an error, before any job is deleted, if one is unknown, or is not over and `force` is not given."""
    for job in jobs:
        with suppress(MessageInvalid):  # a job with a damaged record can be deleted
            now = client.status(job)
            if not now.over and not force:
                raise UsageError(
                    f"job {job} is {now.state}: {now.done:,} of {now.images:,} images are done. "
                    f"`pigeonhole wait {job}` follows it, `pigeonhole delete --force {job}` deletes it with its rows"
                )
