"""Shared by the commands: settings, following a job, messages, exit codes. Only this module and the commands print."""

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
from pigeonhole.row_options import DEFAULT, RowOptions
from pigeonhole.settings import ENV_PREFIX, Settings, masked
from pigeonhole.sinks.sink import Sink
from pigeonhole.text import printable

if TYPE_CHECKING:
    from pigeonhole.jobs.begin import ActiveRun
    from pigeonhole.jobs.connection import Connection
    from pigeonhole.jobs.earlier_rows import KeptRows
    from pigeonhole.jobs.summary import Summary
    from pigeonhole.ledger.done import DoneBatch, Origin
    from pigeonhole.ledger.status import JobStatus
    from pigeonhole.ledger.wire.messages import Row
    from pigeonhole.sinks.folders.sorting import Sorter
    from producer.arguments.max_errors import MaxErrors

BROKER_URL = f"{ENV_PREFIX}BROKER_URL"

P = ParamSpec("P")
R = TypeVar("R")


def guarded(command: Callable[P, R]) -> Callable[P, R]:
    """Decorate a command: our errors end it with a message and an exit code."""

    @functools.wraps(command)
    def wrapper(*args: P.args, **kwargs: P.kwargs) -> R:
        try:
            return command(*args, **kwargs)
        except PigeonholeError as exc:
            fail(printable(str(exc)), exc.exit_code)
        except KeyboardInterrupt:
            fail("interrupted", ExitCode.INTERRUPTED)
        except BrokenPipeError:
            # The reader of our output has closed it; without this, Python prints another error at exit.
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
            raise typer.Exit(128 + signal.SIGPIPE) from None

    return wrapper


@dataclass(frozen=True)
class Output:
    """How the rows of a command are written and shown.

    Args:
        sink: writes the rows; None: rows are only counted, because the summary is printed in their place.
        sorter: sorts the images for `--sort-into`; None: the option is not given.
        summary: counts the rows, including those of an earlier run.
        quiet, as_json: the options of those names.
        started: start of the command in seconds since the epoch; None if it uses a broker's workers.
        options: options that change the rows, such as `--label-map`.
        max_errors: limit of error rows; None: no limit.
        file: the path of the rows' file; None: they are not in a file.
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
        """Raise PigeonholeError if too many rows are errors.

        Args:
            images: the final number of rows; None: not known yet.
        """
        if self.max_errors:
            self.max_errors.check(self.summary, images)

    def write(self, rows: "Sequence[Row]", origins: "Iterable[Origin]") -> None:
        """Pass rows, and the origin of each, to the sink and the sorter."""
        if self.sink:
            self.sink.write(rows)
        if self.sorter:
            self.sorter.write(rows, origins)

    def finish(self, job: "JobStatus") -> None:
        """Finish the sorter, then the sink: if the sorter fails, a resumed command sorts the rows again."""
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
        client: the connection to the job's Redis.
        job: the job's id.
        output: receives the rows.
        begun: submission and delivered batches of the job; None: another command submitted the job.
        take: records a batch of an earlier run, and returns the rows to keep; None: all rows are new.
        kept: number of images that have a row but are not in this job; None: the rows so far.

    Raises:
        PigeonholeError: more rows are errors than `--max-errors` allows, among others.
    """
    from producer.display.progress import JobProgress

    before = output.summary.reviews
    kept = output.summary.images if kept is None else kept
    images: int | None = None  # the command's total, once it is known

    def on_status(status: "JobStatus") -> None:
        nonlocal images
        images = None if take or status.submitting else kept + status.images
        if begun:
            begun.submission.on_status(status)
        if output.options.review_below is not None:  # the job's own counter uses the model's threshold
            status = replace(status, reviews=output.summary.reviews - before)
        progress.show(status)

    def check() -> None:
        if begun:
            begun.submission.check()

    def new(batch: "DoneBatch") -> "tuple[list[Row], Iterable[Origin]]":
        rows = batch.rows(output.options)  # first, because a label map that does not fit raises an error
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
    """Finish the output, print the summary, and return the exit code."""
    from producer.display.summary_text import next_text, summary_text

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
    """Return the settings of the environment, overridden by options.

    Args:
        model, broker, processes, device: the options of those names; None: not given.

    Raises:
        SettingsError: a value can't be used.
        UsageError: an option is for a command's own workers, but a broker is set.
    """
    environment = dict(os.environ)
    if broker is not None:  # as a variable, so that a password file applies to it too
        environment[BROKER_URL] = broker
    settings = Settings.from_environment(environment)
    for option, value in (("--processes", processes), ("--device", device)):
        if value is not None and settings.broker_url:
            raise UsageError(
                f"{option} {value} is for workers that this command starts itself, but it uses those at "
                f"{masked(settings.broker_url)}. Drop it here, and give it to `pigeonhole worker` there"
            )
    changes = {"model": model, "processes": processes, "device": device}
    return replace(settings, **{name: value for name, value in changes.items() if value is not None})  # type: ignore[arg-type]


