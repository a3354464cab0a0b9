"""`pigeonhole doctor`: is all there that a job needs, and does it work? Each check says what it saw and what to do."""

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
from pigeonhole.ledger.messages import Group, Row
from pigeonhole.ledger.redis_client import CONNECT_TIMEOUT, connect, translated
from pigeonhole.ledger.sweep import SWEEP_EVERY
from pigeonhole.settings import Settings, masked
from pigeonhole.sources.expand import expand
from pigeonhole.sources.local_files import LocalFiles
from pigeonhole.sources.reference import Root
from pigeonhole.version import install_hint
from producer.doctor.checks import Site
from producer.doctor.findings import Finding, found, size, some
from producer.doctor.probe import OF_THE_PLACE, OF_THE_WORKER, answer, probe_image, room

#: Seconds that the probe's row is waited for: it goes ahead of what waits, but not of what workers have in hand.
PROBE_SECONDS = 20.0
#: How many bytes should be free where files are written.
LEAST_ROOM = 500_000_000
#: What workers can't be without.
PACKAGES = ("onnxruntime", "pillow", "numpy", "safetensors")


def examine(settings: Settings, folder: str | None = None, seconds: float = PROBE_SECONDS) -> Iterator[Finding]:
    """Look at one thing after the other; each finding is given as soon as it is there.

    Args:
        settings: with a broker, or without: then at what `classify` brings up by itself.
        folder: with images that workers shall see; None: the image root, or where this runs if that is `/`; without a
            broker, a temporary one.
        seconds: how long the probe's row is waited for.

    Raises:
        UsageError: the folder is none, or lies outside the image root.
    """
    if not settings.broker_url:
        # As `classify` does: the workers are this user's own processes.
        yield from _embedded(replace(settings, image_root="/"), folder and _folder("/", folder))
    else:
        yield from _shared(settings, _folder(settings.image_root, folder), seconds)
    yield _disk("disk", os.getcwd(), "rows go here, unless -o says where else", needed=False)


def _folder(root: str, folder: str | None) -> str:
    folder = folder or (root if root != "/" else os.getcwd())
    if not os.path.isdir(folder):
        raise UsageError(f"{folder!r} is no folder that is there: name one with images that workers shall see")
    if Root(root).below(folder) is None:
        raise UsageError(f"{folder!r} lies outside the image root {root!r} (PIGEONHOLE_IMAGE_ROOT): name one below it")
    return folder


def _shared(settings: Settings, folder: str, seconds: float) -> Iterator[Finding]:
    """Look at a Redis and the workers there."""
    reached = found("broker", lambda: _broker(settings.broker_url))
    if not reached.ok:
        yield replace(reached, ok=False)  # also where it refuses us: nothing else can be looked at
        return
    yield reached
    site = Site(settings)
    checks = (site.version, site.persistence, site.memory, site.workers, site.versions, site.checkpoints, site.clocks)
    for check in checks:
        yield found(check.__name__, check)
    if site.deserted():
        yield Finding("probe", None, "not sent: there is no worker that could take it")
    else:
        yield from _probe(site.client, site.model, folder, seconds)
    yield found("sweeps", lambda: site.sweeps(min(seconds, SWEEP_EVERY + 1)))
    yield found("jobs", site.jobs)
    yield found("leftovers", site.leftovers)


def _broker(url: str) -> Finding:
    with connect(url, timeout=CONNECT_TIMEOUT, retries=1) as client, translated(url):
        client.ping()
        started = time.perf_counter()
        for _ in range(10):
            client.ping()
        return Finding("broker", True, f"{masked(url)} answers in {100 * (time.perf_counter() - started):.1f} ms")


