"""`pigeonhole doctor`: checks everything that a job needs. Each finding has what was found and what to do."""

import importlib.metadata
import os
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import replace

from pigeonhole.embedded.servers import START_TIMEOUT, embedded, redis_server
from pigeonhole.errors import PigeonholeError, SourceError, UsageError
from pigeonhole.jobs.connection import Connection
from pigeonhole.jobs.retrying import Retrying
from pigeonhole.ledger.redis.client import CONNECT_TIMEOUT, connect, translated
from pigeonhole.ledger.sweep import SWEEP_EVERY
from pigeonhole.ledger.wire.messages import Group, Row
from pigeonhole.settings import Settings, masked
from pigeonhole.sources.expand import expand
from pigeonhole.sources.local_files import LocalFiles
from pigeonhole.sources.reference import Root
from pigeonhole.version import install_hint
from producer.doctor.checks import BrokerChecks
from producer.doctor.findings import Finding, listed, run_check, size
from producer.doctor.probe import PATH_ERRORS, WORKER_ERRORS, classify_probe, probe_image, room

#: Seconds to wait for the probe's row. The probe overtakes waiting batches, but not those that workers already have.
PROBE_SECONDS = 20.0
#: Bytes that should be free in a folder for files.
LEAST_ROOM = 500_000_000
#: Packages that workers need.
PACKAGES = ("onnxruntime", "pillow", "numpy", "safetensors")


def examine(settings: Settings, folder: str | None = None, seconds: float = PROBE_SECONDS) -> Iterator[Finding]:
    """Run all checks, and yield each finding as soon as it is known.

    Args:
        settings: settings with a broker; without one, the embedded Redis and workers of `classify` are checked.
        folder: folder of images that workers must see. None: the image root or, if that is `/`, the working folder;
            without a broker, a temporary one.
        seconds: how long to wait for the probe's row.

    Raises:
        UsageError: the folder does not exist or lies outside the image root.
    """
    if not settings.broker_url:
        # As in `classify`: the workers are this user's own processes.
        yield from _embedded(replace(settings, image_root="/"), folder and _folder("/", folder))
    else:
        yield from _shared(settings, _folder(settings.image_root, folder), seconds)
    yield _disk("disk", os.getcwd(), "rows are written here unless -o names another place", needed=False)


def _folder(root: str, folder: str | None) -> str:
    folder = folder or (root if root != "/" else os.getcwd())
    if not os.path.isdir(folder):
        raise UsageError(f"there is no folder {folder!r}: name one whose images workers must see")
    if Root(root).below(folder) is None:
        raise UsageError(f"{folder!r} lies outside the image root {root!r} (PIGEONHOLE_IMAGE_ROOT): name one below it")
    return folder


def _shared(settings: Settings, folder: str, seconds: float) -> Iterator[Finding]:
    """Check a shared Redis and its workers."""
    reached = run_check("broker", lambda: _broker(settings.broker_url))
    if not reached.ok:
        yield replace(reached, ok=False)  # also if Redis refuses us: nothing else can be checked
        return
    yield reached
    broker = BrokerChecks(settings)
    checks = (
        broker.version,
        broker.persistence,
        broker.memory,
        broker.workers,
        broker.versions,
        broker.checkpoints,
        broker.clocks,
    )
    for check in checks:
        yield run_check(check.__name__, check)
    if broker.without_workers():
        yield Finding("probe", None, "not sent: there is no worker for it")
    else:
        yield from _probe(broker.client, broker.model, folder, seconds)
    yield run_check("sweeps", lambda: broker.sweeps(min(seconds, SWEEP_EVERY + 1)))
    yield run_check("jobs", broker.jobs)
    yield run_check("leftovers", broker.leftovers)


def _broker(url: str) -> Finding:
    with connect(url, timeout=CONNECT_TIMEOUT, retries=1) as client, translated(url):
        client.ping()
        started = time.perf_counter()
        for _ in range(10):
            client.ping()
        return Finding("broker", True, f"{masked(url)} answers in {100 * (time.perf_counter() - started):.1f} ms")


