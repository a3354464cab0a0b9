"""What commands share: settings, following a job, messages, exit codes. Only here and in them is anything printed."""

import functools
import json
import os
import signal
import sys
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, NoReturn, ParamSpec, TypeVar

import typer

from pigeonhole.errors import BrokerUnreachable, CheckpointError, ExitCode, PigeonholeError, UsageError
from pigeonhole.row_options import DEFAULT, RowOptions, check_unknown_label
from pigeonhole.settings import ENV_PREFIX, Settings, masked
from pigeonhole.sinks.sink import Sink
from pigeonhole.text import printable

if TYPE_CHECKING:
    from pigeonhole.jobs.begin import ActiveRun
    from pigeonhole.jobs.connection import Connection
    from pigeonhole.jobs.earlier_rows import KeptRows
    from pigeonhole.jobs.summary import Summary
    from pigeonhole.ledger.done import DoneBatch, Origin
    from pigeonhole.ledger.messages import Row
    from pigeonhole.ledger.status import JobStatus
    from pigeonhole.sinks.sorting import Sorter
    from producer.max_errors import MaxErrors

BROKER_URL = f"{ENV_PREFIX}BROKER_URL"

P = ParamSpec("P")
R = TypeVar("R")


def guarded(command: Callable[P, R]) -> Callable[P, R]:
    """Turn our errors into a message and an exit code."""

    @functools.wraps(command)
    def wrapper(*args: P.args, **kwargs: P.kwargs) -> R:
        try:
            return command(*args, **kwargs)
        except PigeonholeError as exc:
            fail(printable(str(exc)), exc.exit_code)
        except KeyboardInterrupt:
            fail("interrupted", ExitCode.INTERRUPTED)
        except BrokenPipeError:
            # Whoever read our output has closed it; without this, Python complains once more at exit.
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
            raise typer.Exit(128 + signal.SIGPIPE) from None

    return wrapper


@dataclass(frozen=True)
class Output:
    """How the rows of a command are written and shown.

    Args:
        sink: None: the rows are only counted, since the summary stands in their place.
        sorter: of `--sort-into`, if that was given.
        summary: of the rows that are there already.
        quiet, as_json: the options.
        started: when the command that started its own workers began, in seconds since the epoch.
        options: what the user asks of rows.
        max_errors: how many rows may be errors; None: all.
        file: where the rows are in the end; None: they are not in a file.
    """

    sink: Sink | None
    sorter: "Sorter | None"
    summary: "Summary"
    quiet: bool
    as_json: bool
    started: float | None = None
    options: RowOptions = DEFAULT
    max_errors: "MaxErrors | None" = None
    file: str | None = None

    def check(self, images: int | None) -> None:
        """Raise PigeonholeError if too many rows are errors; `images`: how many rows there will be, None: not known."""
        if self.max_errors:
            self.max_errors.check(self.summary, images)

    def write(self, rows: "Sequence[Row]", origins: "Iterable[Origin]") -> None:
        """Pass rows, and what each was computed from, to the sink and the sorter."""
        if self.sink:
            self.sink.write(rows)
        if self.sorter:
            self.sorter.write(rows, origins)

    def finish(self, job: "JobStatus") -> None:
        """Finish the sorter and the sink: the sink last, for a resumed command sorts its rows again."""
        if self.sorter:
            self.sorter.finish(job)
        if self.sink:
            self.sink.finish(job)


def follow(
    client: "Connection",
    job: str,
    output: Output,
    begun: "ActiveRun | None" = None,
    take: "Callable[[DoneBatch], KeptRows] | None" = None,
    kept: int | None = None,
) -> None:
    """Follow a job to its end, and write its rows.

    Args:
        client: where the job is.
        job: its id.
        output: what becomes of the rows.
        begun: what was submitted and delivered, if this command has submitted it.
        take: records a batch of an earlier run, and returns the rows that are kept.
        kept: how many images have a row and are not in this job; None: as many as there are rows.

    Raises:
        PigeonholeError: more rows are errors than `--max-errors` allows, among others.
    """
    from producer.progress import JobProgress

    before = output.summary.reviews
    kept = output.summary.images if kept is None else kept
    images: int | None = None  # how many the command has in all, once that is known

    def on_status(status: "JobStatus") -> None:
        nonlocal images
        images = None if take or status.submitting else kept + status.images
        if begun:
            begun.submission.on_status(status)
        if output.options.review_below is not None:  # the job's own count is by the model's threshold
            status = replace(status, reviews=output.summary.reviews - before)
        progress.show(status)

    def check() -> None:
        if begun:
            begun.submission.check()

    def new(batch: "DoneBatch") -> "tuple[list[Row], Iterable[Origin]]":
        rows = batch.rows(output.options)  # first: what a label map does not fit is not kept
        if begun:
            begun.run.deliver(batch)
        output.summary.add(rows)
        return rows, batch.origins()

    delivered = begun.run.digests(begun.run.delivered) if begun else ()
    with JobProgress(output.quiet, kept=kept) as progress:
        follower = client.follower(on_status, check, progress.show_workers)
        for batch in follower.batches(job, delivered):
            output.write(*(take or new)(batch))
            output.check(images)
    output.check(images)
    if begun:
        begun.run.finish()


