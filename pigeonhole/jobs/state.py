"""The resume state of a command: the batches that it submitted, and their answers.

A command that writes FILE stores its state in `.FILE.pigeonhole` beside it. It locks that file before reading it, until
it ends. FILE.part can be computed from the state again. After the command has finished, the state remains: it proves
that FILE belongs to this command, and records the image file of each row.

A command has one run for each job that it submitted: one, unless it was interrupted.
"""

import json
import struct
import time
from array import array
from collections.abc import Iterator, Sequence, Set
from dataclasses import asdict, dataclass
from enum import IntEnum
from typing import Any

from pigeonhole.errors import MessageInvalid, UsageError
from pigeonhole.jobs.record_file import Record, RecordFile
from pigeonhole.ledger.done import DoneBatch
from pigeonhole.ledger.wire.messages import Batch

VERSION = 1
#: The number of the run and of the batch; records of batches also have the digest.
_ANSWERS, _BATCH = struct.Struct("<II"), struct.Struct("<II16s")
#: Seconds between two flushes of answers to the disk.
_SYNC_EVERY = 1.0
#: The shown value of an option that takes no value.
_GIVEN = "given"


class _Kind(IntEnum):
    COMMAND = 1  # JSON: the version, and the `Command`; the first record
    RUN = 2  # JSON: {"run": its number, "job": its id, or ""}
    BATCH = 3  # run, batch, digest, and the batch as it is submitted
    ANSWERS = 4  # run, batch, a line of JSON with [key, length] of each piece, and the answers as stored in the ledger
    DROPPED = 5  # run, batch, and the positions of rows that are not kept
    COMPLETE = 6  # JSON: {"run": its number}: all answers of the run are recorded
    OUTPUT = 7  # JSON: the `Mark` of FILE, null while it is being replaced; and whether the command has finished


@dataclass(frozen=True)
class Command:
    """The identity of a command: the arguments and options that determine the rows in FILE.

    Args:
        name: the command's name: `classify`, `wait`, …
        arguments: its SOURCEs, or its job.
        null_separated: whether entries of lists are separated by NUL bytes.
        folder: the working folder, if the arguments depend on it; else empty.
        image_root: the producer's image root, if the arguments depend on it; else empty.
        options: the options that change rows: `RowOptions.identity`.
    """

    name: str
    arguments: tuple[str, ...]
    null_separated: bool = False
    folder: str = ""
    image_root: str = ""
    options: tuple[str, ...] = ()

    def differences(self, now: "Command") -> list[str]:
        """Return the differences of a later command: each option that differs, with both of its values."""
        if now.name != self.name:
            return [f"the command was {self.name!r} and is now {now.name!r}"]
        first = "SOURCE" if self.name == "classify" else "JOB"
        pairs = {
            first: (" ".join(self.arguments), " ".join(now.arguments)),
            "-0": (_GIVEN * self.null_separated, _GIVEN * now.null_separated),
            "the working folder": (self.folder, now.folder),
            "PIGEONHOLE_IMAGE_ROOT": (self.image_root, now.image_root),
        }
        before, after = (dict(zip(options[::2], options[1::2], strict=True)) for options in (self.options, now.options))
        pairs |= {name: (before.get(name, ""), after.get(name, "")) for name in before | after}
        return [f"{name} was {_value(a)} and is {_value(b)} now" for name, (a, b) in pairs.items() if a != b]


def _value(value: str) -> str:
    """Return the value of an option for a message; a file's digest is shortened."""
    if value in ("", _GIVEN):
        return value or f"not {_GIVEN}"
    return repr(value.partition(":")[2][:12] if value.startswith("sha256:") else value)


@dataclass(frozen=True)
class Mark:
    """The size of FILE in bytes and its modification time in nanoseconds, after a command wrote it."""

    size: int
    mtime_ns: int


