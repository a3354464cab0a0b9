"""The program `pigeonhole`: the commands for jobs, and beside them those of the worker and of training.

Rows and results go to standard output, everything else to standard error. What takes time to import is imported where
it is used, so that `--help` and a submission start at once.
"""

import json
import os
import sys
import time
from contextlib import ExitStack, closing, suppress
from dataclasses import replace
from functools import partial
from typing import Annotated

import typer

from pigeonhole.errors import MessageInvalid, UsageError
from pigeonhole.limits import TOP
from pigeonhole.output_files import is_special
from pigeonhole.row_options import RowOptions
from pigeonhole.sources.reference import Root
from pigeonhole.sources.skipped import Skipped
from pigeonhole.version import VERSION
from producer.command import (
    Commands,
    Output,
    await_worker,
    broker_settings,
    check_options,
    client_for,
    finish,
    follow,
    guarded,
    how_to_go_on,
    say,
    settings_from,
    submit_again,
    tell,
    told,
)
from producer.options import (
    AsJson,
    Copy,
    CsvSafe,
    Job,
    LabelMapFile,
    Link,
    MaximalErrors,
    Model,
    NullSeparated,
    OutputFile,
    Overwrite,
    Quiet,
    ReviewBelow,
    RowFormat,
    SortInto,
    Sources,
    Top,
    TopOfJob,
    UnknownLabel,
)
from producer.outputs import check_place_of_rows, row_format, sink_for, sorting, state_for


def _show_version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"pigeonhole {VERSION}")
        raise typer.Exit


