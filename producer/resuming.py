"""What a command prints when it ends before its job: how to resume it."""

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
    """Print how to resume a job when a command ends before it.

    Args:
        hint: returns that while the job is there; empty: nothing is printed.
        lost: how to resume when the job is not there any more.
    """
    try:
        yield
    except KeyboardInterrupt:
        fail(f"interrupted; {hint() or 'run the same command again'}", ExitCode.INTERRUPTED)
    except UnknownJob as exc:
        _fail_with(exc, lost)
    except (UsageError, JobCancelled, JobDamaged) as exc:
        if not isinstance(exc, SourceError):
            raise  # its message has all that is needed
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
    """Return the state of a job whose command has ended before it, and how to resume it.

    Args:
        client: where the job is.
        job: its id.
        output: the file for its rows.
        again: what finishes a submission that was cut off; None: another command submitted it.
        options: as the command had them.
        resumes: whether `again` also follows a job whose submission is complete.
    """
    broker = broker_words(client.settings)
    try:
        now = client.ledger.status(job)
    except PigeonholeError as exc:
        status = shlex.join(["pigeonhole", "status", *broker, job])
        return f"job {job}: its state is not known ({exc}); `{status}` shows it later"
    if now.submitting and not now.over:
        again = again or submit_again(client.settings, job, list(now.sources), False)
        cancel = shlex.join(["pigeonhole", "cancel", *broker, job])
        return f"job {job}: not everything was submitted ({now.images:,} images so far); {again}, or `{cancel}` ends it"
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
    """Return how to finish a submission that was cut off."""
    options = [*broker_words(settings), "--job", job, *(["-0"] if null_separated else [])]
    command = shlex.join(["pigeonhole", "submit", *options, *sources])
    feed = ", with the same list as input," if "-" in sources else ""
    return f"`{command}`{feed} submits the rest"


def broker_words(settings: Settings) -> list[str]:
    """Return the option that names the broker, where the environment names another or none."""
    url = settings.broker_url
    if url == settings_from().broker_url:
        return []
    return ["--broker", masked(url.partition(f"{PASSWORD_FILE}=")[0].rstrip("?&"))]
