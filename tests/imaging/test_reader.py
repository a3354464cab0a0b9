"""Reading images as a worker does: paths, limits, and disks that fail."""

import errno
import os
import socket
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from pigeonhole.errors import ImageError
from pigeonhole.imaging.preprocess import prepare
from pigeonhole.imaging.preprocessing import Preprocessing
from pigeonhole.imaging.reader import ImageReader, ReadBudget
from pigeonhole.sources.reference import Location
from tests.worker.conftest import file_at, png

PREPROCESSING = Preprocessing("stretch", 28, 28, 1)


@pytest.fixture
def reader(root: Path) -> ImageReader:
    return ImageReader(str(root), PREPROCESSING, max_bytes=100_000, max_pixels=1_000_000)


def kind_of(reader: ImageReader, path: str) -> str:
    with pytest.raises(ImageError) as caught:
        reader.pixels(file_at(path))
    assert str(caught.value) == f"{caught.value.kind}: {caught.value.message}"
    return caught.value.kind


def test_a_worker_reads_the_pixels_of_training(reader: ImageReader, root: Path) -> None:
    for file in sorted((root / "samples").glob("0*.png")):
        expected = prepare(file.read_bytes(), PREPROCESSING, max_pixels=1_000_000)
        np.testing.assert_array_equal(reader.pixels(Location("file", "samples/", file.name)), expected)


def test_each_invalid_sample_has_its_error_kind(reader: ImageReader) -> None:
    assert kind_of(reader, "samples/empty.png") == "empty"
    assert kind_of(reader, "samples/text.png") == "not-an-image"
    assert kind_of(reader, "samples/92ce53-truncated.png") == "truncated"


def test_a_path_that_is_not_a_file_is_an_error_at_once(reader: ImageReader, root: Path) -> None:
    (root / "folder.png").mkdir()
    os.mkfifo(root / "fifo.png")  # it has no writer, so reading it would never end
    with socket.socket(socket.AF_UNIX) as server:
        server.bind(str(root / "socket.png"))
        assert kind_of(reader, "socket.png") == "not-a-file"
    for name in ("folder.png", "fifo.png"):
        assert kind_of(reader, name) == "not-a-file"
    everything = ImageReader("/", PREPROCESSING, max_bytes=100_000, max_pixels=1_000_000)
    for name in ("null", "zero", "tty"):  # tty can't be opened without a terminal
        assert kind_of(everything, f"dev/{name}") == "not-a-file"


def test_a_nonexistent_file_is_missing(reader: ImageReader, root: Path) -> None:
    (root / "nowhere.png").symlink_to("gone.png")
    for reference in ("gone.png", "nowhere.png", "samples/003b50.png/x.png"):
        assert kind_of(reader, reference) == "missing"


@pytest.mark.parametrize("reference", ["../outside.png", "/etc/hostname", "link.png", "linked/outside.png", "a\0b.png"])
def test_a_file_outside_the_root_is_refused(reader: ImageReader, root: Path, reference: str) -> None:
    # tests/sources/test_beneath.py tests all other ways out of the root.
    (root.parent / "outside.png").write_bytes(png())
    (root / "link.png").symlink_to(root.parent / "outside.png")
    (root / "linked").symlink_to(root.parent)
    assert kind_of(reader, reference) == "outside"


def test_a_link_that_stays_inside_the_root_is_followed(reader: ImageReader, root: Path) -> None:
    (root / "inside.png").symlink_to("samples/003b50.png")
    np.testing.assert_array_equal(reader.pixels(file_at("inside.png")), reader.pixels(file_at("samples/003b50.png")))


def test_names_that_are_not_utf8_are_read(reader: ImageReader, root: Path) -> None:
    Path(os.fsdecode(os.fsencode(root) + b"/caf\xe9.png")).write_bytes(png())
    assert reader.pixels(file_at(os.fsdecode(b"caf\xe9.png"))).shape == (28, 28, 1)


def test_limits_are_checked_before_decoding(root: Path) -> None:
    (root / "large.png").write_bytes(png((400, 400)))
    assert kind_of(ImageReader(str(root), PREPROCESSING, 100_000, max_pixels=159_999), "large.png") == "too-large"
    size = (root / "large.png").stat().st_size
    assert kind_of(ImageReader(str(root), PREPROCESSING, size - 1, 1_000_000), "large.png") == "too-large"
    assert ImageReader(str(root), PREPROCESSING, size, 160_000).pixels(file_at("large.png")).shape == (28, 28, 1)


def test_a_path_that_is_too_long_for_the_system_is_unreadable(reader: ImageReader) -> None:
    assert kind_of(reader, "x" * 300 + ".png") == "unreadable"
    assert kind_of(reader, ("x" * 63 + "/") * 64) == "unreadable"  # 4,096 bytes
    assert kind_of(reader, "x/" * 3000 + "x.png") == "unreadable"
    assert kind_of(reader, "x/" * 500 + "x.png") == "missing"


