"""Going on with an interrupted `classify … -o FILE`: the same command again keeps the rows that `FILE.part` has.

Beside it lies `FILE.part.journal`: which command this is, and when its rows began to be made. A file that changed at
that time or later may not be what was classified, and loses its row. Its change time, which nobody can set back, tells
that, so no sizes and times of single files are kept. Which checkpoint made a row stands in the row.

It does not tell that a folder above the file was exchanged, by renaming, by a link or by a mount: the files in the new
one may be old. So `FILE.part.folders` says which folders the images were in.

Over a broker the rows of a job are safe in the ledger, and the job goes on by itself; so the journal names it, and
where its rows begin, and they are fetched from there again.
"""

import json
import os
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass
from functools import lru_cache

from pigeonhole.errors import OutputFailed, UsageError
from pigeonhole.jobs.options import DEFAULT, RowOptions
from pigeonhole.ledger.messages import Row
from pigeonhole.output_files import check_free, target
from pigeonhole.sinks.format import Format, LineFormat
from pigeonhole.sinks.registry import FORMATS, read_results
from pigeonhole.text import counted, printable

VERSION = 1
#: Suffix of the file beside FILE.part that names the command whose rows these are.
JOURNAL = ".journal"
#: Suffix of the file beside FILE.part that names the folders of the images of these rows.
PLACES = ".folders"
#: Places that are remembered as noted: an unsorted list goes to and fro between folders.
_REMEMBERED = 65_536

#: Device and inode of what a path leads to; empty where none will do.
Identity = tuple[int, ...]


@dataclass(frozen=True)
class Command:
    """What makes a `classify` the same command: all that decides which rows it writes, and how."""

    sources: tuple[str, ...]
    null_separated: bool
    folder: str
    image_root: str
    format: str
    review_below: float | None = None


@dataclass(frozen=True)
class Journal:
    """What is known of the rows in a `FILE.part`.

    Args:
        command: whose they are.
        begun: before any of them was made, in nanoseconds on the clock of the file's own file system.
        job: over a broker, the job whose rows they are,
        offset: from this byte on; those before it were kept from an earlier one.
    """

    command: Command
    begun: int
    job: str = ""
    offset: int = 0

    def write(self, part: str) -> None:
        """Put it beside a `FILE.part`, whole or not at all.

        Raises:
            OutputFailed: it can't be written.
        """
        _write(part + JOURNAL, [json.dumps({"v": VERSION} | asdict(self))])

    @classmethod
    def read(cls, part: str) -> "Journal | None":
        """Read what lies beside a `FILE.part`; None where nothing does.

        Raises:
            UsageError: it can't be read, or is not what this version writes.
        """
        path = part + JOURNAL
        try:
            with open(path, encoding="ascii") as file:
                body = json.load(file)
            version, command = body.pop("v"), body.pop("command")
            journal = cls(Command(**command | {"sources": tuple(command["sources"])}), **body)
            texts = (*journal.command.sources, journal.command.folder, journal.command.image_root, journal.job)
            if version != VERSION or not all(isinstance(text, str) for text in texts):
                raise ValueError(f"version {version}")
            FORMATS[journal.command.format], int(journal.begun), int(journal.offset)
        except FileNotFoundError:
            return None
        except OSError as exc:
            raise UsageError(f"{path!r} can't be read: {exc.strerror}; choose another place with -o") from exc
        except (KeyError, TypeError, ValueError, AttributeError, RecursionError) as exc:
            raise UsageError(
                f"{path!r}, which says whose rows are in {part!r}, is damaged, or another version of Pigeonhole wrote "
                f"it ({exc!r}): `classify --fresh` starts over, or choose another place with -o"
            ) from exc
        return journal


class Places(dict[str, Identity]):
    """What lies where the images of rows are: in which folder, and of an image that is a link, which file it leads to.

    In memory they take some 0.3 GB for a million folders and links.
    """

    @classmethod
    def read(cls, part: str) -> "Places":
        """Read what was noted beside a `FILE.part` and is so now.

        What was noted as two different things in one run is left out: nobody knows which of them has the rows.
        """
        noted: dict[str, Identity] = {}
        with suppress(OSError), open(part + PLACES, "rb") as file:
            for line in file:
                with suppress(ValueError, TypeError):  # half a line, of a command that was killed
                    path, *identity = json.loads(line)
                    noted[path] = tuple(identity) if noted.get(path) in (None, tuple(identity)) else ()
        return cls((path, identity) for path, identity in noted.items() if identity and identity == _identity(path))

    def add(self, path: str) -> None:
        """Take what lies there now for what is known of an image."""
        for place in _places(path, os.path.islink(path)):
            self.setdefault(place, _identity(place))

    def have(self, path: str, link: bool) -> bool:
        """Return whether an image is where it was."""
        return all(self.get(place) for place in _places(path, link))

    def write(self, part: str) -> None:
        """Put them in the place of those beside a `FILE.part`; OutputFailed where that can't be done."""
        _write(part + PLACES, (_noted(*item) for item in self.items()))


@contextmanager
def noting(part: str) -> Iterator[Callable[[str, bool], None]]:
    """Give what notes, beside a `FILE.part`, where an image is (and whether it is a link), before it is submitted.

    Raises:
        OutputFailed: nothing can be written there.
    """
    path = part + PLACES
    try:
        file = open(path, "ab", buffering=0)  # noqa: SIM115  # it is closed below
    except OSError as exc:
        raise _unwritable(path, exc) from exc
    with file:

        @lru_cache(_REMEMBERED)
        def once(place: str) -> None:
            with suppress(OSError):  # a full disk is the rows' to tell; what is not noted is classified again
                file.write(_noted(place, _identity(place)).encode())

        last = ""

        def note(path: str, link: bool) -> None:
            nonlocal last
            folder = path.rpartition("/")[0]
            if link or not folder or folder != last:  # of one image after the other in one folder, once
                last = folder
                for place in _places(path, link):
                    once(place)

        yield note


