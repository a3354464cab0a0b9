"""Formats a worker's log lines: as text or, with `PIGEONHOLE_LOG_FORMAT=json`, as one JSON object a line.

A message may contain untrusted text: a path may have any byte but NUL. Both formats escape it, so that it can neither
start a line of its own nor control a terminal. Importing this module formats Celery's own lines in the same way.
"""

import json
import logging
import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from datetime import UTC, datetime
from typing import Any

from celery import signals
from celery.apps import worker as celery_worker
from celery.utils.log import ColorFormatter, get_multiprocessing_logger

from pigeonhole.settings import Settings
from pigeonhole.text import printable

_STDERR = 2
#: Celery's loggers whose lines below WARNING repeat ours, such as those about a ready worker or a finished batch.
_REPEATING = (
    *("celery.worker.worker", "celery.apps.worker", "celery.worker.consumer.connection"),
    *("celery.worker.strategy", "celery.app.trace"),
)
#: The current batch of this process. Not a context variable: the threads that read ahead and renew leases log too.
_current_batch: dict[str, str] = {}


@contextmanager
def batch_context(job: str, piece: str) -> Iterator[None]:
    """Add a job and its batch to all records of this process, from any thread, for the length of a block."""
    _current_batch.update(extra_for(job, piece))
    try:
        yield
    finally:
        _current_batch.clear()


def extra_for(job: str, piece: str) -> dict[str, str]:
    """Return the `extra` of one record about a batch of another process."""
    return {"job": job, "batch": piece}


class TextLines(ColorFormatter):  # type: ignore[misc]  # Celery has no types
    """Formats lines as Celery does, coloured on a terminal; a traceback is indented, so it can't look like a record."""

    def formatMessage(self, record: logging.LogRecord) -> str:  # noqa: N802  # logging's name
        """Return the line, escaped."""
        return printable(super().formatMessage(record))

    def formatException(self, ei: Any) -> str:  # noqa: ANN401, N802
        """Return a traceback, indented and escaped."""
        return _indented(super().formatException(ei))

    def formatStack(self, stack_info: str) -> str:  # noqa: N802
        """Return a stack, indented and escaped."""
        return _indented(stack_info)


class JsonLines(logging.Formatter):
    """Formats a record as one line of JSON, in ASCII; `job`, `batch` and `traceback` are left out if there are none."""

    def format(self, record: logging.LogRecord) -> str:
        """Return the line."""
        named = _current_batch | {name: value for name in ("job", "batch") if (value := getattr(record, name, None))}
        fields = {
            "time": datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds"),
            "level": record.levelname,
            "logger": record.name,
            "message": record.getMessage(),
            **named,
            "process": record.processName or "",
            "pid": str(record.process),
        }
        if record.exc_info:
            fields["traceback"] = self.formatException(record.exc_info)
        # A lone surrogate, which stands for a byte that is not UTF-8, is not valid text for other programs.
        return json.dumps({name: text.encode("utf-8", "backslashreplace").decode() for name, text in fields.items()})


def _indented(text: str) -> str:
    return "\n".join(f"    {printable(line)}" for line in text.split("\n"))


def _formatter(text: str, colorize: bool) -> logging.Formatter:
    return JsonLines() if Settings.from_environment().log_format == "json" else TextLines(text, use_color=colorize)


@signals.celeryd_init.connect
def _begin(**_: object) -> None:
    """Format records as JSON before Celery sets up its log, such as its warning about running as root."""
    if Settings.from_environment().log_format == "json":
        logging.basicConfig(handlers=[handler := logging.StreamHandler()])  # Celery removes it
        handler.setFormatter(JsonLines())
        logging.captureWarnings(True)
        celery_worker.safe_say = _write_from_signal_handler  # "Warm shutdown" would not be JSON


def _write_from_signal_handler(message: str, *_: object) -> None:
    """Write a message of a signal handler straight to standard error, because the log's stream may be in use."""
    record = logging.LogRecord("celery.apps.worker", logging.INFO, "", 0, "%s", (message,), None)
    with suppress(OSError):  # the worker must stop even if the log can't be written
        os.write(_STDERR, f"{JsonLines().format(record)}\n".encode())


@signals.after_setup_logger.connect
def _format_lines(logger: logging.Logger, format: str, colorize: bool, **_: object) -> None:
    """Set our formatter for the handlers of the root logger and of billiard, and silence lines that repeat ours."""
    for name in _REPEATING:
        logging.getLogger(name).setLevel(logging.WARNING)
    for handler in [*logger.handlers, *get_multiprocessing_logger().handlers]:
        handler.setFormatter(_formatter(format, colorize))


@signals.after_setup_task_logger.connect
def _use_root_logger(logger: logging.Logger, **_: object) -> None:
    """Pass the records of tasks to the root logger."""
    logger.handlers.clear()
    logger.propagate = True


@signals.celeryd_after_setup.connect
def _silence_billiard(**_: object) -> None:
    """Stop billiard from logging in its own format when a pool process starts."""
    os.environ["_MP_FORK_LOGLEVEL_"] = ""
