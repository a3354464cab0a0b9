"""What a worker does, counted in Prometheus' format, where `PIGEONHOLE_METRICS_PORT` says; nothing of it without.

A pool process counts into a file (prometheus_client's multiprocess mode), which is named after its place in the pool
and not after its process id: whoever takes the place of a process that died counts on. So no count is lost, and there
are never more files than places. The parent adds them up when it is asked, and asks Redis what all workers share.
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
from pigeonhole.ledger.messages import Answers
from pigeonhole.ledger.redis_client import connect
from pigeonhole.ledger.server import Server
from pigeonhole.ledger.task_queue import Queue
from pigeonhole.ledger.workers import Workers
from pigeonhole.settings import Settings
from pigeonhole.text import printable
from pigeonhole.version import VERSION, install_hint

if TYPE_CHECKING:
    from prometheus_client.core import Metric

    from pigeonhole.models.checkpoint import Checkpoint
    from pigeonhole.models.runtimes.choice import Choice

logger = logging.getLogger(__name__)

#: Seconds within which Redis must answer each question of a scrape; Prometheus waits ten for all.
_ANSWER = 2.0
_FOLDER = "PROMETHEUS_MULTIPROC_DIR"
_PREFIX = "pigeonhole-metrics-"
#: Seconds for which a new folder is left alone: its worker may not have locked it yet.
_NEW = 60.0
_OUTCOMES = ("label", "review", "error")
_NOT_TIMED = nullcontext()


class Counts:
    """What a pool process counts; this one nothing."""

    def stage(self, name: str) -> AbstractContextManager[None]:
        """Give a block whose seconds count for a stage: `read`, `forward` or `commit`."""
        return _NOT_TIMED

    def batch(self, answers: Answers) -> None:
        """Count the rows of a batch that was committed."""


class _Counted(Counts):
    """Counts into this process' file.

    Args:
        model: the name of the checkpoint.
    """

    def __init__(self, model: str) -> None:
        from prometheus_client import Counter as Metric
        from prometheus_client import values

        place = current_process().index
        values.ValueClass = values.MultiProcessValue(lambda: place)
        self._model = model
        self._images = Metric("pigeonhole_images", "Rows committed, by outcome.", ["model", "outcome"], registry=None)
        self._errors = Metric("pigeonhole_errors", "Error rows committed, by kind.", ["model", "kind"], registry=None)
        self._batches = Metric("pigeonhole_batches", "Batches, or parts of one, committed.", ["model"], registry=None)
        self._seconds = Metric(
            "pigeonhole_stage_seconds",
            "Seconds spent reading images and bringing them into form (beside the network), running it, committing.",
            ["model", "stage"],
            registry=None,
        )
        # From zero on, or the first rise would not be seen.
        self._batches.labels(model)
        for outcome in _OUTCOMES:
            self._images.labels(model, outcome)

    @contextmanager
    def stage(self, name: str) -> Iterator[None]:
        """Give a block that is timed."""
        started = time.perf_counter()
        try:
            yield
        finally:
            self._seconds.labels(self._model, name).inc(time.perf_counter() - started)

    def batch(self, answers: Answers) -> None:
        """Count a batch."""
        errors, reviews = len(answers.errors), len(answers.review)
        for outcome, number in zip(_OUTCOMES, (len(answers) - errors - reviews, reviews, errors), strict=True):
            self._images.labels(self._model, outcome).inc(number)
        for kind, number in Counter(kind for kind, _ in answers.errors.values()).items():
            self._errors.labels(self._model, kind).inc(number)
        self._batches.labels(self._model).inc()


def counts(settings: Settings, model: str) -> Counts:
    """Give what a pool process counts with; called once in each."""
    return _Counted(model) if settings.metrics_port else Counts()


def serve(settings: Settings, checkpoint: "Checkpoint", choice: "Choice") -> None:
    """Answer Prometheus from now on, if the settings say where; called in the parent, before there is a pool.

    Raises:
        SettingsError: prometheus_client is not installed, that address can't be had, or no folder for the counts.
    """
    if settings.metrics_address is None:
        return
    if importlib.util.find_spec("prometheus_client") is None:
        raise SettingsError(
            f"PIGEONHOLE_METRICS_PORT is set, and prometheus-client is not installed: {install_hint('metrics')}"
        )
    from prometheus_client import CollectorRegistry, start_http_server
    from prometheus_client.multiprocess import MultiProcessCollector

    try:
        _sweep(Path(tempfile.gettempdir()))
        folder = _folder()
    except OSError as exc:
        raise SettingsError(
            f"the processes' counts can't be put aside: {exc}; set TMPDIR to where there is room"
        ) from exc
    os.environ[_FOLDER] = folder  # pool processes inherit it
    registry = CollectorRegistry()
    MultiProcessCollector(registry, folder)
    registry.register(_Site(settings, checkpoint, choice))
    host, port = settings.metrics_address
    try:
        start_http_server(port, host, registry)
    except OSError as exc:
        raise SettingsError(
            f"PIGEONHOLE_METRICS_PORT is {settings.metrics_port!r}: {exc.strerror or exc}; each worker of a machine "
            "needs a port of its own"
        ) from exc


def _folder() -> str:
    """Make a folder for the counts, which goes with this process; its lock tells others that we live."""
    folder = tempfile.mkdtemp(prefix=_PREFIX)
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    # Held open until the kernel closes it, however this process ends; pool processes don't inherit it.
    fcntl.flock(os.open(os.path.join(folder, "lock"), os.O_RDWR | os.O_CREAT), fcntl.LOCK_EX)
    return folder


def _sweep(temporary: Path) -> None:
    """Remove the folders of workers that were killed: those whose lock nobody holds."""
    for folder in temporary.glob(f"{_PREFIX}*"):
        try:
            if time.time() - folder.stat().st_mtime < _NEW:
                continue
            lock = os.open(folder / "lock", os.O_RDWR | os.O_NOFOLLOW)
        except OSError:  # gone meanwhile, or another user's
            continue
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            shutil.rmtree(folder)
        except OSError as exc:
            logger.debug("left alone: %s: %s", folder, exc)
        finally:
            os.close(lock)


class _Site:
    """What is the same for all processes of this worker, and what Redis knows of all workers; asked at each scrape."""

    def __init__(self, settings: Settings, checkpoint: "Checkpoint", choice: "Choice") -> None:
        self._settings, self._checkpoint, self._choice = settings, checkpoint, choice
        # No retries: Prometheus comes again.
        client = connect(settings.broker_url, retries=0, timeout=_ANSWER)
        self._ledger, self._workers = Ledger(settings, client=client), Workers(settings, client=client)
        self._letters, self._server = DeadLetters(settings, client=client), Server(settings, client=client)
        self._queue = Queue(settings)

    def collect(self) -> "Iterator[Metric]":
        """Give the metrics; without Redis, those that it would be asked for are left out."""
        from prometheus_client.core import GaugeMetricFamily as Gauge

        about = {"model": self._checkpoint.name, "digest": self._checkpoint.digest[:12], "version": VERSION}
        about |= {"runtime": self._choice.kind, "device": ",".join(self._choice.devices)}
        worker = Gauge("pigeonhole_worker_info", "What this worker serves.", labels=list(about))
        worker.add_metric(list(about.values()), 1)
        yield worker
        yield Gauge("pigeonhole_batches_in_flight", "Batches in this worker's hands.", value=len(state.active_requests))
        try:
            shared = [*self._jobs(), *self._memory()]
        except PigeonholeError as exc:
            logger.warning("not asked for metrics: %s", exc)
            shared = []
        yield Gauge("pigeonhole_redis_up", "Whether Redis answers this worker.", value=bool(shared))
        yield from shared

    def _jobs(self) -> "Iterator[Metric]":
        from prometheus_client.core import GaugeMetricFamily as Gauge

        workers, now = Counter(worker.model for worker in self._workers.alive()), self._workers.time()
        jobs = [job for job in self._ledger.statuses(active_only=True) if not job.over]
        gauges = [
            Gauge(f"pigeonhole_{name}", text, labels=["model"])
            for name, text in (
                ("workers", "Workers that announce themselves."),
                ("queue_messages", "Messages that wait in the queue."),
                ("batches_owed", "Batches, or parts of one, that are owed."),
                ("jobs_unfinished", "Jobs that are open, or owe rows."),
                ("oldest_job_seconds", "Age of the oldest unfinished job; 0 where there is none."),
            )
        ]
        for model in sorted({self._checkpoint.name, *workers, *(job.model for job in jobs)}):
            its = [job for job in jobs if job.model == model]
            owed = sum(job.batches_waiting + job.batches_claimed for job in its)
            oldest = max((now - job.created for job in its), default=0.0)
            numbers = (workers[model], self._queue.depth(model), owed, len(its), oldest)
            for gauge, number in zip(gauges, numbers, strict=True):
                gauge.add_metric([printable(model)], number)
        yield from gauges
        letters = len(self._letters.all())
        yield Gauge("pigeonhole_dead_letters", "Messages and batches that no worker could do.", value=letters)

    def _memory(self) -> "Iterator[Metric]":
        from prometheus_client.core import GaugeMetricFamily as Gauge

        try:
            memory = self._server.memory()
        except BrokerRefuses:  # as a user of Redis whose rules are older than this question
            return
        yield Gauge("pigeonhole_redis_memory_bytes", "Memory that Redis uses.", value=memory.used)
        yield Gauge("pigeonhole_redis_memory_max_bytes", "What it may use; 0: no limit.", value=memory.most)
        yield Gauge("pigeonhole_redis_evicts", "1: when full, it deletes what is owed.", value=memory.evicts)
