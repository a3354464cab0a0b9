"""The program `pigeonhole`: the commands for jobs, and beside them those of the worker and of training.

Rows and results go to standard output, everything else to standard error. Only here is printed or exited. What
takes time to import is imported where it is used, so that `--help` and a submission start at once.
"""

import functools
import json
import os
import shlex
import signal
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Annotated, NoReturn, ParamSpec, TypeVar

import typer

from producer.sinks import File, Format, Sink, Stream, Table, format_of
from producer.sources import Root, expand
from worker.contract.errors import ExitCode, JobCancelled, PigeonholeError, UnknownJob, UsageError
from worker.contract.settings import Settings

if TYPE_CHECKING:
    from producer.client import Client

P = ParamSpec("P")
R = TypeVar("R")


app = typer.Typer(
    help="A label for every image: soon, on every core and machine you have, none lost and none twice.",
    epilog="Exit codes: 0 every image has a label, 2 usage, 3 some rows are errors, 4 broker unreachable, "
    "5 no worker, 6 cancelled, 130 interrupted.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)

Sources = Annotated[
    list[str],
    typer.Argument(
        metavar="SOURCE", help="Images, folders, globs; - reads a list from standard input, @FILE from a file."
    ),
]
Job = Annotated[str, typer.Argument(metavar="JOB", help="A job's id, as `submit` and `status` print it.")]
Output = Annotated[
    str | None, typer.Option("-o", "--output", metavar="FILE", help="Write the rows here, in the format it ends with.")
]
RowFormat = Annotated[Format | None, typer.Option("--format", help="How rows are written, whatever FILE ends with.")]
Model = Annotated[
    str | None,
    typer.Option(
        "--model", help="The model that shall answer: its name, or embedded a checkpoint file too.  \\[default: digits]"
    ),
]
NullSeparated = Annotated[bool, typer.Option("-0", "--null", help="Lists are separated by NUL, not by newlines.")]
Quiet = Annotated[bool, typer.Option("-q", "--quiet", help="No progress and no summary.")]
AsJson = Annotated[bool, typer.Option("--json", help="Print the result as one JSON object.")]


def guarded(command: Callable[P, R]) -> Callable[P, R]:
    """Turn our errors into a message and an exit code."""

    @functools.wraps(command)
    def wrapper(*args: P.args, **kwargs: P.kwargs) -> R:
        try:
            return command(*args, **kwargs)
        except PigeonholeError as exc:
            _fail(str(exc), exc.exit_code)
        except KeyboardInterrupt:
            _fail("interrupted", ExitCode.INTERRUPTED)
        except BrokenPipeError:
            # Whoever read our output has closed it; without this, Python complains once more at exit.
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
            raise typer.Exit(128 + signal.SIGPIPE) from None

    return wrapper


@app.command(epilog="Example: pigeonhole classify photos/ more/*.jpg -o results.csv")
@guarded
def classify(
    sources: Sources,
    output: Output = None,
    format: RowFormat = None,
    model: Model = None,
    null: NullSeparated = False,
    quiet: Quiet = False,
    as_json: AsJson = False,
) -> None:
    """Classify images: submit them, follow the job, write a row for each.

    With PIGEONHOLE_BROKER_URL set, the workers at that Redis do it; without, a Redis and workers of its own.
    """
    from producer.client import Client

    started = time.time()
    settings = _settings(model)
    if not settings.broker_url:
        # The workers are this user's own processes: what the user can read, they may.
        settings = replace(settings, image_root="/")
    format = _row_format(output, format)
    references = expand(sources, Root(settings.image_root), null)
    with _broker(settings) as (own, name, check_broker):
        client = Client(own)
        sink = _run_sink(output, format, as_json)
        job = client.create(sources, name())
        how_to_go_on = (lambda: _how_to_go_on(client, job, output)) if settings.broker_url else None
        with _told(job, how_to_go_on):
            check_submission = client.submit_meanwhile(job, references)

            def check() -> None:
                check_broker()
                check_submission()

            _follow(client, job, Run(sink, quiet, as_json, check, None if settings.broker_url else started))


@app.command(epilog="Example: JOB=$(pigeonhole submit photos/)")
@guarded
def submit(sources: Sources, model: Model = None, null: NullSeparated = False, quiet: Quiet = False) -> None:
    """Submit images to the workers at PIGEONHOLE_BROKER_URL and print the job's id."""
    from producer.client import Client

    settings = _broker_settings(model)
    references = expand(sources, Root(settings.image_root), null)
    client = Client(settings)
    job = client.create(sources)
    with _told(job, lambda: _how_to_go_on(client, job, None)):
        client.submit(job, references)
    typer.echo(job)
    if not quiet:
        _say(f"submitted {client.ledger.status(job).images:,} images; `pigeonhole wait {job}` follows them")


@app.command(epilog="Example: pigeonhole wait $JOB -o results.csv")
@guarded
def wait(
    job: Job, output: Output = None, format: RowFormat = None, quiet: Quiet = False, as_json: AsJson = False
) -> None:
    """Follow a job to its end and write its rows; can be interrupted and run again."""
    format = _row_format(output, format)
    client = _client()
    client.ledger.status(job)
    with _told(job, lambda: _how_to_go_on(client, job, output)):
        sink = _run_sink(output, format, as_json)
        _follow(client, job, Run(sink, quiet, as_json))


@app.command(epilog="Example: pigeonhole status --json")
@guarded
def status(
    job: Annotated[str | None, typer.Argument(metavar="JOB", help="One job in full; without it, all.")] = None,
    as_json: AsJson = False,
) -> None:
    """Show one job in full, or all jobs as a table."""
    from rich.console import Console

    from producer.summary import job_text, jobs_table

    ledger = _client().ledger
    statuses = ledger.statuses() if job is None else [ledger.status(job)]
    if as_json:
        shown = [status.to_json() for status in statuses]
        typer.echo(json.dumps(shown if job is None else shown[0]))
    elif job is not None:
        typer.echo(job_text(statuses[0]))
    else:
        Console(file=sys.stdout).print(jobs_table(statuses) if statuses else "no jobs")


@app.command(epilog="Example: pigeonhole results $JOB -o so-far.csv")
@guarded
def results(job: Job, output: Output = None, format: RowFormat = None) -> None:
    """Write the rows that a job has so far, in the order of submission."""
    format = _row_format(output, format)
    client = _client()
    client.ledger.status(job)
    sink = _sink(output, format)
    for rows in client.results(job):
        sink.write(rows)
    sink.finish()


@app.command(epilog="Example: pigeonhole resume $JOB")
@guarded
def resume(job: Job) -> None:
    """Publish again what a job still owes; safe at any time."""
    client = _client()
    published = client.resume(job)
    now = client.ledger.status(job)
    owed = "nothing is owed" if now.over else f"{now.images - now.done:,} images are owed"
    _say(f"job {job} is {now.state}: published {published} batches again, {owed}")
    if now.state == "open":
        _say("it is open: not everything was submitted, or somebody submits to it now")


@app.command(epilog="Example: pigeonhole cancel $JOB")
@guarded
def cancel(job: Job) -> None:
    """Strike off what a job still owes; the rows it has stay."""
    ledger = _client().ledger
    ledger.cancel(job)
    now = ledger.status(job)
    _say(f"job {job} is cancelled: {now.done:,} of {now.images:,} images were done")


@app.command(epilog="Example: pigeonhole delete $JOB")
@guarded
def delete(job: Job) -> None:
    """Forget a job and its rows."""
    _client().ledger.delete(job)
    _say(f"job {job} is deleted")


@dataclass(frozen=True)
class Run:
    """How a job is followed: where its rows go and what is shown.

    Args:
        sink: None: the rows are only counted, since the summary stands in their place.
        check: raises what ends the following.
        started: when the command that started its own workers began, in seconds since the epoch.
    """

    sink: Sink | None
    quiet: bool
    as_json: bool
    check: Callable[[], None] = lambda: None
    started: float | None = None


def _follow(client: "Client", job: str, run: Run) -> NoReturn:
    """Follow a job, write its rows, say how it went, and exit accordingly."""
    from producer.progress import progress
    from producer.summary import Summary

    summary = Summary()
    with progress(run.quiet) as show:
        for rows in client.rows(job, show, run.check):
            summary.add(rows)
            if run.sink:
                run.sink.write(rows)
    if run.sink:
        run.sink.finish()
    end = client.ledger.status(job)
    startup = max(0.0, (end.started or run.started) - run.started) if run.started is not None else 0.0
    if run.as_json:
        typer.echo(json.dumps(summary.to_json(end, startup)))
    if not run.quiet:
        first, _, others = summary.to_text(end, startup).partition("\n")
        typer.secho(first, err=True, bold=True)
        _say(others)
    raise typer.Exit(ExitCode.ERROR_ROWS if summary.errors else ExitCode.OK)


def _row_format(output: str | None, format: Format | None) -> Format | None:
    """Give the format of the rows, None for a table; told before anything is started if there is none."""
    if format is None and output is not None:
        return format_of(output)
    return Format.csv if format is None and not sys.stdout.isatty() else format


def _sink(output: str | None, format: Format | None) -> Sink:
    if format is None:
        return Table()
    return Stream(sys.stdout.buffer, format) if output is None else File(output, format)


def _run_sink(output: str | None, format: Format | None, as_json: bool) -> Sink | None:
    """Give where a run's rows go; None: the summary stands in their place."""
    return None if as_json and output is None else _sink(output, format)


@contextmanager
def _broker(settings: Settings) -> Iterator[tuple[Settings, Callable[[], str | None], Callable[[], None]]]:
    """Give settings with a broker, the name of the model to submit to, and a check that raises if it ended."""
    if settings.broker_url:
        yield settings, lambda: None, lambda: None
        return
    from producer.embedded import embedded

    with embedded(settings) as private:
        yield private.settings, private.model, private.check


@contextmanager
def _told(job: str, how_to_go_on: Callable[[], str] | None) -> Iterator[None]:
    """Name the job, and how to go on with it, when a command ends before it.

    Args:
        how_to_go_on: None where the job ends with the command, since its workers do.
    """
    try:
        yield
    except KeyboardInterrupt:
        again = how_to_go_on() if how_to_go_on else "run the same command again"
        _fail(f"interrupted: job {job}; {again}", ExitCode.INTERRUPTED)
    except (UnknownJob, JobCancelled):
        raise
    except PigeonholeError as exc:
        if how_to_go_on is None:
            raise
        _fail(f"{exc}\njob {job}: {how_to_go_on()}", exc.exit_code)


def _how_to_go_on(client: "Client", job: str, output: str | None) -> str:
    try:
        now = client.ledger.status(job)
        if now.state == "open":
            return (
                f"not everything was submitted; the {now.images:,} images that were are classified "
                f"(`pigeonhole results {job}`), and `pigeonhole cancel {job}` ends it"
            )
    except PigeonholeError as exc:
        return f"what became of it can't be told ({exc}); `pigeonhole status {job}` tells it later"
    return f"it goes on; `pigeonhole wait {job}{f' -o {shlex.quote(output)}' if output else ''}` follows it again"


def _settings(model: str | None = None) -> Settings:
    settings = Settings.from_environment()
    return replace(settings, model=model) if model else settings


def _broker_settings(model: str | None = None) -> Settings:
    settings = _settings(model)
    if not settings.broker_url:
        raise UsageError(
            "this needs a broker: set PIGEONHOLE_BROKER_URL to the workers' Redis, for instance "
            "redis://localhost:6379/0 (only `classify` brings its own)"
        )
    return settings


def _client() -> "Client":
    from producer.client import Client

    return Client(_broker_settings())


def _say(message: str) -> None:
    typer.echo(message, err=True)


def _fail(message: str, code: ExitCode) -> NoReturn:
    _say(f"pigeonhole: {message}")
    raise typer.Exit(code)


def _mount() -> None:
    """Add the commands of the worker and of training; their modules import nothing heavy either."""
    import training.cli
    import worker.cli

    app.add_typer(worker.cli.app)
    app.add_typer(training.cli.app)


_mount()


def main() -> None:
    """Run the program."""
    app(prog_name="pigeonhole")
