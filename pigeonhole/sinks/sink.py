"""The interface of sinks, which take the rows of a job, and the sink for open streams."""

from collections.abc import Sequence
from typing import BinaryIO, Protocol

from pigeonhole.errors import OutputFailed
from pigeonhole.ledger.status import JobStatus
from pigeonhole.ledger.wire.messages import Row
from pigeonhole.sinks.format import LineFormat


class Sink(Protocol):
    """Takes the rows of a job in order, some at a time."""

    def write(self, rows: Sequence[Row]) -> None:
        """Take the next rows; raise OutputFailed if they can't be written."""

    def finish(self, job: JobStatus | None = None) -> None:
        """Complete the output; there are no more rows.

        Args:
            job: the status of the job at its end; None: it is not known.
        """


class Stream:
    """Writes rows to an open binary stream, such as standard output.

    Args:
        stream: the stream, which is not closed.
        format: the format of the rows.
    """

    def __init__(self, stream: BinaryIO, format: LineFormat) -> None:
        self._stream = stream
        self._encode = format.encode
        self._header = format.header

    def write(self, rows: Sequence[Row]) -> None:
        """Write rows, with the header before the first."""
        self.copy(self._encode(rows))

    def copy(self, rows: bytes) -> None:
        """Write encoded rows, with the header before the first."""
        data, self._header = self._header + rows, b""
        try:
            rest = memoryview(data)
            while rest:  # a write to an unbuffered file may be partial
                rest = rest[self._stream.write(rest) :]
            self._stream.flush()
        except BrokenPipeError:
            raise  # the reader closed the pipe: the program ends quietly
        except OSError as exc:
            raise OutputFailed(f"the rows can't be written: {exc.strerror}") from exc

    def finish(self, job: JobStatus | None = None) -> None:
        """Write the header if there was no row."""
        if self._header:
            self.write([])