def test_a_file_without_read_permission_is_unreadable(root: Path) -> None:
    locked = root / "locked.png"
    locked.write_bytes(png())
    locked.chmod(0)
    for folder in (root, root.parent, *root.parent.parents):
        if folder.stat().st_uid == os.geteuid() and "pytest" in str(folder):
            folder.chmod(0o755)
    program = (
        "import os\n"
        "from pigeonhole.imaging.preprocess import Preprocessing\n"
        "from pigeonhole.imaging.reader import ImageReader\n"
        "from pigeonhole.errors import ImageError\n"
        "from pigeonhole.sources.reference import Location\n"
        "if os.geteuid() == 0: os.setuid(65534)\n"  # root may read everything
        f"reader = ImageReader({str(root)!r}, Preprocessing('stretch', 28, 28, 1), 1000000, 1000000)\n"
        "try: reader.pixels(Location('file', '', 'locked.png'))\n"
        "except ImageError as exc: print(exc)\n"
    )
    run = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True, timeout=60)
    assert run.stdout.startswith("unreadable: ")
    assert "worker" in run.stdout


class Disk:
    """Replaces `os.read`, and makes it fail for one file with the errors that a test lists."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, file: Path) -> None:
        self.errors: list[int] = []
        self.reads = 0
        self.waits: list[float] = []
        self.now = 0.0
        status = file.stat()
        self._file = (status.st_dev, status.st_ino)
        self._read = os.read
        monkeypatch.setattr(os, "read", self.read)

    def read(self, handle: int, size: int) -> bytes:
        status = os.fstat(handle)
        if (status.st_dev, status.st_ino) == self._file:
            self.reads += 1
            if self.errors:
                code = self.errors.pop(0)
                raise OSError(code, os.strerror(code))
        return self._read(handle, size)

    def sleep(self, seconds: float) -> None:
        self.waits.append(seconds)
        self.now += seconds

    def reader(self, root: Path) -> ImageReader:
        budget = ReadBudget(clock=lambda: self.now, sleep=self.sleep)
        return ImageReader(str(root), PREPROCESSING, 100_000, 1_000_000, budget)


@pytest.fixture
def disk(root: Path, monkeypatch: pytest.MonkeyPatch) -> Disk:
    return Disk(monkeypatch, root / "samples" / "003b50.png")


@pytest.mark.parametrize("name", ["EIO", "ESTALE", "ETIMEDOUT", "EINTR", "EAGAIN", "EMFILE", "ENOTCONN"])
def test_a_read_with_a_transient_error_is_retried(root: Path, disk: Disk, name: str) -> None:
    disk.errors = [getattr(errno, name)] * 4
    handles = os.listdir("/dev/fd")
    assert disk.reader(root).pixels(file_at("samples/003b50.png")).shape == (28, 28, 1)
    assert os.listdir("/dev/fd") == handles
    assert sum(disk.waits) == pytest.approx(1.0)


def test_a_read_that_keeps_failing_is_an_error_after_five_tries_in_a_second(root: Path, disk: Disk) -> None:
    disk.errors = [errno.EIO] * 100
    with pytest.raises(ImageError, match=r"^unreadable: .*Input/output error$"):
        disk.reader(root).pixels(file_at("samples/003b50.png"))
    assert disk.reads == 5
    assert sum(disk.waits) == pytest.approx(1.0)


def test_a_read_with_a_permanent_error_is_not_retried(root: Path, disk: Disk) -> None:
    disk.errors = [errno.EBADMSG]
    assert kind_of(disk.reader(root), "samples/003b50.png") == "unreadable"
    reader = disk.reader(root)
    for reference in ("gone.png", "samples", "../gone.png", "x" * 300):
        kind_of(reader, reference)
    assert disk.waits == []


def test_a_failed_disk_exhausts_the_budget_of_retries(root: Path, disk: Disk) -> None:
    disk.errors = [errno.EIO] * 10_000
    reader = disk.reader(root)
    for _ in range(200):
        assert kind_of(reader, "samples/003b50.png") == "unreadable"
    assert 20 <= sum(disk.waits) <= 23  # the budget refills by a tenth of the waiting time
    disk.now += 60  # the budget is full again
    disk.errors = [errno.EIO] * 4
    assert reader.pixels(file_at("samples/003b50.png")).shape == (28, 28, 1)


@pytest.mark.skipif(not os.path.exists("/proc/self/mem"), reason="needs a file that the system can't read")
def test_a_file_that_the_kernel_can_not_read_is_unreadable() -> None:
    waits: list[float] = []
    reader = ImageReader("/", PREPROCESSING, 100_000, 1_000_000, ReadBudget(sleep=waits.append))
    assert (
        kind_of(reader, "proc/self/mem") == "unreadable"
    )  # the kernel returns EIO, because nothing is mapped at address 0
    assert len(waits) == 4


def test_a_file_that_grows_while_it_is_read_is_read_only_to_its_original_size(root: Path, reader: ImageReader) -> None:
    page = root / "page.png"
    page.write_bytes(png())
    real, most = os.read, [0]

    def read(handle: int, size: int) -> bytes:
        with page.open("ab") as file:
            file.write(bytes(50_000))  # faster than it is read
        part = real(handle, min(size, 40))
        most[0] += len(part)
        return part

    size = page.stat().st_size
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(os, "read", read)
        reader.pixels(file_at("page.png"))
    assert most[0] == size + 1
    assert kind_of(reader, "page.png") == "too-large"  # the file has grown
    page.write_bytes(png()[:40])
    assert kind_of(reader, "page.png") == "truncated"
    page.unlink()
    assert kind_of(reader, "page.png") == "missing"