def _embedded(settings: Settings, folder: str | None) -> Iterator[Finding]:
    """Look at what `classify` brings up by itself, by bringing it up."""
    yield Finding("broker", True, "PIGEONHOLE_BROKER_URL is not set: a Redis and workers for each command")
    needed = [found("redis", _own_redis), _packages(), _disk("temporary", tempfile.gettempdir(), "set TMPDIR")]
    yield from needed
    if not all(finding.ok for finding in needed):
        return
    started = time.monotonic()
    try:
        with embedded(settings) as private, tempfile.TemporaryDirectory() as temporary:
            model, checkpoint = private.model()
            took = f"{time.monotonic() - started:.1f} s"
            yield Finding("started", True, f"Redis, and workers with {checkpoint}, in {took}")
            # Its processes are loading the checkpoint by now.
            client = Connection(private.settings, Retrying())
            yield from _probe(client, model, folder or temporary, START_TIMEOUT, private.check)
    except PigeonholeError as exc:
        yield Finding("started", False, str(exc))


def _own_redis() -> Finding:
    program = redis_server()
    said = subprocess.run([program, "--version"], capture_output=True, text=True, errors="replace", check=False)
    if said.returncode:
        return Finding("redis", False, f"{program} does not run: {said.stderr.strip()}", "install redis-server anew")
    version = next((word[2:] for word in said.stdout.split() if word.startswith("v=")), "of unknown version")
    return Finding("redis", True, f"{program}, {version}")


def _packages() -> Finding:
    """Is there what workers need?"""
    versions, missing = [], []
    for name in PACKAGES:
        try:
            versions.append(f"{name} {importlib.metadata.version(name)}")
        except importlib.metadata.PackageNotFoundError:
            missing.append(name)
    if missing:
        return Finding("packages", False, f"not installed: {some(missing)}", install_hint("local"))
    return Finding("packages", True, ", ".join(versions))


def _disk(name: str, folder: str, do: str, needed: bool = True) -> Finding:
    try:
        free = room(folder)
    except OSError as exc:
        return Finding(name, False if needed else None, f"{folder!r} can't be written to: {exc.strerror}", do)
    well = free >= LEAST_ROOM
    return Finding(name, well, f"{size(free)} free in {folder!r}", "" if well else f"make room; {do}")


def _probe(
    client: Connection, model: str, folder: str, seconds: float, check: Callable[[], None] = lambda: None
) -> Iterator[Finding]:
    """Send an image through the queue: one made for this or, where the folder is not ours to write to, one there."""
    root = Root(client.settings.image_root)
    try:
        with probe_image(folder) as path:
            yield from _answered(
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
        do = "`pigeonhole doctor FOLDER` with one that you may write to, or that holds an image"
        yield Finding("image root", None, f"{why}; nor is an image there that could be sent", do)
        return
    places = (there.place,) if there.place else ()
    one = Group(there.scheme, there.shown, there.root, (there.path,), places)
    for finding in _answered(client, model, one, seconds, check):
        yield replace(finding, saw=f"{finding.saw} ({why}; one that is there was sent)")


def _answered(
    client: Connection, model: str, image: Group, seconds: float, check: Callable[[], None]
) -> Iterator[Finding]:
    started = time.monotonic()
    try:
        row = answer(client.ledger, client.queue, model, image, seconds, check)
    except PigeonholeError as exc:
        yield Finding("probe", False, str(exc))
        return
    if row is None:
        do = "see what workers have in hand, and say in their logs; where that is much, ask again later"
        yield Finding("probe", False, f"an image went into the queue, and no row came within {seconds:.0f} s", do)
        return
    kind, took = row.error.partition(":")[0], f"{time.monotonic() - started:.1f} s"
    if kind in OF_THE_WORKER:
        yield Finding(
            "probe", False, f"after {took} an image came back as an error: {row.error}", "see the workers' log"
        )
        return
    yield Finding("probe", True, f"an image came back after {took}, from {row.model}")
    yield _place(row, client.settings.image_root)


def _place(row: Row, root: str) -> Finding:
    """Return from a row whether workers see what we see."""
    if row.error.partition(":")[0] in OF_THE_PLACE:
        do = "mount the same folder for both, and let PIGEONHOLE_IMAGE_ROOT say on each side where"
        return Finding("image root", False, f"{row.path!r} lies below {root!r} here; a worker says: {row.error}", do)
    return Finding("image root", True, f"workers read what lies below {root!r}")
