"""What commands share: how they begin, follow a job, tell of it, and end. Only here and in them is anything printed."""

import functools
import json
import os
import shlex
import signal
import sys
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, NoReturn, ParamSpec, TypeVar

import typer
from typer.core import TyperGroup

from pigeonhole.errors import (
    BrokerUnreachable,
    CheckpointError,
    ExitCode,
    JobCancelled,
    JobDamaged,
    PigeonholeError,
    SourceError,
    UnknownJob,
    UsageError,
)
from pigeonhole.row_options import DEFAULT, RowOptions, check_unknown_label
from pigeonhole.settings import Settings
from pigeonhole.sinks.sink import Sink
from pigeonhole.text import printable

if TYPE_CHECKING:
    from pigeonhole.jobs.begin import Begun
    from pigeonhole.jobs.connection import Connection
    from pigeonhole.jobs.kept import KeptRows
    from pigeonhole.jobs.summary import Summary
    from pigeonhole.ledger.done import DoneBatch, Origin
    from pigeonhole.ledger.messages import Row
    from pigeonhole.ledger.status import JobStatus
    from pigeonhole.sinks.sorting import Sorter
    from producer.max_errors import MaxErrors

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


class Commands(TyperGroup):
    """Commands, whose wrong values are told in our words only."""

    def invoke(self, ctx: typer.Context) -> object:  # type: ignore[override]  # of Click, which Typer brings along
        """Run one."""
        try:
            return super().invoke(ctx)
        except typer.BadParameter as exc:
            exc.message = exc.message.removeprefix("Value error, ")  # Pydantic's, which Typer has check them
            raise


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
    begun: "Begun | None" = None,
    take: "Callable[[DoneBatch], KeptRows] | None" = None,
) -> None:
    """Follow a job to its end, and write its rows.

    Args:
        client: where the job is.
        job: its id.
        output: what becomes of the rows.
        begun: what was submitted and delivered, if this command has submitted it.
        take: records a batch of an earlier run, and returns the rows that are kept.

    Raises:
        PigeonholeError: more rows are errors than `--max-errors` allows, among others.
    """
    from producer.progress import JobProgress

    before, kept = output.summary.reviews, output.summary.images
    images: int | None = None  # how many the command has in all, once that is known

    def look(status: "JobStatus") -> None:
        nonlocal images
        images = None if take or status.state == "open" else kept + status.images
        if begun:
            begun.submission.look(status)
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
    with JobProgress(output.quiet) as progress:
        follower = client.follower(look, check, progress.show_workers)
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
    tell(summary_text(output.summary, end, startup), output.quiet)
    tell(next_text(output.summary, output.file), output.quiet)
    return ExitCode.ERROR_ROWS if output.summary.errors else ExitCode.OK


@contextmanager
def told(how_to_go_on: Callable[[], str], lost: str = "") -> Iterator[None]:
    """Say how to go on with a job when a command ends before it; empty: there is nothing to say.

    Args:
        how_to_go_on: while the job is there.
        lost: and how when it is not any more.
    """
    try:
        yield
    except KeyboardInterrupt:
        fail(f"interrupted; {how_to_go_on() or 'run the same command again'}", ExitCode.INTERRUPTED)
    except UnknownJob as exc:
        _fail_with(exc, lost)
    except (UsageError, JobCancelled, JobDamaged) as exc:
        if not isinstance(exc, SourceError):
            raise  # the message says all there is
        _fail_with(exc, how_to_go_on())
    except PigeonholeError as exc:
        _fail_with(exc, how_to_go_on())


def _fail_with(exc: PigeonholeError, remedy: str) -> NoReturn:
    said = printable(str(exc))
    fail(f"{said}\n{remedy}" if remedy else said, exc.exit_code)


def how_to_go_on(
    client: "Connection",
    job: str,
    output: str | None,
    again: str | None = None,
    options: RowOptions = DEFAULT,
    resumes: bool = False,
) -> str:
    """Say what becomes of a job whose command has ended before it.

    Args:
        client, job: which job, and where.
        output: where its rows were to go.
        again: what finishes a submission that was cut off; None: it was another command's.
        options: as the command had them.
        resumes: whether `again` also follows a job whose submission is complete.
    """
    try:
        now = client.ledger.status(job)
    except PigeonholeError as exc:
        return f"job {job}: what became of it can't be told ({exc}); `pigeonhole status {job}` tells it later"
    if now.state == "open":
        again = again or submit_again(job, list(now.sources), False)
        return (
            f"job {job}: not everything was submitted ({now.images:,} images so far); {again}, or "
            f"`pigeonhole cancel {job}` ends it"
        )
    if resumes:
        return f"job {job}: it goes on; {again}"
    words = [*(["-o", output] if output else []), *options.words()]
    wait = shlex.join(["pigeonhole", "wait", job, *words])
    return f"job {job}: it goes on; `{wait}` follows it again{' (-o may name another file)' if output else ''}"


def run_again(sources: list[str]) -> str:
    """Return how to resume an interrupted `classify`."""
    feed = ", fed the same list," if "-" in sources else ""
    return f"run the same command again{feed} to resume"


def submit_again(job: str, sources: list[str], null_separated: bool) -> str:
    """Say how to finish a submission that was cut off."""
    options = ["--job", job, *(["-0"] if null_separated else [])]
    command = shlex.join(["pigeonhole", "submit", *options, *sources])
    feed = ", fed the same list," if "-" in sources else ""
    return f"`{command}`{feed} submits the rest"


def settings_from(model: str | None = None) -> Settings:
    """Give the environment's settings, with the model that an option names."""
    settings = Settings.from_environment()
    return settings if model is None else replace(settings, model=model)


def broker_settings(model: str | None = None) -> Settings:
    """Give the settings of a command that brings no broker of its own; UsageError where none is set."""
    settings = settings_from(model)
    if not settings.broker_url:
        raise UsageError(
            "this needs a broker: set PIGEONHOLE_BROKER_URL to the workers' Redis, for instance "
            "redis://localhost:6379/0 (only `classify` brings its own)"
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
        say(f"waiting for Redis: {printable(str(exc))}")

    def back(self) -> None:
        """Print that Redis is back."""
        say("Redis is back")

    def held(self, why: str) -> None:
        """Print why workers hold batches back, once."""
        if why != self._held:
            self._held = why
            say(f"waiting: {printable(why)}")


def say(message: str) -> None:
    """Print a message on standard error, above a bar; control sequences in it are escaped."""
    typer.echo("\n".join(map(printable, message.split("\n"))), file=sys.stderr)  # not err=True: it bypasses rich


def tell(message: str, quiet: bool) -> None:
    """Print a message unless it is empty or the command is quiet."""
    if message and not quiet:
        say(message)


def fail(message: str, code: ExitCode) -> NoReturn:
    """Print an error message and exit."""
    say(f"pigeonhole: {message}")
    raise typer.Exit(code)
