"""Ownership of FILE: a command replaces only its own FILE, and no two commands write it at the same time.

The resume state is locked before anything is read. FILE belongs to a command if its state says so and FILE has not
changed since. A database, which holds many jobs, may belong to anyone, since jobs are added to it.
"""

import os
from collections.abc import Callable, Sequence

from pigeonhole.errors import UsageError
from pigeonhole.filesystem.output_files import PART, remove, target
from pigeonhole.filesystem.replacing import not_own, remedy
from pigeonhole.jobs.record_file import RecordFile
from pigeonhole.jobs.state import Command, Mark, State
from pigeonhole.ledger.status import JobStatus
from pigeonhole.ledger.wire.messages import Row
from pigeonhole.sinks.file import File, cannot_write
from pigeonhole.sinks.format import Format
from pigeonhole.text import counted, printable


def state_path(file: str) -> str:
    """Return the path of FILE's resume state."""
    folder, name = os.path.split(file)
    return os.path.join(folder, f".{name}.pigeonhole")


def open_state(
    path: str,
    command: Command,
    format: Format,
    overwrite: bool = False,
    retry_errors: bool = False,
    warn: Callable[[str], None] = lambda message: None,
) -> State:
    """Lock and open FILE's resume state for a command.

    Args:
        path: the path of FILE.
        command: the command that will write FILE.
        format: the format of FILE.
        overwrite: discard an existing FILE and its state.
        retry_errors: keep the state of a run that has finished.
        warn: called with a message if the file system has no locks.

    Returns:
        A new state, or that of the same command, whose rows may be kept.

    Raises:
        OutputFailed: another command is writing FILE, or the state can't be written.
        UsageError: an existing FILE or state would be lost and is not this command's, or there are no labels to keep
            for `retry_errors`.
    """
    file = target(path)
    try:
        records = RecordFile.locked(state_path(file), warn)
    except OSError as exc:
        raise cannot_write(state_path(file), exc) from exc
    try:
        if overwrite:
            records.clear()
        state = State(records)
        if not overwrite:
            _check(state, command, file, format)
        if not _continues(state, command, file, retry_errors):
            if retry_errors:
                raise UsageError(
                    f"--retry-errors needs the rows of this command in {path!r}, and there are none: run it without "
                    "--retry-errors"
                )
            state.restart(command, mark_of(file))
    except BaseException:
        if not any(records):
            records.remove()
        records.close()
        raise
    return state


def mark_of(file: str) -> Mark | None:
    """Return the current size and time of a file; None if it does not exist or is empty."""
    try:
        status = os.stat(file)
    except OSError:
        return None
    return Mark(status.st_size, status.st_mtime_ns) if status.st_size else None


def _continues(state: State, command: Command, file: str, retry_errors: bool) -> bool:
    """Return whether the rows in a state may be kept: the same command was interrupted, or its errors are retried."""
    if state.command != command or not state.runs:
        return False
    return not state.finished or (retry_errors and mark_of(file) == state.output)


def _check(state: State, command: Command, file: str, format: Format) -> None:
    """Raise UsageError if the command would delete rows or a file of another command."""
    if state.command is None and state.runs:
        raise UsageError(f"the resume state of {file!r}, {state_path(file)!r}, is damaged: {remedy()}")
    same = state.command == command
    differences = f" ({_differences(state.command, command)})" if state.command and not same else ""
    if not same and state.command is not None and not state.finished:
        kept = sum(len(done.batch) - len(dropped) for run in state.runs for done, dropped in run.done())
        if kept:
            raise UsageError(
                f"{file!r} is being written by another command that was interrupted with {counted(kept, 'row')}, "
                f"{_command_line(state.command)}{differences}: run that command again to resume it, {remedy()}"
            )
    own = same and (state.replacing or mark_of(file) == state.output)
    if mark_of(file) is not None and not own and not format.many_jobs:
        changed = same and state.output is not None
        why = "it was changed since this command wrote it" if changed else f"it is not this command's{differences}"
        raise not_own(file, why)
    if state.command is None and mark_of(file + PART) is not None:
        raise not_own(file + PART)


def _differences(before: Command, now: Command) -> str:
    return printable(", ".join(before.differences(now)))


def _command_line(command: Command) -> str:
    where = f" in {printable(command.folder)!r}" if command.folder else ""
    words = (command.name, *command.arguments, *command.options)
    return f"`{' '.join(map(printable, words))}`{where}"


class OwnFile:
    """A sink that writes FILE and records in the resume state that it belongs to the command; see `File`.

    Args:
        path: the path of FILE.
        format: the format of FILE.
        state: the resume state of the command.
    """

    def __init__(self, path: str, format: Format, state: State) -> None:
        self.state = state
        self._path = target(path)
        self._file = File(path, format)
        self._rows = 0

    def write(self, rows: Sequence[Row]) -> None:
        """Append the rows."""
        self._rows += len(rows)
        self._file.write(rows)

    def finish(self, job: JobStatus | None = None) -> None:
        """Replace FILE."""
        self.state.replace_output()
        self._file.finish(job)
        self.state.finish(mark_of(self._path))

    def close(self) -> None:
        """Close FILE.part; remove it if it has no rows."""
        self._file.close()
        if not self._rows and not self.state.finished:
            remove(self._file.part)
