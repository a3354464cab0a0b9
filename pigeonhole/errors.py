"""Every error that Pigeonhole raises on purpose.

    PigeonholeError
    ├── UsageError                the user asked for something that can't be done as asked
    │   ├── SettingsError         a setting is unknown, or has a value that can't be used
    │   ├── SourceError           a SOURCE does not exist, holds no image, or lies outside the image root
    │   ├── UnknownJob            the ledger has no job of that name
    │   ├── NoSubmitter           nobody submits to an open job any more
    │   └── TrainingError         training, evaluation or an import can't be done as asked
    │       ├── CheckpointError   a model file is missing, damaged, foreign or of another version
    │       └── DatasetError      a data set is missing, empty or unreadable, or can't be split as asked
    ├── BrokerUnreachable         Redis does not answer, or is full: trying again later may help
    │   └── BrokerRefuses         Redis refuses the command or the user; waiting does not help
    ├── NoWorker                  no worker consumes this model's queue
    ├── JobCancelled              the job was cancelled
    ├── EmbeddedFailed            the private Redis or its workers did not start, or stopped
    ├── OutputFailed              rows can't be written to the file or folder that the user named
    ├── MessageInvalid            a record in Redis is damaged, foreign or of another version
    │   └── JobDamaged            a job has lost rows or references that it had
    └── ImageError                one image can't be classified: it becomes that image's error row

Errors of redis, kombu, Pillow and the operating system become one of these where they enter, `from` the original.
Each message says what failed, the value, and what to do.
"""

from collections.abc import Sequence
from enum import IntEnum, StrEnum
from typing import ClassVar, Self


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

    def __init__(self, job: str, meant: Sequence[str] = ()) -> None:
        """Make the error for a name; `meant`: ids of jobs that it may stand for."""
        guess = f" Did you mean {' or '.join(meant)}?" if meant else ""
        super().__init__(
            f"no job {job!r}: it was deleted, has expired, or never was; `pigeonhole status` lists them{guess and '.'}"
            f"{guess}"
        )


class NoSubmitter(UsageError):
    """Raised when a job that is followed is open, and nobody submits to it any more."""


class TrainingError(UsageError):
    """Raised when training, evaluation or an import can't be done as asked."""


class CheckpointError(TrainingError):
    """Raised when a model file can't be found, read, trusted or written."""


class DatasetError(TrainingError):
    """Raised when a data set is missing, empty or unreadable, or a split of it is impossible."""


class BrokerUnreachable(PigeonholeError):
    """Raised when Redis does not answer, or can't take anything now; trying again later may help."""

    exit_code = ExitCode.BROKER_UNREACHABLE


class BrokerRefuses(BrokerUnreachable):
    """Raised when Redis does not let us do something: its user or password is wrong, or its rules."""


class NoWorker(PigeonholeError):
    """Raised when no worker serves the model that a job asks for."""

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


class JobDamaged(MessageInvalid):
    """Raised when a job has lost rows or references that it had: it must be submitted again."""


class ErrorKind(StrEnum):
    """The kinds of error rows; the text before the colon of a row's `error`.

    Attributes:
        meaning: one line for the documentation.
    """

    meaning: str

    def __new__(cls, value: str, meaning: str) -> Self:
        """Make a member of its value and its meaning."""
        kind = str.__new__(cls, value)
        kind._value_ = value
        kind.meaning = meaning
        return kind

    MISSING = "missing", "no such file, or a part of its path is no folder"
    NOT_A_FILE = "not-a-file", "a folder, FIFO, socket or device; a link in a `.tar` that leads to no file in it"
    OUTSIDE = "outside", "it lies outside the image root, or would if it existed; or its name has a NUL byte"
    UNREADABLE = (
        "unreadable",
        "the worker may not read it, its path is too long, its links form a circle, or reading it failed",
    )
    EMPTY = "empty", "the file has no bytes"
    NOT_AN_IMAGE = "not-an-image", "no image format that is known"
    TRUNCATED = "truncated", "the file ends early"
    CORRUPT = "corrupt", "the file is damaged"
    UNSUPPORTED = "unsupported", "a format, or a variant of one, that is not decoded: SVG, HEIF, PDF, EPS, BLP, IPTC"
    CHANGED = "changed", "an archive's member is not where it was when the archive was submitted"
    TOO_LARGE = "too-large", "over a limit on bytes, pixels or memory, known from its header wherever possible"
    BLANK = "blank", "digits only: the image shows nothing to read"
    INTERNAL = "internal", "a fault of Pigeonhole, or no memory to run the network on this one image"
    CRASHED = "crashed", "it kills the process that reads it: seen twice in a process that did nothing else"
    TIMEOUT = "timeout", "alone, it takes longer to read than a third of `PIGEONHOLE_BATCH_SECONDS`"


class ImageError(PigeonholeError):
    """Raised when one image can't be classified; it becomes that image's error row and costs no other its own.

    Args:
        kind: what programs decide by.
        message: the reason, for a person.
    """

    def __init__(self, kind: ErrorKind, message: str) -> None:
        super().__init__(kind, message)
        self.kind = kind
        self.message = message

    def __str__(self) -> str:
        return f"{self.kind}: {self.message}"
