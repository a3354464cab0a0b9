"""Prometheus metrics of a worker, served at `PIGEONHOLE_METRICS_PORT`; without that setting there are none.

Each pool process counts into a file (prometheus_client's multiprocess mode). The file is named after the process's
place in the pool, not its process id: the replacement of a lost process continues its counts. At each scrape, the
parent adds up the files and asks Redis for the figures that all workers share.
"""

import atexit
import fcntl
import importlib.util
import logging
import os
import shutil
import tempfile
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from pathlib import Path
from typing import TYPE_CHECKING

from billiard import current_process
from celery.worker import state

from pigeonhole.errors import BrokerRefuses, PigeonholeError, SettingsError
from pigeonhole.ledger.dead_letters import DeadLetters
from pigeonhole.ledger.ledger import Ledger
from pigeonhole.ledger.queue.task_queue import Queue
from pigeonhole.ledger.redis.client import connect
from pigeonhole.ledger.redis.server import Server
from pigeonhole.ledger.wire.messages import Answers
from pigeonhole.ledger.workers import Workers
from pigeonhole.settings import Settings
from pigeonhole.text import printable
from pigeonhole.version import VERSION, install_hint
from worker.monitoring.metric_list import METRICS

if TYPE_CHECKING:
    from prometheus_client.core import GaugeMetricFamily, Metric

    from pigeonhole.models.checkpoint import Checkpoint
    from pigeonhole.models.runtimes.choice import Choice

logger = logging.getLogger(__name__)

#: Timeout of each request to Redis, in seconds. Prometheus waits ten seconds for a whole scrape.
_ANSWER = 2.0
_FOLDER = "PROMETHEUS_MULTIPROC_DIR"
_PREFIX = "pigeonhole-metrics-"
#: Seconds for which a new folder is kept: its worker may not have locked it yet.
_NEW = 60.0
_OUTCOMES = ("label", "review", "error")
_NOT_TIMED = nullcontext()


class Counts:
    """Counters of a pool process without metrics: they count nothing."""

    def stage(self, name: str) -> AbstractContextManager[None]:
        """Return a context manager that times a stage: `read`, `forward` or `commit`."""
        return _NOT_TIMED

    def batch(self, answers: Answers) -> None:
        """Count the rows of a batch that was committed."""


class _PrometheusCounts(Counts):
    """Counters in the file of this process.

    Args:
        model: the name of the checkpoint.
    """

    def __init__(self, model: str) -> None:
        from prometheus_client import Counter as Metric
        from prometheus_client import values

        place = current_process().index
        values.ValueClass = values.MultiProcessValue(lambda: place)
        self._model = model

        def counter(name: str) -> Metric:
            spec = METRICS[name]
            return Metric(name, spec.description, spec.labels, registry=None)

        self._images, self._errors = counter("pigeonhole_images"), counter("pigeonhole_errors")
        self._batches, self._seconds = counter("pigeonhole_batches"), counter("pigeonhole_stage_seconds")
        # They start at zero, or `rate` would miss the first increase.
        self._batches.labels(model)
        for outcome in _OUTCOMES:
            self._images.labels(model, outcome)

    @contextmanager
    def stage(self, name: str) -> Iterator[None]:
        """Time a stage."""
        started = time.perf_counter()
        try:
            yield
        finally:
            self._seconds.labels(self._model, name).inc(time.perf_counter() - started)

    def batch(self, answers: Answers) -> None:
        """Count the rows of a batch that was committed."""
        errors, reviews = len(answers.errors), len(answers.review)
        for outcome, number in zip(_OUTCOMES, (len(answers) - errors - reviews, reviews, errors), strict=True):
            self._images.labels(self._model, outcome).inc(number)
        for kind, number in Counter(kind for kind, _ in answers.errors.values()).items():
            self._errors.labels(self._model, kind).inc(number)
        self._batches.labels(self._model).inc()


def counts(settings: Settings, model: str) -> Counts:
    """Return the counters of a pool process; each process calls this once."""
    return _PrometheusCounts(model) if settings.metrics_port else Counts()


def serve(settings: Settings, checkpoint: "Checkpoint", choice: "Choice") -> None:
    """Start the HTTP server for Prometheus if a port is set; the parent calls this before it starts the pool.

    Raises:
        SettingsError: prometheus_client is not installed, the address can't be used, or a folder can't be made.
    """
    if settings.metrics_address is None:
        return
    if importlib.util.find_spec("prometheus_client") is None:
        raise SettingsError(
            f"PIGEONHOLE_METRICS_PORT is set, but prometheus-client is not installed: {install_hint('metrics')}"
        )
    from prometheus_client import CollectorRegistry, start_http_server
    from prometheus_client.multiprocess import MultiProcessCollector

    try:
        _remove_abandoned(Path(tempfile.gettempdir()))
        folder = _folder()
    except OSError as exc:
        raise SettingsError(
            f"cannot make a temporary folder for metrics: {exc}; set TMPDIR to a folder with free space"
        ) from exc
    os.environ[_FOLDER] = folder  # pool processes inherit it
    registry = CollectorRegistry()
    MultiProcessCollector(registry, folder)
    registry.register(_GaugeCollector(settings, checkpoint, choice))
    host, port = settings.metrics_address
    try:
        start_http_server(port, host, registry)
    except OSError as exc:
        raise SettingsError(
            f"PIGEONHOLE_METRICS_PORT is {settings.metrics_port!r}: {exc.strerror or exc}; give each worker of a "
            "machine its own port"
        ) from exc


