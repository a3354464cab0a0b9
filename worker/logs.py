"""How a worker's log lines are written: as text, or (`PIGEONHOLE_LOG_FORMAT`) as one JSON object a line.

A message may name what strangers chose: a path holds any byte but NUL. In both formats it comes out printable, so it
can neither begin a line of its own nor command a terminal. That holds for Celery's own lines too: importing this, as
parent and pool processes do, has them all written so.
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
#: Loggers of Celery's whose lines below WARNING say what ours say: that a worker is ready, and what became of a batch.
_REPEATING = (
    *("celery.worker.worker", "celery.apps.worker", "celery.worker.consumer.connection"),
    *("celery.worker.strategy", "celery.app.trace"),
)
#: What this process has in hand. Not a context variable: the threads that read ahead and renew leases log as well.
_in_hand: dict[str, str] = {}


@contextmanager
def in_hand(job: str, piece: str) -> Iterator[None]:
    """Have what is logged meanwhile, from any thread of this process, name a job and its batch."""
    _in_hand.update(of(job, piece))
    try:
        yield
    finally:
        _in_hand.clear()


def of(job: str, piece: str) -> dict[str, str]:
    """Give the `extra` of a record that is about a job and its batch, where this process has them not in hand."""
    return {"job": job, "batch": piece}


class Text(ColorFormatter):  # type: ignore[misc]  # Celery has no types
    """Celery's lines, coloured on a terminal; a traceback follows indented, so that none of it looks like a record."""

    def formatMessage(self, record: logging.LogRecord) -> str:  # noqa: N802  # logging's name
        """Give the line itself."""
        return printable(super().formatMessage(record))

    def formatException(self, ei: Any) -> str:  # noqa: ANN401, N802
        """Give a traceback."""
        return _indented(super().formatException(ei))

    def formatStack(self, stack_info: str) -> str:  # noqa: N802
        """Give where a line was logged, if it says so."""
        return _indented(stack_info)


class Json(logging.Formatter):
    """One JSON object a line, in ASCII; `job` and `batch` are left out where there are none, as is `traceback`."""

    def format(self, record: logging.LogRecord) -> str:
        """Give the line."""
        named = _in_hand | {name: value for name in ("job", "batch") if (value := getattr(record, name, None))}
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
        # Half of a surrogate pair, as which Python holds a byte that is not UTF-8, is no text for others.
        return json.dumps({name: text.encode("utf-8", "backslashreplace").decode() for name, text in fields.items()})


def _indented(text: str) -> str:
    return "\n".join(f"    {printable(line)}" for line in text.split("\n"))


def _formatter(text: str, colorize: bool) -> logging.Formatter:
    return Json() if Settings.from_environment().log_format == "json" else Text(text, use_color=colorize)


@signals.celeryd_init.connect
def _begin(**_: object) -> None:
    """Write as JSON what is said before Celery sets its log up, too: that one should not be root, for instance."""
    if Settings.from_environment().log_format == "json":
        logging.basicConfig(handlers=[handler := logging.StreamHandler()])  # Celery removes it
        handler.setFormatter(Json())
        logging.captureWarnings(True)
        celery_worker.safe_say = _say  # "Warm shutdown", for one, would be a line of its own making


def _say(message: str, *_: object) -> None:
    """Write what Celery says in a signal handler: past the log, as it does, whose stream may be in use just then."""
    record = logging.LogRecord("celery.apps.worker", logging.INFO, "", 0, "%s", (message,), None)
    with suppress(OSError):  # nobody reads the log any more: the worker stops all the same
        os.write(_STDERR, f"{Json().format(record)}\n".encode())


@signals.after_setup_logger.connect
def _format_lines(logger: logging.Logger, format: str, colorize: bool, **_: object) -> None:
    """Set our format for the root logger's handlers and for billiard's, and silence what our own lines say."""
    for name in _REPEATING:
        logging.getLogger(name).setLevel(logging.WARNING)
    for handler in [*logger.handlers, *get_multiprocessing_logger().handlers]:
        handler.setFormatter(_formatter(format, colorize))


@signals.after_setup_task_logger.connect
def _as_all_others(logger: logging.Logger, **_: object) -> None:
    """Have what tasks log written by the root logger, too."""
    logger.handlers.clear()
    logger.propagate = True


@signals.celeryd_after_setup.connect
def _no_lines_of_another_format(**_: object) -> None:
    """Keep a pool process from a log of its own until it has set up ours: billiard would say that it starts."""
    os.environ["_MP_FORK_LOGLEVEL_"] = ""
