"""The hints that a command prints if it ends before its job: how to resume."""

import shlex
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, NoReturn

from pigeonhole.errors import (
    ExitCode,
    JobCancelled,
    JobDamaged,
    PigeonholeError,
    SourceError,
    UnknownJob,
    UsageError,
)
from pigeonhole.row_options import DEFAULT, RowOptions
from pigeonhole.settings import PASSWORD_FILE, Settings, masked
from pigeonhole.text import printable
from producer.command import fail, settings_from

if TYPE_CHECKING:
    from pigeonhole.jobs.connection import Connection


@contextmanager
def hinting(hint: Callable[[], str], lost: str = "") -> Iterator[None]:
    """Print how to resume if a command ends before its job.

    Args:
        hint: returns the hint while the job exists; empty: nothing is printed.
        lost: the hint if the job no longer exists.
    """
    try:
        yield
    except KeyboardInterrupt:
        fail(f"interrupted; {hint() or 'run the same command again'}", ExitCode.INTERRUPTED)
    except UnknownJob as exc:
        _fail_with(exc, lost)
    except (UsageError, JobCancelled, JobDamaged) as exc:
        if not isinstance(exc, SourceError):
            raise  # its message already says what to do
        _fail_with(exc, hint())
    except PigeonholeError as exc:
        _fail_with(exc, hint())


def _fail_with(exc: PigeonholeError, remedy: str) -> NoReturn:
    message = printable(str(exc))
    fail(f"{message}\n{remedy}" if remedy else message, exc.exit_code)


def resume_hint(
    client: "Connection",
    job: str,
    output: str | None,
    again: str | None = None,
    options: RowOptions = DEFAULT,
    resumes: bool = False,
) -> str:
    """Return the state of a job that continues after its command, and how to resume it.

    Args:
        client: the connection to the job's Redis.
        job: the job's id.
        output: the file for its rows; None: the command wrote no file.
        again: how to finish an interrupted submission; None: another command submitted the job.
        options: row options of the command.
        resumes: whether the command in `again` also follows a job whose submission is complete.
    """
    broker = broker_words(client.settings)
    try:
        now = client.ledger.status(job)
    except PigeonholeError as exc:
        status = shlex.join(["pigeonhole", "status", *broker, job])
        return f"job {job}: its state is unknown ({exc}); `{status}` shows it later"
    if now.submitting and not now.over:
        again = again or submit_again(client.settings, job, list(now.sources), False)
        cancel = shlex.join(["pigeonhole", "cancel", *broker, job])
        return f"job {job}: the submission is incomplete ({now.images:,} images so far); {again}, or `{cancel}` ends it"
    if resumes:
        return f"job {job} continues; {again}"
    words = [*(["-o", output] if output else []), *options.words()]
    wait = shlex.join(["pigeonhole", "wait", *broker, job, *words])
    return f"job {job} continues; `{wait}` follows it{' (-o may name another file)' if output else ''}"


def run_again(sources: list[str]) -> str:
    """Return how to resume an interrupted `classify`."""
    feed = ", with the same list as input," if "-" in sources else ""
    return f"run the same command again{feed} to resume"


def submit_again(settings: Settings, job: str, sources: list[str], null_separated: bool) -> str:
    """Return how to finish an interrupted submission."""
    options = [*broker_words(settings), "--job", job, *(["-0"] if null_separated else [])]
    command = shlex.join(["pigeonhole", "submit", *options, *sources])
    feed = ", with the same list as input," if "-" in sources else ""
    return f"`{command}`{feed} submits the rest"


def broker_words(settings: Settings) -> list[str]:
    """Return the option `--broker` if the environment does not name this broker."""
    url = settings.broker_url
    if url == settings_from().broker_url:
        return []
    return ["--broker", masked(url.partition(f"{PASSWORD_FILE}=")[0].rstrip("?&"))]