class Run:
    """The submission of one job, as recorded in `State`.

    Args:
        records: the file of the state.
        number: the number of the run, from 0.
        job: the job's id; empty: the job is in an embedded Redis, which ends with the command.

    Attributes:
        complete: whether the answers to all batches are recorded.
    """

    def __init__(self, records: RecordFile, number: int, job: str = "") -> None:
        self.number = number
        self.job = job
        self.complete = False
        self._records = records
        self._batches: dict[int, tuple[int, str]] = {}  # number → the record's offset, and the digest
        self._answers: dict[int, int] = {}  # number → the record's offset
        self._dropped: dict[int, set[int]] = {}  # number → positions of rows that are not kept
        self._synced = time.monotonic()

    @property
    def size(self) -> int:
        """The number of batches."""
        return len(self._batches)

    def add(self, batch: Batch) -> int:
        """Record a batch, before it is submitted, and return its number."""
        number = len(self._batches)
        head = _BATCH.pack(self.number, number, bytes.fromhex(batch.digest))
        self._batches[number] = self._records.append(_Kind.BATCH, head + batch.encode()), batch.digest
        return number

    def batches(self) -> Iterator[tuple[int, Batch]]:
        """Yield the batches with their numbers."""
        for number in range(len(self._batches)):
            yield number, Batch.decode(self._references(number))

    def digests(self, stop: int) -> list[str]:
        """Return the digests of the batches below a number; raise ValueError if the record of one is damaged."""
        try:
            return [self._batches[number][1] for number in range(stop)]
        except KeyError as exc:
            raise ValueError(f"run {self.number} lacks batch {exc}") from exc

    def deliver(self, done: DoneBatch) -> None:
        """Record the answers to a batch; they are flushed to the disk about once a second."""
        pieces = json.dumps([[key, len(data)] for key, data in done.answers]).encode() + b"\n"
        head = _ANSWERS.pack(self.number, done.number) + pieces
        body = b"".join((head, *(data for _, data in done.answers)))
        self._take_answers(done.number, self._records.append(_Kind.ANSWERS, body))
        if time.monotonic() - self._synced > _SYNC_EVERY:
            self._records.sync()
            self._synced = time.monotonic()

    @property
    def delivered(self) -> int:
        """The number of first batches, without a gap, whose answers are recorded."""
        return next(number for number in range(len(self._answers) + 1) if number not in self._answers)

    def done(self, stop: int | None = None) -> Iterator[tuple[DoneBatch, Set[int]]]:
        """Yield the answered batches below a number, each with the positions of its rows that are not kept."""
        for number in sorted(self._answers):
            if stop is not None and number >= stop:
                return
            if number in self._batches:  # otherwise its record is damaged, and the images are classified again
                body = self._records.read(self._answers[number]).body
                yield _done(number, self._references(number), body), self._dropped.get(number, frozenset())

    def drop(self, number: int, positions: Sequence[int]) -> None:
        """Record that some rows of a batch are not kept."""
        self._records.append(_Kind.DROPPED, _ANSWERS.pack(self.number, number) + array("I", positions).tobytes())
        self._dropped.setdefault(number, set()).update(positions)

    def finish(self) -> None:
        """Record that all answers of the run are recorded."""
        self._records.append(_Kind.COMPLETE, json.dumps({"run": self.number}).encode())
        self.complete = True

    def take(self, record: Record) -> None:
        """Load a record of this run that was read from the file."""
        if record.kind == _Kind.BATCH:
            _, number, digest = _BATCH.unpack_from(record.body)
            self._batches[number] = record.offset, digest.hex()
            return
        _, number = _ANSWERS.unpack_from(record.body)
        if record.kind == _Kind.ANSWERS:
            self._take_answers(number, record.offset)
        else:
            self._dropped.setdefault(number, set()).update(array("I", record.body[_ANSWERS.size :]))

    def _take_answers(self, number: int, offset: int) -> None:
        self._answers[number] = offset
        self._dropped.pop(number, None)  # these positions belong to earlier answers

    def _references(self, number: int) -> bytes:
        return self._records.read(self._batches[number][0]).body[_BATCH.size :]


