"""The configured Celery app; `celery -A worker.app worker` starts a worker.

Importing this loads no checkpoint, numpy, Pillow or runtime: the parent process reads only the checkpoint's header, and
each pool process loads the checkpoint when it starts.
"""

import logging
import os
import secrets
import signal
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

import redis
from celery import Celery, bootsteps, signals
from celery.worker import state
from celery.worker.consumer.tasks import Tasks
from kombu.entity import Queue as KombuQueue

import worker.monitoring.logs  # noqa: F401  # Celery asks it how log lines are written
from pigeonhole.errors import ExitCode, PigeonholeError, SettingsError
from pigeonhole.ledger.ledger import Ledger
from pigeonhole.ledger.queue import task_queue
from pigeonhole.ledger.queue.celery_app import configure
from pigeonhole.ledger.redis.client import connect
from pigeonhole.ledger.sweep import SWEEP_EVERY, sweep
from pigeonhole.ledger.workers import ANNOUNCE_EVERY, Announcement, Workers
from pigeonhole.models import checkpoint as checkpoints
from pigeonhole.models.runtimes.choice import choose
from pigeonhole.settings import Settings
from pigeonhole.version import VERSION
from worker import losses
from worker.devices.start import DeviceProcesses
from worker.monitoring import metrics
from worker.parent import register
from worker.processing.folders import remember_mounts
from worker.refusal import refuse

logger = logging.getLogger(__name__)


def _settings() -> Settings:
    settings = Settings.from_environment()
    if not settings.broker_url:
        raise SettingsError(
            "a worker needs a broker: give --broker URL or set PIGEONHOLE_BROKER_URL, such as redis://localhost:6379/0"
        )
    if not os.path.isdir(settings.image_root):
        # Without its image root, the worker would return an error row for every image.
        raise SettingsError(f"PIGEONHOLE_IMAGE_ROOT is {settings.image_root!r}, but there is no such folder: mount it")
    return settings


try:
    settings = _settings()
except SettingsError as error:
    raise refuse(error) from None

remember_mounts()
app: Celery = configure(settings)
app.conf.update(
    include=("worker.tasks",),
    # Fork is unsafe once a runtime has run threads or touched CUDA; a spawned process starts clean.
    worker_pool="prefork",
    worker_pool_start_method="spawn",
    # A process loads the runtime and the checkpoint before it reports that it is up; the default would kill it at 4 s.
    worker_proc_alive_timeout=120.0,
    # A process that takes longer for a batch is ended, and the batch is split (`worker.losses`).
    task_time_limit=settings.batch_seconds,
    # Our consumer reconnects within seconds and accepts only our own messages.
    worker_consumer="worker.consumer:Consumer",
    # `auto` is the number of processors that the container's cgroup allows, not that of the host.
    worker_concurrency=settings.processes or "auto",
    # A batch takes about a second: each process holds one, and the others stay in the queue for other workers.
    worker_prefetch_multiplier=1,
    # Retry for ever: a worker that gave up would have to be started by hand.
    broker_connection_max_retries=None,
    broker_connection_retry_on_startup=True,
    # Batches in work when the connection is lost are finished, and committed when Redis is back.
    worker_cancel_long_running_tasks_on_connection_loss=False,
    # By default, a worker takes fewer tasks for a while after a lost connection.
    worker_enable_prefetch_count_reduction=False,
    # Neither events nor remote commands: the ledger knows all workers and batches.
    worker_send_task_events=False,
    worker_enable_remote_control=False,
    worker_hijack_root_logger=True,
)


@signals.celeryd_init.connect
def _consume_own_queue(instance: Any, conf: Any, **_: object) -> None:  # noqa: ANN401  # Celery has no types
    """Read the checkpoint's header, choose runtime and device, and set the queue, which is named after the model."""
    # Or the processes that this one starts would import modules from the working folder.
    os.environ["PYTHONSAFEPATH"] = "1"
    register()
    try:
        model = checkpoints.find(settings.model)
        instance.pigeonhole_checkpoint = about = checkpoints.describe(model)
        instance.pigeonhole_choice = choice = choose(about, settings)
        os.environ.update(choice.environment)
        instance.pigeonhole_devices = DeviceProcesses(choice, model.resolve())
        losses.watch(settings, about.name, about.identity(choice.precision))
        metrics.serve(settings, about, choice)
    except PigeonholeError as exc:
        raise refuse(exc) from None
    conf.task_queues = [KombuQueue(task_queue.queue_name(about.name))]
    # A process that can't load its checkpoint sends SIGUSR2; otherwise Celery would restart it for ever.
    signal.signal(signal.SIGUSR2, lambda *_: setattr(state, "should_stop", int(ExitCode.USAGE)))