def broker_settings(model: str | None = None, broker: str | None = None) -> Settings:
    """Return the settings of a command that needs a broker; raise UsageError if none is set."""
    settings = settings_from(model, broker)
    if not settings.broker_url:
        raise UsageError(
            f"no broker is set: give --broker URL or set {BROKER_URL}, such as redis://localhost:6379/0 "
            "(only `classify` starts its own Redis)"
        )
    return settings


def check_options(options: RowOptions, settings: Settings) -> None:
    """Raise UsageError, before anything starts, if a local model does not support an option of the rows.

    For a broker's workers, this is only known from their first rows.
    """
    if options.label_map is None and options.unknown_label is None:
        return
    from pigeonhole.models import checkpoint

    model = checkpoint.describe(checkpoint.find(settings.model))
    if options.label_map is not None:
        options.label_map.names(model.classes)
    options.check_unknown(model.name, model.calibration.outlier)


def await_worker(client: "Connection", settings: Settings) -> None:
    """Wait until a worker serves the model if no local model has its name: a misspelt name must not create a job.

    Raises:
        NoWorker: no worker serves the model in time.
    """
    from pigeonhole.models import checkpoint

    try:
        checkpoint.find(settings.model)
    except CheckpointError:
        client.follower().await_worker(client.model_name(settings.model))


def client_for(settings: Settings, quiet: bool = False) -> "Connection":
    """Connect to Redis; unless quiet, print a notice when Redis goes away or comes back."""
    from pigeonhole.jobs.connection import Connection
    from pigeonhole.jobs.retrying import Retrying

    return Connection(settings, Retrying(settings.outage_seconds, None if quiet else Notices()))


class Notices:
    """Prints notices when Redis goes away or comes back, and when workers hold batches back; an `OutageView`."""

    _held = ""

    def away(self, exc: BrokerUnreachable) -> None:
        """Print that Redis is away or full."""
        notify(f"waiting for Redis: {printable(str(exc))}")

    def back(self) -> None:
        """Print that Redis is back."""
        notify("Redis is back")

    def held(self, why: str) -> None:
        """Print the reason why workers hold batches back, once for each reason."""
        if why != self._held:
            self._held = why
            notify(f"waiting: {printable(why)}")


def notify(message: str) -> None:
    """Print a message on standard error, above a progress bar; escape its control sequences."""
    typer.echo("\n".join(map(printable, message.split("\n"))), file=sys.stderr)  # not err=True: it bypasses rich


def notify_unless_quiet(message: str, quiet: bool) -> None:
    """Print a message unless it is empty or the command is quiet."""
    if message and not quiet:
        notify(message)


def fail(message: str, code: ExitCode) -> NoReturn:
    """Print an error message and exit."""
    notify(f"pigeonhole: {message}")
    raise typer.Exit(code)
