"""The program `pigeonhole`: `classify`, `submit` and `wait`, and the commands of other modules.

Rows and results go to standard output, everything else to standard error. Modules that are slow to import are imported
where they are used, so that `--help` and a submission start at once.
"""

import os
import time
from contextlib import ExitStack, closing
from dataclasses import replace
from functools import partial
from typing import Annotated

import typer

from pigeonhole.errors import ExitCode, UsageError
from pigeonhole.filesystem.output_files import is_special
from pigeonhole.limits import TOP
from pigeonhole.row_options import RowOptions
from pigeonhole.sources.reference import Root
from pigeonhole.sources.skipped import Skipped
from pigeonhole.text import counted
from pigeonhole.version import VERSION
from producer.arguments.completion import complete_job
from producer.arguments.options import (
    AsJson,
    Broker,
    Copy,
    CsvSafe,
    DeviceOption,
    Job,
    LabelMapFile,
    Link,
    MaximalErrors,
    Model,
    NullSeparated,
    OutputFile,
    Overwrite,
    Processes,
    Quiet,
    ReviewBelow,
    RowFormat,
    SortInto,
    Sources,
    Top,
    TopOfJob,
    UnknownLabel,
)
from producer.arguments.outputs import check_place_of_rows, row_format, sink_for, sorting, state_for
from producer.arguments.parser import Command, Program
from producer.command import (
    Output,
    await_worker,
    broker_settings,
    check_options,
    client_for,
    finish,
    follow,
    guarded,
    notify,
    notify_unless_quiet,
    settings_from,
)
from producer.resuming import broker_words, hinting, resume_hint, submit_again


def _show_version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"pigeonhole {VERSION}")
        raise typer.Exit


app = typer.Typer(
    cls=Program,
    help="A label for every image: soon, on every core and machine you have, none lost and none twice.",
    epilog="""Exit codes:
    0  every image has a label
    1  another failure; the message says which
    2  the command can't be run as given
    3  some rows are errors
    4  Redis can't be reached
    5  no worker for the model
    6  the job was cancelled
  130  interrupted""",
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)


@app.callback(invoke_without_command=True)
def _options(
    context: typer.Context,
    version: Annotated[
        bool, typer.Option("--version", callback=_show_version, is_eager=True, help="Show the version and exit.")
    ] = False,
) -> None:
    if context.invoked_subcommand is None:
        typer.echo(context.get_help(), err=True)
        raise typer.Exit(ExitCode.USAGE)


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
    processes: Processes = None,
    device: DeviceOption = None,
    broker: Broker = None,
    quiet: Quiet = False,
    as_json: AsJson = False,
) -> None:
    """Classify images: submit them, follow the job, write a row for each.

    With --broker or PIGEONHOLE_BROKER_URL, the workers at that Redis do it; without, the command starts a Redis and
    workers itself. If it is interrupted, run the same command again: it keeps the rows whose images have not changed,
    and classifies the rest.
    """
    from pigeonhole.jobs.earlier_rows import EarlierRows
    from pigeonhole.jobs.state import Command
    from pigeonhole.sources.expand import expand
    from producer.classify import Classification

    started, options = time.time(), RowOptions(review_below, top, label_map, unknown_label)
    settings = settings_from(model, broker, processes, device)
    shared = bool(settings.broker_url)
    if not shared:
        check_options(options, settings)
        # The workers are this user's own processes: they may read every file that the user can read.
        settings = replace(settings, image_root="/")
    format = row_format(output, format, csv_safe, sort_into, top)
    check_place_of_rows(output, sort_into, as_json)
    is_file = output is not None and not is_special(output)
    if retry_errors and (overwrite or not is_file):
        raise UsageError("--retry-errors keeps the labels in a file: name the file with -o FILE, and drop --overwrite")
    root = Root(settings.image_root)
    skipped = Skipped()
    references = expand(sources, root, null, sort_into, notify, skipped)
    with ExitStack() as stack:
        command = Command("classify", tuple(sources), null, os.getcwd(), settings.image_root, options.identity())
        state = stack.enter_context(closing(state_for(output, format, command, overwrite, retry_errors)))
        sorter = stack.enter_context(sorting(sort_into, link, copy, quiet, sources, csv_safe))
        client = stack.enter_context(closing(client_for(settings, quiet)))
        if shared:
            await_worker(client, settings)
        name, checkpoint = client.serving()
        pending = [run for run in state.runs if shared and client.can_resume(run, name)]
        kept = stack.enter_context(closing(EarlierRows(state, checkpoint, root, pending, retry_errors, options)))
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
        str | None,
        typer.Option(
            "--job", metavar="JOB", autocompletion=complete_job, help="Finish this job's interrupted submission."
        ),
    ] = None,
    top: Top = None,
    broker: Broker = None,
    quiet: Quiet = False,
) -> None:
    """Submit images to the workers at a broker and print the job's id.

    With --job and the same sources, finish an interrupted submission; nothing is submitted twice.
    """
    from pigeonhole.sources.expand import expand

    settings = broker_settings(model, broker)
    skipped = Skipped()
    references = expand(sources, Root(settings.image_root), null, skipped=skipped)
    client = client_for(settings, quiet)
    job = job and client.job_id(job)
    before = client.status(job) if job else None
    if job is None:
        await_worker(client, settings)
    job = job or client.create(sources)
    with hinting(partial(resume_hint, client, job, None, submit_again(settings, job, sources, null))):
        client.submit(job, references, top or TOP)
    typer.echo(job)
    images = client.status(job).images
    if before is None:
        wait = " ".join(["pigeonhole wait", *broker_words(settings), job])
        notify_unless_quiet(f"submitted {counted(images, 'image')}. Next: {wait}", quiet)
    elif before.submitting:
        notify_unless_quiet(f"submitted {images:,} images, {before.images:,} of them before", quiet)
    else:
        notify_unless_quiet(f"job {job} had all of its {images:,} images already", quiet)
    notify_unless_quiet(skipped.text(), quiet)


