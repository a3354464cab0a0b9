"""Private parts of Celery, kombu and billiard that we use have not changed.

Each use has a line here. A new minor release may change them, therefore pyproject.toml has upper bounds.
"""

import inspect
import re
import tomllib
from importlib.metadata import version
from typing import Any

import pytest
from billiard import pool, spawn
from celery.apps import worker as celery_worker
from celery.concurrency.asynpool import AsynPool
from celery.concurrency.prefork import TaskPool, process_initializer
from celery.worker import state
from celery.worker.consumer import Consumer
from celery.worker.request import Request
from celery.worker.worker import WorkController
from kombu.transport import redis, virtual

from tests.conftest import ROOT

#: A private method that we override or call → its signature.
SIGNATURES: dict[tuple[Any, str], str] = {
    # worker.transport checks each message before Celery reads it.
    (redis.Channel, "_brpop_read"): "(self, **options)",
    (redis.Channel, "_queue_bind"): "(self, exchange, routing_key, pattern, queue)",
    (redis.Channel, "_size"): "(self, queue)",
    (redis.Transport, "_deliver"): "(self, message, queue)",
    # worker.consumer connects and logs errors.
    (Consumer, "ensure_connected"): "(self, conn)",
    (Consumer, "on_connection_error_before_connected"): "(self, exc)",
    (Consumer, "on_connection_error_after_connected"): "(self, exc)",
    # worker.losses handles the end of a process.
    (Request, "on_failure"): "(self, exc_info, send_failed_event=True, return_ok=False)",
    # worker.app replaces ended processes.
    (pool.Pool, "maintain_pool"): "(self)",
}
#: A private name that we set or read → the module or class that uses it.
USED: dict[str, Any] = {
    "restart_count": Consumer,
    "first_connection_attempt": Consumer,
    "connection_errors": Consumer,
    "_fileno_to_inq": AsynPool,
    "num_processes": TaskPool,
    "maintain_pool": TaskPool,
    "should_stop": state,
    "w.index": pool.Pool,  # the number of a process in the pool; worker.monitoring.metrics names a file after it
    "do_restore": virtual.Channel,
    "_MP_FORK_LOGLEVEL_": spawn,
    "_args_from_interpreter_flags": spawn,  # pool processes with PYTHONSAFEPATH do not import from the working folder
    "safe_say": celery_worker,
    "optimization": WorkController,
    "worker_process_init": process_initializer,
}


@pytest.mark.parametrize(("owner", "name"), SIGNATURES, ids=lambda part: getattr(part, "__name__", part))
def test_a_private_method_that_we_use_has_the_same_signature(owner: Any, name: str) -> None:
    assert str(inspect.signature(getattr(owner, name))) == SIGNATURES[owner, name]


@pytest.mark.parametrize("name", USED)
def test_a_private_name_that_we_use_still_exists(name: str) -> None:
    assert re.search(rf"\b{name}\b", inspect.getsource(USED[name]))


@pytest.mark.parametrize("name", ["celery", "kombu", "billiard"])
def test_only_the_reviewed_minor_version_is_installed(name: str) -> None:
    wanted = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["dependencies"]
    [bounds] = [line for line in wanted if re.match(rf"{name}\b", line)]
    lowest, highest = re.findall(r"\d+\.\d+", bounds)
    major, minor = map(int, lowest.split("."))
    assert highest == f"{major}.{minor + 1}"
    assert version(name).startswith(f"{lowest}.")