app = typer.Typer(
    cls=Commands,
    help="A label for every image: soon, on every core and machine you have, none lost and none twice.",
    epilog="Exit codes: 0 every image has a label, 2 usage, 3 some rows are errors, 4 broker unreachable, "
    "5 no worker, 6 cancelled, 130 interrupted.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)


@app.callback()
def _options(
    version: Annotated[
        bool, typer.Option("--version", callback=_show_version, is_eager=True, help="Show the version and exit.")
    ] = False,
) -> None: ...


@app.command(epilog="Example: pigeonhole classify photos/ more/*.jpg -o results.csv")
@guarded
def classify(
    sources: Sources,
    output: OutputFile = None,
    format: RowFormat = None,
    csv_safe: CsvSafe = False,
    model: Model = None,
    null: NullSeparated = False,
    overwrite: Overwrite = False,
    retry_errors: Annotated[
        bool,
        typer.Option("--retry-errors", help="Keep the labels in FILE, and classify all other images of SOURCE again."),
    ] = False,
    top: Top = None,
    label_map: LabelMapFile = None,
    unknown_label: UnknownLabel = None,
    review_below: ReviewBelow = None,
    max_errors: MaximalErrors = None,
    sort_into: SortInto = None,
    link: Link = None,
    copy: Copy = False,
    quiet: Quiet = False,
    as_json: AsJson = False,
) -> None:
    """Classify images: submit them, follow the job, write a row for each.

    With PIGEONHOLE_BROKER_URL set, the workers at that Redis do it; without, a Redis and workers of its own. If it is
    interrupted, run the same command again: it keeps the rows whose images have not changed, and classifies the rest.
    """
    from pigeonhole.jobs.kept import Kept
    from pigeonhole.jobs.state import Command
    from pigeonhole.sources.expand import expand
    from producer.classify import Classification

    started, options = time.time(), RowOptions(review_below, top, label_map, unknown_label)
    settings = settings_from(model)
    shared = bool(settings.broker_url)
    if not shared:
        check_options(options, settings)
        # The workers are this user's own processes: what the user can read, they may.
        settings = replace(settings, image_root="/")
    format = row_format(output, format, csv_safe, sort_into, top)
    check_place_of_rows(output, sort_into, as_json)
    is_file = output is not None and not is_special(output)
    if retry_errors and (overwrite or not is_file):
        raise UsageError("--retry-errors keeps the labels in a file: name that with -o FILE, and leave --overwrite out")
    root = Root(settings.image_root)
    skipped = Skipped()
    references = expand(sources, root, null, sort_into, say, skipped)
    with ExitStack() as stack:
        command = Command("classify", tuple(sources), null, os.getcwd(), settings.image_root, options.identity())
        state = stack.enter_context(closing(state_for(output, format, command, overwrite, retry_errors)))
        sorter = stack.enter_context(sorting(sort_into, link, copy, quiet, sources, csv_safe))
        client = stack.enter_context(closing(client_for(settings, quiet)))
        if shared:
            await_worker(client, settings)
        name, checkpoint = client.serving()
        pending = [run for run in state.runs if shared and client.can_resume(run, name)]
        kept = stack.enter_context(closing(Kept(state, checkpoint, root, pending, retry_errors, options)))
        kept.summary.skipped = skipped
        sink = stack.enter_context(sink_for(output, format, state, as_json, top is not None))
        begun, file = None if shared else started, output if is_file else None
        rows = Output(sink, sorter, kept.summary, quiet, as_json, begun, options, max_errors, file)
        code = Classification(client, state, pending, kept, rows, sources, null, is_file)(references, name)
    raise typer.Exit(code)


@app.command(epilog="Example: JOB=$(pigeonhole submit photos/)")
@guarded
def submit(
    sources: Sources,
    model: Model = None,
    null: NullSeparated = False,
    job: Annotated[
        str | None, typer.Option("--job", metavar="JOB", help="Finish this job's submission, which was cut off.")
    ] = None,
    top: Top = None,
    quiet: Quiet = False,
) -> None:
    """Submit images to the workers at PIGEONHOLE_BROKER_URL and print the job's id.

    With --job and the same sources, a submission that was cut off is finished, and nothing is submitted twice.
    """
    from pigeonhole.sources.expand import expand

    settings = broker_settings(model)
    skipped = Skipped()
    references = expand(sources, Root(settings.image_root), null, skipped=skipped)
    client = client_for(settings, quiet)
    before = client.status(job) if job else None
    if job is None:
        await_worker(client, settings)
    job = job or client.create(sources)
    with told(partial(how_to_go_on, client, job, None, submit_again(job, sources, null))):
        client.submit(job, references, top or TOP)
    typer.echo(job)
    images = client.status(job).images
    if before is None:
        tell(f"submitted {images:,} images; `pigeonhole wait {job}` follows them", quiet)
    elif before.state == "open":
        tell(f"submitted {images:,} images, {before.images:,} of them before", quiet)
    else:
        tell(f"job {job} had all of its {images:,} images already", quiet)
    tell(skipped.text(), quiet)


@app.command(epilog="Example: pigeonhole wait $JOB -o results.csv")
@guarded
def wait(
    job: Job,
    output: OutputFile = None,
    format: RowFormat = None,
    csv_safe: CsvSafe = False,
    overwrite: Overwrite = False,
    delete: Annotated[bool, typer.Option("--delete", help="Forget the job once its rows are safe in FILE.")] = False,
    top: TopOfJob = None,
    label_map: LabelMapFile = None,
    unknown_label: UnknownLabel = None,
    review_below: ReviewBelow = None,
    max_errors: MaximalErrors = None,
    sort_into: SortInto = None,
    link: Link = None,
    copy: Copy = False,
    quiet: Quiet = False,
    as_json: AsJson = False,
) -> None:
    """Follow a job to its end and write its rows; can be interrupted and run again."""
    from pigeonhole.jobs.state import Command
    from pigeonhole.jobs.summary import Summary

    format = row_format(output, format, csv_safe, sort_into, top)
    if delete and (output is None or is_special(output)):
        # The reader of a pipe may close it before the last row; a table and a summary hold no rows.
        raise UsageError("--delete would lose the rows: name a file for them with -o FILE, not a pipe or a device")
    check_place_of_rows(output, sort_into, as_json)
    client = client_for(broker_settings(), quiet)
    client.status(job)
    options = RowOptions(review_below, top, label_map, unknown_label)
    with (
        closing(state_for(output, format, Command("wait", (job,)), overwrite)) as state,
        sorting(sort_into, link, copy, quiet, csv_safe=csv_safe) as sorter,
        told(partial(how_to_go_on, client, job, output, options=options)),
        sink_for(output, format, state, as_json, top is not None) as sink,
    ):
        file = None if output is None or is_special(output) else output
        rows = Output(sink, sorter, Summary(), quiet, as_json, options=options, max_errors=max_errors, file=file)
        follow(client, job, rows)
        code = finish(client, job, rows)
        if delete:
            client.delete(job, missing_ok=True)
    raise typer.Exit(code)


@app.command(epilog="Example: pigeonhole status --watch")
@guarded
def status(
    job: Annotated[str | None, typer.Argument(metavar="JOB", help="One job in full; without it, all.")] = None,
    watch: Annotated[
        bool, typer.Option("--watch", help="Look again and again, until Ctrl-C or the end of JOB.")
    ] = False,
    as_json: AsJson = False,
) -> None:
    """Show one job in full, or all jobs as a table."""
    from rich.console import Console

    from pigeonhole.ledger.dead_letters import DeadLetters
    from producer.summary_text import dead_letters_text, job_text, jobs_table, problems_of, sweep_text

    if watch and as_json:
        raise UsageError("--watch is for people, and --json for programs: give one of them")
    settings = broker_settings()
    client, letters = client_for(settings), DeadLetters(settings)
    if watch:
        from producer.progress import JobProgress
        from producer.watch import watch_job, watch_jobs

        if job is None:
            watch_jobs(client)
            return
        watch_job(client, job, JobProgress())
    statuses = client.jobs() if job is None else [client.status(job)]
    dead = letters.all() if job is None else letters.of_job(job)
    age = client.retrying(client.ledger.sweep_age)
    if as_json:
        shown = [status.to_json() | {"sweep_age": None if status.over else age} for status in statuses]
        typer.echo(json.dumps(shown if job is None else shown[0]))
    elif job is not None:
        typer.echo(job_text(statuses[0]))
    else:
        Console(file=sys.stdout).print(jobs_table(statuses) if statuses else "no jobs")
    if dead:
        say(dead_letters_text(dead))
    if not as_json and not all(status.over for status in statuses):
        say("\n".join([*(problem for status in statuses for problem in problems_of(status)), sweep_text(age)]))


@app.command(epilog="Example: pigeonhole results $JOB -o so-far.csv")
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
) -> None:
    """Write the rows that a job has so far, in the order of submission."""
    from pigeonhole.jobs.state import Command

    format = row_format(output, format, csv_safe, top=top)
    client = client_for(broker_settings())
    status = client.status(job)
    with (
        closing(state_for(output, format, Command("results", (job,)), overwrite)) as state,
        sink_for(output, format, state, top=top is not None) as sink,
    ):
        assert sink is not None  # without --json there is one; for the type checker
        for rows in client.results(job, RowOptions(review_below, top, label_map, unknown_label)):
            sink.write(rows)
        sink.finish(status)