@app.command(epilog="Example: pigeonhole wait last -o results.csv")
@guarded
def wait(
    job: Job,
    output: OutputFile = None,
    format: RowFormat = None,
    csv_safe: CsvSafe = False,
    overwrite: Overwrite = False,
    delete: Annotated[bool, typer.Option("--delete", help="Delete the job once its rows are safe in FILE.")] = False,
    top: TopOfJob = None,
    label_map: LabelMapFile = None,
    unknown_label: UnknownLabel = None,
    review_below: ReviewBelow = None,
    max_errors: MaximalErrors = None,
    sort_into: SortInto = None,
    link: Link = None,
    copy: Copy = False,
    broker: Broker = None,
    quiet: Quiet = False,
    as_json: AsJson = False,
) -> None:
    """Follow a job to its end and write its rows; if interrupted, run it again."""
    from pigeonhole.jobs.state import Command
    from pigeonhole.jobs.summary import Summary

    format = row_format(output, format, csv_safe, sort_into, top)
    file = None if output is None or is_special(output) else output
    if delete and file is None:
        # The reader of a pipe may close it before the last row; a table and a summary do not keep rows.
        raise UsageError("--delete would lose the rows: name a file for them with -o FILE, not a pipe or a device")
    check_place_of_rows(output, sort_into, as_json)
    client = client_for(broker_settings(broker=broker), quiet)
    job = client.job_id(job)
    client.status(job)
    options = RowOptions(review_below, top, label_map, unknown_label)
    with (
        closing(state_for(output, format, Command("wait", (job,)), overwrite)) as state,
        sorting(sort_into, link, copy, quiet, csv_safe=csv_safe) as sorter,
        hinting(partial(resume_hint, client, job, output, options=options)),
        sink_for(output, format, state, as_json, top is not None) as sink,
    ):
        rows = Output(sink, sorter, Summary(), quiet, as_json, options=options, max_errors=max_errors, file=file)
        follow(client, job, rows)
        code = finish(client, job, rows)
        if delete:
            client.delete(job, missing_ok=True)
    raise typer.Exit(code)


def _mount() -> None:
    """Add the commands of other modules, which also defer slow imports."""
    import producer.doctor.cli
    import producer.jobs.cli
    import producer.models.cli
    import producer.report.cli
    import training.cli
    import worker.cli

    commands = (
        producer.jobs.cli.app,
        producer.report.cli.app,
        producer.doctor.cli.app,
        worker.cli.app,
        training.cli.app,
        producer.models.cli.app,
    )
    for one in (app, *commands):
        for command in one.registered_commands:
            command.cls = Command
    for one in commands:
        app.add_typer(one)


_mount()


def main() -> None:
    """Run the program."""
    app(prog_name="pigeonhole")