def finish(client: "Connection", job: str, output: Output) -> ExitCode:
    """Finish the output, and print a summary with the times of a job."""
    from producer.summary_text import next_text, summary_text

    end = client.status(job)
    output.finish(end)
    startup = max(0.0, (end.started or output.started) - output.started) if output.started is not None else 0.0
    if output.as_json:
        typer.echo(json.dumps(output.summary.to_json(end, startup)))
    notify_unless_quiet(summary_text(output.summary, end, startup), output.quiet)
    notify_unless_quiet(next_text(output.summary, output.file), output.quiet)
    return ExitCode.ERROR_ROWS if output.summary.errors else ExitCode.OK


def settings_from(
    model: str | None = None, broker: str | None = None, processes: int | None = None, device: str | None = None
) -> Settings:
    """Return the environment's settings, with the values that options name in place of theirs.

    Raises:
        SettingsError: a value can't be used.
        UsageError: an option for a command's own workers is given, and the broker is a shared one.
    """
    environment = dict(os.environ)
    if broker is not None:  # as a variable: a password file is for any broker
        environment[BROKER_URL] = broker
    settings = Settings.from_environment(environment)
    for option, value in (("--processes", processes), ("--device", device)):
        if value is not None and settings.broker_url:
            raise UsageError(
                f"{option} {value} is for workers that this command starts itself, and it uses those at "
                f"{masked(settings.broker_url)}: leave it out, and give it to `pigeonhole worker` there"
            )
    changes = {"model": model, "processes": processes, "device": device}
    return replace(settings, **{name: value for name, value in changes.items() if value is not None})  # type: ignore[arg-type]


def broker_settings(model: str | None = None, broker: str | None = None) -> Settings:
    """Return the settings of a command that starts no Redis of its own; UsageError where none is set."""
    settings = settings_from(model, broker)
    if not settings.broker_url:
        raise UsageError(
            f"no broker is set: give --broker URL or set {BROKER_URL} to the workers' Redis, for instance "
            "redis://localhost:6379/0 (only `classify` starts one itself)"
        )
    return settings


def check_options(options: RowOptions, settings: Settings) -> None:
    """Raise UsageError, before anything starts, if the user's own model can't give what is asked of rows.

    What other people's workers can give is known from their first answers only.
    """
    if options.label_map is None and options.unknown_label is None:
        return
    from pigeonhole.models import checkpoint

    model = checkpoint.describe(checkpoint.find(settings.model))
    if options.label_map is not None:
        options.label_map.names(model.classes)
    if options.unknown_label is not None:
        check_unknown_label(options.unknown_label, model.name, model.calibration.outlier)


def await_worker(client: "Connection", settings: Settings) -> None:
    """Wait until a worker serves the model, unless it is known here; so a misspelt name leaves no job behind.

    Raises:
        NoWorker: none does after a while.
    """
    from pigeonhole.models import checkpoint

    try:
        checkpoint.find(settings.model)
    except CheckpointError:
        client.follower().await_worker(client.model_name(settings.model))


def client_for(settings: Settings, quiet: bool = False) -> "Connection":
    """Connect to Redis; unless quiet, print notices when it goes away later."""
    from pigeonhole.jobs.connection import Connection
    from pigeonhole.jobs.retrying import Retrying

    return Connection(settings, Retrying(settings.patience, None if quiet else Notices()))


class Notices:
    """Prints when Redis goes away and when it is back, and why batches are held back; see `OutageView`."""

    _held = ""

    def away(self, exc: BrokerUnreachable) -> None:
        """Print that Redis is away or full."""
        notify(f"waiting for Redis: {printable(str(exc))}")

    def back(self) -> None:
        """Print that Redis is back."""
        notify("Redis is back")

    def held(self, why: str) -> None:
        """Print why workers hold batches back, once."""
        if why != self._held:
            self._held = why
            notify(f"waiting: {printable(why)}")


def notify(message: str) -> None:
    """Print a message on standard error, above a bar; control sequences in it are escaped."""
    typer.echo("\n".join(map(printable, message.split("\n"))), file=sys.stderr)  # not err=True: it bypasses rich


def notify_unless_quiet(message: str, quiet: bool) -> None:
    """Print a message unless it is empty or the command is quiet."""
    if message and not quiet:
        notify(message)


def fail(message: str, code: ExitCode) -> NoReturn:
    """Print an error message and exit."""
    notify(f"pigeonhole: {message}")
    raise typer.Exit(code)
