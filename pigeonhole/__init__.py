"""Pigeonhole from Python: `from pigeonhole import Client`. What is named here is loaded when it is first used."""

import importlib
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pigeonhole.client import Client as Client
    from pigeonhole.errors import PigeonholeError as PigeonholeError
    from pigeonhole.jobs.follow import Rows as Rows
    from pigeonhole.ledger.messages import Prediction as Prediction
    from pigeonhole.ledger.status import JobStatus as JobStatus

_HOMES = {
    "Client": "pigeonhole.client",
    "JobStatus": "pigeonhole.ledger.status",
    "PigeonholeError": "pigeonhole.errors",
    "Prediction": "pigeonhole.ledger.messages",
    "Rows": "pigeonhole.jobs.follow",
}
__all__ = ["Client", "JobStatus", "PigeonholeError", "Prediction", "Rows"]


def __getattr__(name: str) -> object:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(_HOMES[name]), name)


def __dir__() -> list[str]:
    return sorted([*globals(), *_HOMES])