class State:
    """The resume state of one command.

    Args:
        records: the file of the state; `close` closes it.

    Attributes:
        command: the command of the state; None: the state is new or temporary.
        runs: the runs in the order of submission.
        output: the `Mark` of FILE after this command wrote it; None: FILE did not exist.
        replacing: whether the command ended while it replaced FILE.
        finished: whether FILE has all rows of the command.

    Raises:
        UsageError: another version wrote it.
    """

    def __init__(self, records: RecordFile) -> None:
        self.command: Command | None = None
        self.runs: list[Run] = []
        self.output: Mark | None = None
        self.replacing = self.finished = False
        self._records = records
        for record in records:
            self._take(record)

    @classmethod
    def temporary(cls) -> "State":
        """Return a state for a command that can't be resumed; raise OutputFailed if the disk has no room for it."""
        return cls(RecordFile.temporary())

    def restart(self, command: Command, output: Mark | None) -> None:
        """Discard all records, and begin the state of a command.

        Args:
            command: the command of the new state.
            output: the `Mark` of FILE, if it belongs to this command.
        """
        self._records.clear()
        self.command, self.output, self.replacing, self.finished = command, output, False, False
        self.runs = []
        self._append(_Kind.COMMAND, {"v": VERSION} | asdict(command))
        if output is not None:
            self._append(_Kind.OUTPUT, {"mark": asdict(output), "finished": False})
        self._records.sync()

    def begin_run(self, job: str) -> Run:
        """Record that a job will be submitted, before it is created."""
        run = self._run(len(self.runs))
        run.job = job
        self._append(_Kind.RUN, {"run": run.number, "job": job})
        return run

    def replace_output(self) -> None:
        """Record that FILE is about to be replaced."""
        self._output({"mark": None, "finished": False})

    def finish(self, output: Mark | None) -> None:
        """Record the `Mark` of FILE, which now has all rows."""
        self._output({"mark": None if output is None else asdict(output), "finished": True})

    def close(self) -> None:
        """Close and unlock the state, so that another command can use FILE; remove the file if it is empty."""
        if self.command is not None and not self.runs and self.output is None and not self.finished:
            self._records.remove()
        self._records.close()

    def _append(self, kind: _Kind, body: dict[str, Any]) -> None:
        self._records.append(kind, json.dumps(body).encode())

    def _run(self, number: int) -> Run:
        """Return a run by its number, even if its own record is damaged."""
        self.runs += [Run(self._records, at) for at in range(len(self.runs), number + 1)]
        return self.runs[number]

    def _take(self, record: Record) -> None:
        """Load one record."""
        kind, body = record.kind, record.body
        if kind in (_Kind.BATCH, _Kind.ANSWERS, _Kind.DROPPED):
            self._run(_ANSWERS.unpack_from(body)[0]).take(record)
            return
        values = json.loads(body)
        if kind == _Kind.COMMAND:
            self.command = self._command(values)
        elif kind == _Kind.RUN:
            self._run(values["run"]).job = values["job"]
        elif kind == _Kind.COMPLETE:
            self._run(values["run"]).complete = True
        elif kind == _Kind.OUTPUT:
            self._take_output(values)

    def _output(self, values: dict[str, Any]) -> None:
        self._append(_Kind.OUTPUT, values)
        self._records.sync()
        self._take_output(values)

    def _take_output(self, values: dict[str, Any]) -> None:
        self.finished = values["finished"]
        self.output = Mark(**values["mark"]) if values["mark"] else None
        self.replacing = self.output is None and not self.finished

    def _command(self, body: dict[str, Any]) -> Command:
        version = body.pop("v")
        if version != VERSION:
            raise UsageError(
                f"{self._records.name!r} has version {version}, and this program reads version {VERSION}: discard it "
                "with --overwrite, or choose another file with -o"
            )
        lists: dict[str, Any] = {name: tuple(body[name]) for name in ("arguments", "options") if name in body}
        return Command(**body | lists)


def _done(number: int, references: bytes, body: bytes) -> DoneBatch:
    end = body.index(b"\n", _ANSWERS.size) + 1
    answers, at = list[tuple[str, bytes]](), end
    for key, length in json.loads(body[_ANSWERS.size : end]):
        answers.append((key, body[at : at + length]))
        at += length
    if at != len(body):
        raise MessageInvalid(f"the answers to batch {number} are damaged")
    return DoneBatch(number, references, tuple(answers))
