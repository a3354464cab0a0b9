"""Every error that producer and worker raise on purpose.

    PigeonholeError
    ├── UsageError                what the user asked for can't be done as asked
    │   ├── SettingsError         a setting is unknown or has a value that can't be used
    │   ├── SourceError           a SOURCE does not exist, holds no image, or lies outside the image root
    │   └── UnknownJob            no job of that name in the ledger
    ├── BrokerUnreachable         Redis does not answer, or is full: trying again later may help
    │   └── BrokerRefuses         Redis refuses us; waiting does not help
    ├── NoWorker                  nobody consumes this model's queue
    ├── JobCancelled              somebody cancelled the job
    ├── EmbeddedFailed            the private Redis or its workers did not start, or stopped
    ├── OutputFailed              rows can't be written where the user wants them
    ├── MessageInvalid            something in Redis that we did not write, or a version we don't know
    └── ImageUnreadable           one image has no label: becomes that image's error row

Errors of redis, kombu, Pillow and the operating system become one of these where they enter, `from` the
original. Each message says what failed, the value, and what to do.
"""

from enum import IntEnum
from typing import ClassVar


class ExitCode(IntEnum):
    """What the exit code of a command means."""

    OK = 0  # every image has a label
    FAILED = 1  # something that has no code of its own, said on standard error
    USAGE = 2  # what was asked for can't be done as asked: an unknown job, a source that does not exist
    ERROR_ROWS = 3  # the run finished, and some rows are errors
    BROKER_UNREACHABLE = 4  # Redis does not answer
    NO_WORKER = 5  # nobody consumes this model's queue
    CANCELLED = 6  # the job was cancelled
    INTERRUPTED = 130  # Ctrl-C


class PigeonholeError(Exception):
    """Base of all errors that Pigeonhole raises on purpose."""

    exit_code: ClassVar[ExitCode] = ExitCode.FAILED


class UsageError(PigeonholeError):
    """Raised when what the user asked for can't be done as asked."""

    exit_code = ExitCode.USAGE


class SettingsError(UsageError):
    """Raised when a setting is unknown or has a value that can't be used."""


class SourceError(UsageError):
    """Raised when a SOURCE does not exist, holds no image, or lies outside the image root."""


class UnknownJob(UsageError):
    """Raised when the ledger has no job of that name."""

    def __init__(self, job: str) -> None:
        super().__init__(f"no job {job!r}: it was deleted, has expired, or never was; `pigeonhole status` lists them")


class BrokerUnreachable(PigeonholeError):
    """Raised when Redis does not answer, or can't take anything now; trying again later may help."""

    exit_code = ExitCode.BROKER_UNREACHABLE


class BrokerRefuses(BrokerUnreachable):
    """Raised when Redis does not let us do something: its user or password is wrong, or its rules."""


class NoWorker(PigeonholeError):
    """Raised when nobody consumes the queue of the model that a job asks for."""

    exit_code = ExitCode.NO_WORKER


class JobCancelled(PigeonholeError):
    """Raised when a job that is submitted to or followed has been cancelled."""

    exit_code = ExitCode.CANCELLED

    def __init__(self, job: str) -> None:
        super().__init__(f"job {job} was cancelled; `pigeonhole results {job}` has the rows finished before that")


class EmbeddedFailed(PigeonholeError):
    """Raised when the private Redis or its workers did not start, or stopped."""


class OutputFailed(PigeonholeError):
    """Raised when rows can't be written where the user wants them."""


class MessageInvalid(PigeonholeError):
    """Raised when something in Redis is not what this version writes; it is never guessed at."""


class ImageUnreadable(PigeonholeError):
    """Raised when one image can't be classified; it becomes that image's error row.

    Args:
        kind: one word for the summary to count by, for instance `missing`.
        message: what is wrong with this image, in words.
    """

    def __init__(self, kind: str, message: str) -> None:
        super().__init__(f"{kind}: {message}")
        self.kind = kind
        self.message = message
