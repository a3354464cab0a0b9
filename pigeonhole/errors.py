"""Every error that Pigeonhole raises on purpose.

    PigeonholeError
    ├── UsageError                the user's request can't be done as asked
    │   ├── SettingsError         a setting is unknown, or has a value that can't be used
    │   ├── SourceError           a SOURCE does not exist, holds no image, or lies outside the image root
    │   ├── UnknownJob            Redis has no job of that name
    │   ├── NoSubmitter           an open job has no program any more that submits to it
    │   └── TrainingError         training, evaluation or an import can't be done as asked
    │       ├── CheckpointError   a model file is missing, damaged, foreign or of another version
    │       └── DatasetError      a data set is missing, empty or unreadable, or can't be split as asked
    ├── BrokerUnreachable         Redis does not answer, or is full; a later retry may help
    │   └── BrokerRefuses         Redis refuses the command or the user; a retry does not help
    ├── NoWorker                  no worker consumes this model's queue
    ├── JobCancelled              the job was cancelled
    ├── EmbeddedFailed            the private Redis or its workers did not start, or stopped
    ├── OutputFailed              rows can't be written to the file or folder that the user named
    ├── MessageInvalid            a record in Redis is damaged, foreign or of another version
    │   └── JobDamaged            a job has lost rows or references that it had
    └── ImageError                one image can't be classified; the error becomes its error row

Errors of redis, kombu, Pillow and the operating system are converted to one of these where they are caught, with
`raise … from`. Each message says what failed, the value, and what to do.
"""

from collections.abc import Sequence
from enum import IntEnum, StrEnum
from typing import ClassVar, Self


class ExitCode(IntEnum):
    """The exit codes of all commands."""

    OK = 0  # every image has a label
    FAILED = 1  # any failure without a code of its own; the message is on standard error
    USAGE = 2  # the request can't be done as asked: an unknown job, a source that does not exist
    ERROR_ROWS = 3  # the run finished, but some rows are errors
    BROKER_UNREACHABLE = 4  # Redis does not answer
    NO_WORKER = 5  # no worker consumes this model's queue
    CANCELLED = 6  # the job was cancelled
    INTERRUPTED = 130  # Ctrl-C


class PigeonholeError(Exception):
    """Base of all errors that Pigeonhole raises on purpose."""

    exit_code: ClassVar[ExitCode] = ExitCode.FAILED


class UsageError(PigeonholeError):
    """Raised when the user's request can't be done as asked."""

    exit_code = ExitCode.USAGE


class SettingsError(UsageError):
    """Raised when a setting is unknown or has a value that can't be used."""


class SourceError(UsageError):
    """Raised when a SOURCE does not exist, holds no image, or lies outside the image root."""


class UnknownJob(UsageError):
    """Raised when Redis has no job of that name."""

    def __init__(self, job: str, meant: Sequence[str] = ()) -> None:
        """Create the error for a name.

        Args:
            job: the unknown name.
            meant: ids of jobs with similar names.
        """
        guess = f" Did you mean {' or '.join(meant)}?" if meant else ""
        super().__init__(
            f"no job {job!r}: it was deleted, has expired or never existed; "
            f"`pigeonhole status` lists them{guess and '.'}{guess}"
        )


class NoSubmitter(UsageError):
    """Raised when a job that is followed is still open, but no program submits to it any more."""


class TrainingError(UsageError):
    """Raised when training, evaluation or an import can't be done as asked."""


class CheckpointError(TrainingError):
    """Raised when a model file can't be found, read, verified or written."""


class DatasetError(TrainingError):
    """Raised when a data set is missing, empty or unreadable, or can't be split as asked."""


class BrokerUnreachable(PigeonholeError):
    """Raised when Redis does not answer or is full; a later retry may help."""

    exit_code = ExitCode.BROKER_UNREACHABLE


class BrokerRefuses(BrokerUnreachable):
    """Raised when Redis refuses a command because of the user, the password or its access rules."""


class NoWorker(PigeonholeError):
    """Raised when no worker serves the model of a job."""

    exit_code = ExitCode.NO_WORKER


class JobCancelled(PigeonholeError):
    """Raised when a job was cancelled while a program submitted to it or followed it."""

    exit_code = ExitCode.CANCELLED

    def __init__(self, job: str) -> None:
        super().__init__(f"job {job} was cancelled; `pigeonhole results {job}` has the rows finished before that")


class EmbeddedFailed(PigeonholeError):
    """Raised when the private Redis or its workers did not start, or stopped."""


class OutputFailed(PigeonholeError):
    """Raised when rows can't be written to the file or folder that the user named."""


class MessageInvalid(PigeonholeError):
    """Raised when a record in Redis is damaged, foreign or of another version; its content is not used."""


class JobDamaged(MessageInvalid):
    """Raised when rows or references of a job are lost, so that it must be submitted again."""


class ErrorKind(StrEnum):
    """The kinds of error rows; each is the text before the colon in a row's `error`.

    Attributes:
        meaning: one line for the documentation.
    """

    meaning: str

    def __new__(cls, value: str, meaning: str) -> Self:
        """Create a member from its value and its meaning."""
        kind = str.__new__(cls, value)
        kind._value_ = value
        kind.meaning = meaning
        return kind

    MISSING = "missing", "no such file, or a part of its path is not a folder"
    NOT_A_FILE = (
        "not-a-file",
        "a folder, FIFO, socket or device; or a link in a `.tar` whose target is not a file in it",
    )
    OUTSIDE = "outside", "the path leads outside the image root, or its name has a NUL byte"
    UNREADABLE = (
        "unreadable",
        "the worker may not read it, its path is too long, its links form a circle, or reading it failed",
    )
    EMPTY = "empty", "the file has no bytes"
    NOT_AN_IMAGE = "not-an-image", "the file is in no known image format"
    TRUNCATED = "truncated", "the file ends early"
    CORRUPT = "corrupt", "the file is damaged"
    UNSUPPORTED = "unsupported", "a format, or a variant of one, that is not decoded: SVG, HEIF, PDF, EPS, BLP, IPTC"
    CHANGED = "changed", "the archive was changed after it was submitted, and the member is no longer at its place"
    TOO_LARGE = "too-large", "over a limit on bytes, pixels or memory; checked from the header if possible"
    BLANK = "blank", "digit models only: the image has no digit to read"
    INTERNAL = "internal", "a bug in Pigeonhole, or not enough memory to run the network on this one image"
    CRASHED = "crashed", "the image crashed the process that read it, twice, alone in an isolation run"
    TIMEOUT = "timeout", "in an isolation run, reading it takes longer than a third of `PIGEONHOLE_BATCH_SECONDS`"


class ImageError(PigeonholeError):
    """Raised when one image can't be classified. It becomes that image's error row; other images are not affected.

    Args:
        kind: the kind of the error, for programs.
        message: the reason in words, for people.
    """

    def __init__(self, kind: ErrorKind, message: str) -> None:
        super().__init__(kind, message)
        self.kind = kind
        self.message = message

    def __str__(self) -> str:
        return f"{self.kind}: {self.message}"