#: Seconds between two checks for ended processes.
_CHECK_EVERY = 0.5
#: Timeout of an announcement, in seconds.
_ANSWER = 4.0


class Presence(bootsteps.StartStopStep):  # type: ignore[misc]  # Celery has no types
    """Announces the worker while it takes messages, and sweeps lost batches.

    It runs in the loop that takes messages: if that loop hangs or waits for a connection, the announcements stop, and
    others see it. If a connection stalls without closing, an announcement times out, and the worker connects again.
    """

    requires = (Tasks,)

    def __init__(self, parent: Any, **kwargs: object) -> None:  # noqa: ANN401
        super().__init__(parent, **kwargs)
        self._timers: list[Any] = []
        about, self._choice = parent.controller.pigeonhole_checkpoint, parent.controller.pigeonhole_choice
        self._devices = parent.controller.pigeonhole_devices
        self._announcement = Announcement(
            name=parent.hostname,
            instance=secrets.token_hex(4),  # not the process id, which is 1 in every container
            model=about.name,
            digest=about.digest,
            version=VERSION,
            runtime=self._choice.kind,
            host=socket.gethostname(),
        )
        # No retries and a short timeout, so as not to block the loop that takes messages.
        client = connect(settings.broker_url, retries=0, timeout=_ANSWER)
        self._workers = Workers(settings, client=client)
        self._ledger = Ledger(settings, client=client)
        self._queue = task_queue.Queue(settings, app)
        self._logged_ready = False

    def start(self, parent: Any) -> None:  # noqa: ANN401
        """Announce the worker, and start the timers for announcements, sweeps and checks."""
        self._pool = parent.pool
        self._announce(busy=True)
        self._timers = [
            parent.timer.call_repeatedly(ANNOUNCE_EVERY, self._announce),
            parent.timer.call_repeatedly(SWEEP_EVERY, self._sweep),
            parent.timer.call_repeatedly(_CHECK_EVERY, self._check_processes),
        ]

    def stop(self, parent: Any) -> None:  # noqa: ANN401
        """Stop the timers."""
        for timer in self._timers:
            timer.cancel()
        self._timers = []

    def shutdown(self, parent: Any) -> None:  # noqa: ANN401
        """Withdraw the announcement."""
        try:
            self._workers.leave(self._announcement.id)
        except PigeonholeError as exc:
            logger.info("cannot withdraw the announcement: %s", exc)  # it expires

    def _check_processes(self) -> None:
        """Replace processes that have ended, and log once that all have loaded the model."""
        # A process's pipe may close before the process can be waited for; Celery would then find its end up to 5 s
        # later.
        self._pool.maintain_pool()
        for ended in self._devices.ended:
            logger.critical("%s: this worker ends; other workers will do its pending batches", ended)
            state.should_stop = int(ExitCode.FAILED)
        if not self._logged_ready and _ready_processes(self._pool) >= self._pool.num_processes:
            self._announce()  # now, because `pigeonhole doctor` reports a worker without ready processes
            self._logged_ready = True
            about, devices = self._announcement, ", ".join(self._choice.devices)
            what = "ready: model %s, digest %s, device %s (%s), %d processes"
            logger.info(what, about.model, about.digest[:12], devices, about.runtime, self._pool.num_processes)

    def _announce(self, busy: bool = False) -> None:
        with _reconnecting("cannot announce this worker"):
            worker = replace(self._announcement, processes=_ready_processes(self._pool))
            self._workers.announce(worker, busy or bool(state.reserved_requests))

    def _sweep(self) -> None:
        with _reconnecting("cannot sweep"):
            if self._workers.may_sweep():
                published = sweep(self._ledger, self._queue)
                if published:
                    logger.warning("published %d lost or overdue batches again", published)


@contextmanager
def _reconnecting(failed: str) -> Iterator[None]:
    """Log errors; if Redis does not answer, raise an error that makes Celery's loop connect again."""
    try:
        yield
    except PigeonholeError as exc:
        logger.warning("%s: %s", failed, exc)
        if isinstance(exc.__cause__, (redis.ConnectionError, redis.TimeoutError)):
            raise exc.__cause__ from exc


def _ready_processes(pool: Any) -> int:  # noqa: ANN401
    """Return the number of pool processes that have loaded the model."""
    # Private: Celery's public lists also count processes that are still loading.
    return len(pool._pool._fileno_to_inq)


app.steps["consumer"].add(Presence)
