"""Batch image classification over a message queue.

from pigeonhole import Client

with Client() as client:
    for row in client.classify("photos/"):
        print(row.path, row.label, row.confidence)

The names here are the whole public interface. All but the errors are loaded when they are first used: importing this
package loads no torch, Celery, numpy or Pillow.
"""

import importlib
import sys
from typing import TYPE_CHECKING

from pigeonhole.errors import (
    BrokerRefuses,
    BrokerUnreachable,
    CheckpointError,
    DatasetError,
    EmbeddedFailed,
    ErrorKind,
    ImageError,
    JobCancelled,
    JobDamaged,
    MessageInvalid,
    NoSubmitter,
    NoWorker,
    OutputFailed,
    PigeonholeError,
    SettingsError,
    SourceError,
    TrainingError,
    UnknownJob,
    UsageError,
)

if TYPE_CHECKING:
    from pigeonhole.client import Client
    from pigeonhole.jobs.rows import Rows
    from pigeonhole.jobs.summary import Summary
    from pigeonhole.ledger.status import JobState, JobStatus
    from pigeonhole.ledger.wire.messages import Row
    from pigeonhole.version import VERSION as __version__  # noqa: N811  # the name that Python uses

#: Name → the module that it is loaded from, and its name there.
_LAZY = {
    "Client": ("pigeonhole.client", "Client"),
    "JobState": ("pigeonhole.ledger.status", "JobState"),
    "JobStatus": ("pigeonhole.ledger.status", "JobStatus"),
    "Row": ("pigeonhole.ledger.wire.messages", "Row"),
    "Rows": ("pigeonhole.jobs.rows", "Rows"),
    "Summary": ("pigeonhole.jobs.summary", "Summary"),
    "__version__": ("pigeonhole.version", "VERSION"),
}
__all__ = [
    "BrokerRefuses",
    "BrokerUnreachable",
    "CheckpointError",
    "Client",
    "DatasetError",
    "EmbeddedFailed",
    "ErrorKind",
    "ImageError",
    "JobCancelled",
    "JobDamaged",
    "JobState",
    "JobStatus",
    "MessageInvalid",
    "NoSubmitter",
    "NoWorker",
    "OutputFailed",
    "PigeonholeError",
    "Row",
    "Rows",
    "SettingsError",
    "SourceError",
    "Summary",
    "TrainingError",
    "UnknownJob",
    "UsageError",
    "__version__",
]


def __getattr__(name: str) -> object:
    if name not in _LAZY:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    if sys.platform == "win32":  # Windows has no fcntl
        raise ImportError("Windows is not supported; run it in WSL or in Docker (docs/guide/compose.md)")
    module, attribute = _LAZY[name]
    return getattr(importlib.import_module(module), attribute)


def __dir__() -> list[str]:
    return __all__