def _folder() -> str:
    """Create a locked folder for the counts, which is removed at exit; the lock shows that its owner runs."""
    folder = tempfile.mkdtemp(prefix=_PREFIX)
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    # The kernel releases the lock however this process ends; pool processes don't inherit it.
    fcntl.flock(os.open(os.path.join(folder, "lock"), os.O_RDWR | os.O_CREAT), fcntl.LOCK_EX)
    return folder


def _remove_abandoned(temporary: Path) -> None:
    """Remove the folders of workers that were killed: those that no process has locked."""
    for folder in temporary.glob(f"{_PREFIX}*"):
        try:
            if time.time() - folder.stat().st_mtime < _NEW:
                continue
            lock = os.open(folder / "lock", os.O_RDWR | os.O_NOFOLLOW)
        except OSError:  # it was removed meanwhile, or belongs to another user
            continue
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            shutil.rmtree(folder)
        except OSError as exc:
            logger.debug("kept %s: %s", folder, exc)
        finally:
            os.close(lock)


class _GaugeCollector:
    """Collects the gauges of this worker and those of its Redis at each scrape."""

    def __init__(self, settings: Settings, checkpoint: "Checkpoint", choice: "Choice") -> None:
        self._settings, self._checkpoint, self._choice = settings, checkpoint, choice
        # No retries: Prometheus asks again.
        client = connect(settings.broker_url, retries=0, timeout=_ANSWER)
        self._ledger, self._workers = Ledger(settings, client=client), Workers(settings, client=client)
        self._letters, self._server = DeadLetters(settings, client=client), Server(settings, client=client)
        self._queue = Queue(settings)

    def collect(self) -> "Iterator[Metric]":
        """Yield the gauges; those from Redis only if it answers."""
        about = {"model": self._checkpoint.name, "digest": self._checkpoint.digest[:12], "version": VERSION}
        about |= {"runtime": self._choice.kind, "device": ",".join(self._choice.devices)}
        worker = _gauge("pigeonhole_worker_info")
        worker.add_metric([about[label] for label in METRICS["pigeonhole_worker_info"].labels], 1)
        yield worker
        yield _gauge("pigeonhole_batches_in_flight", len(state.active_requests))
        try:
            shared = [*self._jobs(), *self._memory()]
        except PigeonholeError as exc:
            logger.warning("no metrics from Redis: %s", exc)
            shared = []
        yield _gauge("pigeonhole_redis_up", bool(shared))
        yield from shared

    def _jobs(self) -> "Iterator[Metric]":
        workers, now = Counter(worker.model for worker in self._workers.alive()), self._workers.time()
        jobs = [job for job in self._ledger.statuses(active_only=True) if not job.over]
        names = ("workers", "queue_messages", "batches_pending", "jobs_unfinished", "oldest_job_seconds")
        gauges = [_gauge(f"pigeonhole_{name}") for name in names]
        for model in sorted({self._checkpoint.name, *workers, *(job.model for job in jobs)}):
            its = [job for job in jobs if job.model == model]
            pending = sum(job.batches_waiting + job.batches_claimed for job in its)
            oldest = max((now - job.created for job in its), default=0.0)
            numbers = (workers[model], self._queue.depth(model), pending, len(its), oldest)
            for gauge, number in zip(gauges, numbers, strict=True):
                gauge.add_metric([printable(model)], number)
        yield from gauges
        letters = len(self._letters.all())
        yield _gauge("pigeonhole_dead_letters", letters)

    def _memory(self) -> "Iterator[Metric]":
        try:
            memory = self._server.memory()
        except BrokerRefuses:  # older access rules do not allow this command
            return
        yield _gauge("pigeonhole_redis_memory_bytes", memory.used)
        yield _gauge("pigeonhole_redis_memory_max_bytes", memory.most)
        yield _gauge("pigeonhole_redis_evicts", memory.evicts)


def _gauge(name: str, value: float | None = None) -> "GaugeMetricFamily":
    """Return a gauge of `METRICS`; without a value, one whose labelled values are added later."""
    from prometheus_client.core import GaugeMetricFamily

    spec = METRICS[name]
    return GaugeMetricFamily(name, spec.description, value=value, labels=spec.labels or None)