@dataclass(frozen=True)
class Earlier:
    """An earlier run whose rows may be kept.

    Args:
        file: where they are.
        begun: as the journal's; of a finished run, which has none any more, when it ended.
        journal: None of a finished run.
        results: of a finished run whose file is not lines: the rows.
    """

    file: str
    begun: int
    journal: Journal | None = None
    results: Iterable[Row] | None = None

    @property
    def job(self) -> str:
        """The job that may go on; empty where none does."""
        return self.journal.job if self.journal else ""

    def rows(self, format: Format, stop: int | None = None) -> Iterator[tuple[bytes, Row]]:
        """Give the rows, up to a byte, each as it stands in a `FILE.part` and as what it says.

        Raises:
            UsageError: they can't be read, or something there is no row of ours.
        """
        if self.results is None:
            return rows(self.file, format, stop)
        return ((format.lines.encode((row,)), row) for row in self.results)


def earlier(path: str, command: Command, retry_errors: bool) -> Earlier | None:
    """Find what a command can go on with; None where it has to start from nothing.

    Args:
        path: of FILE.
        command: as it is given now.
        retry_errors: a run that has finished will do too.

    Raises:
        UsageError: the rows of another command are there, or what is there can't be understood.
        OutputFailed: another command writes to it now.
    """
    file = target(path)
    part = file + ".part"
    journal = Journal.read(part)
    if journal is not None and journal.command != command:
        _refuse(part, journal, "give --fresh to discard them, or choose another place with -o")
        journal = None
    if journal is not None and os.path.exists(part):
        return Earlier(part, journal.begun, journal)
    if not retry_errors:
        return None
    try:
        found = read_results(file, format=FORMATS[command.format], sources=command.sources)
    except UsageError as exc:
        raise UsageError(
            f"--retry-errors takes the rows of FILE, and {exc}; leave it out to classify everything"
        ) from exc
    return Earlier(file, found.written_ns, results=None if isinstance(found.format, LineFormat) else found)


def of_job(path: str, job: str | None, format: Format, options: RowOptions = DEFAULT) -> Earlier | None:
    """Find what stands before a job's rows in what becomes FILE, where `classify` began it and was interrupted.

    Args:
        path, format: of FILE.
        job: None is none that `classify` began.
        options: as those of the rows that stand there.

    Raises:
        UsageError, OutputFailed: as `earlier`.
    """
    part = target(path) + ".part"
    journal = Journal.read(part)
    if journal is None:
        return None
    if (journal.job, journal.command.format, journal.command.review_below) == (job, format.name, options.review_below):
        return Earlier(part, journal.begun, journal)
    _refuse(part, journal, "or choose another place with -o")
    return None


def rows(path: str, format: Format, stop: int | None = None) -> Iterator[tuple[bytes, Row]]:
    """Read the rows of a file, up to a byte; see `LineFormat.scan`.

    Raises:
        UsageError: it can't be read, or something in it is no row of ours.
    """
    try:
        with open(path, "rb") as file:
            for line, row in format.lines.scan(file):
                if stop is not None and file.tell() > stop:
                    return
                yield line, row
    except OSError as exc:
        raise UsageError(f"{path!r} can't be read: {exc.strerror}; `classify --fresh` starts over") from exc
    except UsageError as exc:
        raise UsageError(f"{path!r} can't be gone on with: {exc}; `classify --fresh` starts over") from exc


def _places(path: str, link: bool) -> tuple[str, ...]:
    folder = os.path.dirname(path) or "."
    return (folder, path) if link else (folder,)


def _identity(path: str) -> Identity:
    try:
        status = os.stat(path)
    except (OSError, ValueError):
        return ()
    return status.st_dev, status.st_ino


def _noted(path: str, identity: Identity) -> str:
    return json.dumps((path, *identity)) + "\n"


def _write(path: str, lines: Iterable[str]) -> None:
    """Write a file whole or not at all; OutputFailed where that can't be done."""
    try:
        with open(path + ".new", "w", encoding="ascii") as file:
            file.writelines(lines)
            file.flush()
            os.fsync(file.fileno())
        os.replace(path + ".new", path)
    except OSError as exc:
        with suppress(OSError):
            os.unlink(path + ".new")
        raise _unwritable(path, exc) from exc


def _unwritable(path: str, exc: OSError) -> OutputFailed:
    return OutputFailed(f"{path!r} can't be written: {exc.strerror}; choose another place with -o")


def _refuse(part: str, journal: Journal, remedy: str) -> None:
    """Raise UsageError if there are rows of another command; OutputFailed while that is running."""
    there = 0
    if os.path.exists(part):
        check_free(part)
        there = sum(1 for _ in rows(part, FORMATS[journal.command.format]))
    if there:
        command = " ".join(
            map(printable, (*journal.command.sources, *RowOptions(journal.command.review_below).words()))
        )
        raise UsageError(
            f"{part!r} holds {counted(there, 'row')} of another command that was interrupted, `classify {command}` in "
            f"{printable(journal.command.folder)!r}: run that again to go on with it, {remedy}"
        )
