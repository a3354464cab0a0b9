"""Pigeonhole from Python: `from producer import Client`. What is named here is loaded when it is first used."""

import importlib
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from producer.client import Client as Client
    from producer.follow import Rows as Rows
    from worker.contract.errors import PigeonholeError as PigeonholeError
    from worker.contract.jobs import JobStatus as JobStatus
    from worker.contract.messages import Prediction as Prediction

_HOMES = {
    "Client": "producer.client",
    "JobStatus": "worker.contract.jobs",
    "PigeonholeError": "worker.contract.errors",
    "Prediction": "worker.contract.messages",
    "Rows": "producer.follow",
}
__all__ = ["Client", "JobStatus", "PigeonholeError", "Prediction", "Rows"]


def __getattr__(name: str) -> object:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(_HOMES[name]), name)


def __dir__() -> list[str]:
    return sorted([*globals(), *_HOMES])
