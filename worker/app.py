"""The Celery app: `celery -A worker.app worker` starts a worker with everything set that matters.

Importing this loads no checkpoint, nor numpy, Pillow or a runtime: the parent process reads only the checkpoint's
header, and each pool process loads it when it starts.
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

import worker.logs  # noqa: F401  # Celery asks it how log lines are written
from pigeonhole.errors import ExitCode, PigeonholeError, SettingsError
from pigeonhole.ledger import task_queue
from pigeonhole.ledger.celery_app import configure
from pigeonhole.ledger.ledger import Ledger
from pigeonhole.ledger.redis_client import connect
from pigeonhole.ledger.sweep import SWEEP_EVERY, sweep
from pigeonhole.ledger.workers import ANNOUNCE_EVERY, Announcement, Workers
from pigeonhole.models import checkpoint as checkpoints
from pigeonhole.models.runtimes.choice import choose
from pigeonhole.settings import Settings
from pigeonhole.version import VERSION
from worker import losses, metrics
from worker.devices.start import DeviceProcesses
from worker.folders import remember_mounts
from worker.parent import register
from worker.refusal import refuse

logger = logging.getLogger(__name__)


def _settings() -> Settings:
    settings = Settings.from_environment()
    if not settings.broker_url:
        raise SettingsError(
            "a worker needs a broker: give --broker URL or set PIGEONHOLE_BROKER_URL, such as redis://localhost:6379/0"
        )
    if not os.path.isdir(settings.image_root):
        # Started all the same, it would make an error row of every image.
        raise SettingsError(f"PIGEONHOLE_IMAGE_ROOT is {settings.image_root!r}, and no such folder is there: mount it")
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
    # A process imports the runtime and loads its checkpoint before it says that it is up; by default its parent would
    # kill it after 4 s.
    worker_proc_alive_timeout=120.0,
    # A process that takes so long for a batch is ended, and the batch split: worker.losses.
    task_time_limit=settings.batch_seconds,
    # Comes back within seconds, and takes nothing but what our producer sends.
    worker_consumer="worker.consumer:Consumer",
    # `auto` is what the container's cgroup allows, not what the host has.
    worker_concurrency=settings.processes or "auto",
    # A batch is a second's work or near it: one in hand for each process, the others stay for other workers.
    worker_prefetch_multiplier=1,
    # Redis may be away for as long as it likes: a worker that gave up would have to be started by hand.
    broker_connection_max_retries=None,
    broker_connection_retry_on_startup=True,
    # What is in hand while the connection is lost is finished, and commits when Redis is back.
    worker_cancel_long_running_tasks_on_connection_loss=False,
    # After a lost connection a worker would take fewer tasks, until as many as it had in hand were acknowledged.
    worker_enable_prefetch_count_reduction=False,
    # Nobody is told of each task, nor may tell a worker what to do: the ledger knows who is there.
    worker_send_task_events=False,
    worker_enable_remote_control=False,
    worker_hijack_root_logger=True,
)


@signals.celeryd_init.connect
def _consume_own_queue(instance: Any, conf: Any, **_: object) -> None:  # noqa: ANN401  # Celery has no types
    """Read the checkpoint's header, whose name is the queue's, and decide how the model is run."""
    # For the processes that this one starts: they would import what lies in the working folder.
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
    # A process that can't load its checkpoint tells its parent so; without this it would be started for ever.
    signal.signal(signal.SIGUSR2, lambda *_: setattr(state, "should_stop", int(ExitCode.USAGE)))


#: Seconds between two looks at whether a process has ended.
_LOOK_EVERY = 0.5
#: Seconds within which Redis must answer an announcement.
_ANSWER = 4.0


class Presence(bootsteps.StartStopStep):  # type: ignore[misc]  # Celery has no types
    """Announces the worker while it consumes, and sweeps what got lost.

    It runs in the loop that takes the messages: a worker whose loop stands still, or waits for its connection,
    falls silent, and that is how others know. An announcement that gets no answer is how the worker itself knows that
    Redis is gone, where a connection stalls without closing: then it connects anew.
    """

    requires = (Tasks,)

    def __init__(self, parent: Any, **kwargs: object) -> None:  # noqa: ANN401
        super().__init__(parent, **kwargs)
        self._timers: list[Any] = []
        about, self._choice = parent.controller.pigeonhole_checkpoint, parent.controller.pigeonhole_choice
        self._devices = parent.controller.pigeonhole_devices
        self._announcement = Announcement(
            name=parent.hostname,
            instance=secrets.token_hex(4),  # not its process id, which is 1 in every container
            model=about.name,
            digest=about.digest,
            version=VERSION,
            runtime=self._choice.kind,
            host=socket.gethostname(),
        )
        # No retries, and not long: this is the loop that takes messages, and the next turn comes by itself.
        client = connect(settings.broker_url, retries=0, timeout=_ANSWER)
        self._workers = Workers(settings, client=client)
        self._ledger = Ledger(settings, client=client)
        self._queue = task_queue.Queue(settings, app)
        self._logged_ready = False

    def start(self, parent: Any) -> None:  # noqa: ANN401
        """Announce the worker now and from time to time."""
        self._pool = parent.pool
        self._announce(busy=True)
        self._timers = [
            parent.timer.call_repeatedly(ANNOUNCE_EVERY, self._announce),
            parent.timer.call_repeatedly(SWEEP_EVERY, self._sweep),
            parent.timer.call_repeatedly(_LOOK_EVERY, self._look),
        ]

    def stop(self, parent: Any) -> None:  # noqa: ANN401
        """Be silent from now on."""
        for timer in self._timers:
            timer.cancel()
        self._timers = []

    def shutdown(self, parent: Any) -> None:  # noqa: ANN401
        """Take the announcement back."""
        try:
            self._workers.leave(self._announcement.id)
        except PigeonholeError as exc:
            logger.info("not signed off: %s", exc)  # it expires

    def _look(self) -> None:
        """Replace processes that have ended, and log once that all have loaded the model."""
        # A process's end is told by its pipe, which may close before it can be waited for; Celery then finds it only
        # when it looks again, every 5 s.
        self._pool.maintain_pool()
        for ended in self._devices.ended:
            logger.critical("%s: this worker ends, and what it has in hand waits for another", ended)
            state.should_stop = int(ExitCode.FAILED)
        if not self._logged_ready and _ready_processes(self._pool) >= self._pool.num_processes:
            self._logged_ready = True
            about, devices = self._announcement, ", ".join(self._choice.devices)
            what = "ready: model %s, digest %s, device %s (%s), %d processes"
            logger.info(what, about.model, about.digest[:12], devices, about.runtime, self._pool.num_processes)

    def _announce(self, busy: bool = False) -> None:
        with _reconnecting("not announced"):
            worker = replace(self._announcement, processes=_ready_processes(self._pool))
            self._workers.announce(worker, busy or bool(state.reserved_requests))

    def _sweep(self) -> None:
        with _reconnecting("not swept"):
            if self._workers.may_sweep():
                published = sweep(self._ledger, self._queue)
                if published:
                    logger.warning("published again: %d batches that were lost or overdue", published)


@contextmanager
def _reconnecting(failed: str) -> Iterator[None]:
    """Log what goes wrong, and where Redis does not answer raise what Celery's loop takes as its connection's end."""
    try:
        yield
    except PigeonholeError as exc:
        logger.warning("%s: %s", failed, exc)
        if isinstance(exc.__cause__, (redis.ConnectionError, redis.TimeoutError)):
            raise exc.__cause__ from exc


def _ready_processes(pool: Any) -> int:  # noqa: ANN401
    """Return how many processes of the pool have loaded the model: Celery lists one here when it says it is up."""
    # Private: Celery's public lists count processes that it has started, not those that can work.
    return len(pool._pool._fileno_to_inq)


app.steps["consumer"].add(Presence)