def _embedded(settings: Settings, folder: str | None) -> Iterator[Finding]:
    """Check the embedded Redis and workers of `classify` by starting them."""
    yield Finding("broker", True, "PIGEONHOLE_BROKER_URL is not set: a Redis and workers for each command")
    needed = [run_check("redis", _own_redis), _packages(), _disk("temporary", tempfile.gettempdir(), "set TMPDIR")]
    yield from needed
    if not all(finding.ok for finding in needed):
        return
    started = time.monotonic()
    try:
        with embedded(settings) as private, tempfile.TemporaryDirectory() as temporary:
            model, checkpoint = private.model()
            took = f"{time.monotonic() - started:.1f} s"
            yield Finding("started", True, f"Redis, and workers with {checkpoint}, in {took}")
            # The worker's processes are still loading the checkpoint.
            client = Connection(private.settings, Retrying())
            yield from _probe(client, model, folder or temporary, START_TIMEOUT, private.check)
    except PigeonholeError as exc:
        yield Finding("started", False, str(exc))


def _own_redis() -> Finding:
    program = redis_server()
    done = subprocess.run([program, "--version"], capture_output=True, text=True, errors="replace", check=False)
    if done.returncode:
        return Finding("redis", False, f"{program} does not run: {done.stderr.strip()}", "reinstall redis-server")
    version = next((word[2:] for word in done.stdout.split() if word.startswith("v=")), "of unknown version")
    return Finding("redis", True, f"{program}, {version}")


def _packages() -> Finding:
    """Check that the packages which workers need are installed."""
    versions, missing = [], []
    for name in PACKAGES:
        try:
            versions.append(f"{name} {importlib.metadata.version(name)}")
        except importlib.metadata.PackageNotFoundError:
            missing.append(name)
    if missing:
        return Finding("packages", False, f"not installed: {listed(missing)}", install_hint("local"))
    return Finding("packages", True, ", ".join(versions))


def _disk(name: str, folder: str, do: str, needed: bool = True) -> Finding:
    try:
        free = room(folder)
    except OSError as exc:
        return Finding(name, False if needed else None, f"{folder!r} can't be written to: {exc.strerror}", do)
    well = free >= LEAST_ROOM
    return Finding(name, well, f"{size(free)} free in {folder!r}", "" if well else f"free some space; {do}")


def _probe(
    client: Connection, model: str, folder: str, seconds: float, check: Callable[[], None] = lambda: None
) -> Iterator[Finding]:
    """Send an image through the queue: a new one or, if the folder is read-only, one that is in it."""
    root = Root(client.settings.image_root)
    try:
        with probe_image(folder) as path:
            yield from _probe_findings(
                client, model, Group(LocalFiles.scheme, "", "", (root.below(path) or path,)), seconds, check
            )
            return
    except OSError as exc:
        why = f"a probe can't be written to {folder!r}: {exc.strerror}"
    try:
        there = next(expand([folder], root), None)
    except SourceError:
        there = None
    if there is None:
        do = "run `pigeonhole doctor FOLDER` with a folder that is writable or has an image"
        yield Finding("image root", None, f"{why}; and there is no image in it", do)
        return
    places = (there.place,) if there.place else ()
    one = Group(there.scheme, there.shown, there.root, (there.path,), places)
    for finding in _probe_findings(client, model, one, seconds, check):
        yield replace(finding, saw=f"{finding.saw} ({why}; an image of the folder was sent)")


def _probe_findings(
    client: Connection, model: str, image: Group, seconds: float, check: Callable[[], None]
) -> Iterator[Finding]:
    started = time.monotonic()
    try:
        row = classify_probe(client.ledger, client.queue, model, image, seconds, check)
    except PigeonholeError as exc:
        yield Finding("probe", False, str(exc))
        return
    if row is None:
        do = "see the workers' logs; if they are busy with other batches, try again later"
        yield Finding("probe", False, f"sent an image, but no row arrived within {seconds:.0f} s", do)
        return
    kind, took = row.error.partition(":")[0], f"{time.monotonic() - started:.1f} s"
    if kind in WORKER_ERRORS:
        yield Finding(
            "probe", False, f"after {took} an image became an error row: {row.error}", "see the workers' logs"
        )
        return
    yield Finding("probe", True, f"sent an image, got its row after {took} from {row.model}")
    yield _place(row, client.settings.image_root)


def _place(row: Row, root: str) -> Finding:
    """Return from the probe's row whether workers see the same image root."""
    if row.error.partition(":")[0] in PATH_ERRORS:
        do = "mount the same folder on both sides, and set PIGEONHOLE_IMAGE_ROOT to its path on each side"
        return Finding(
            "image root", False, f"{row.path!r} is below {root!r} here, but a worker reports: {row.error}", do
        )
    return Finding("image root", True, f"workers read files below {root!r}")