@app.command(epilog="Example: pigeonhole resume $JOB")
@guarded
def resume(job: Job) -> None:
    """Publish the pending batches of a job again; safe at any time."""
    client = client_for(broker_settings())
    published = client.resume(job)
    now = client.status(job)
    pending = "nothing is pending" if now.over else f"{now.images - now.done:,} images are pending"
    say(f"job {job} is {now.state}: published {published} batches again, {pending}")
    if now.state == "open":
        say("it is open: not everything was submitted, or somebody submits to it now")


@app.command(epilog="Example: pigeonhole cancel $JOB")
@guarded
def cancel(job: Job) -> None:
    """Drop the pending images of a job; its rows stay."""
    client = client_for(broker_settings())
    client.cancel(job)
    now = client.status(job)
    say(f"job {job} is cancelled: {now.done:,} of {now.images:,} images were done")


@app.command(epilog="Example: pigeonhole delete $JOB")
@guarded
def delete(
    job: Job,
    force: Annotated[bool, typer.Option("--force", help="Also a job that is not finished or cancelled.")] = False,
) -> None:
    """Forget a job and its rows; one that is not finished only with --force."""
    client = client_for(broker_settings())
    with suppress(MessageInvalid):  # nobody can follow a job whose record is damaged
        now = client.status(job)
        if not force and not now.over:
            raise UsageError(
                f"job {job} is {now.state}: {now.done:,} of {now.images:,} images are done. `pigeonhole wait {job}` "
                f"follows it, `pigeonhole delete --force {job}` forgets it with its rows"
            )
    client.delete(job, missing_ok=True)
    say(f"job {job} is deleted")


def _mount() -> None:
    """Add the commands that have a package of their own; their modules import nothing heavy either."""
    import producer.doctor.cli
    import producer.models.cli
    import producer.report.cli
    import training.cli
    import worker.cli

    for package in (producer.report, producer.doctor, worker, training, producer.models):
        app.add_typer(package.cli.app)


_mount()


def main() -> None:
    """Run the program."""
    app(prog_name="pigeonhole")
