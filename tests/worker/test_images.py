import os
import socket
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from tests.worker.conftest import png
from training.preprocess import Preprocessing, prepare
from worker.contract.errors import ImageUnreadable
from worker.images import ImageReader

PREPROCESSING = Preprocessing("stretch", 28, 28, 1)


@pytest.fixture
def reader(root: Path) -> ImageReader:
    return ImageReader(str(root), PREPROCESSING, max_bytes=100_000, max_pixels=1_000_000)


def kind_of(reader: ImageReader, reference: str) -> str:
    with pytest.raises(ImageUnreadable) as caught:
        reader.pixels(reference)
    assert str(caught.value) == f"{caught.value.kind}: {caught.value.message}"
    return caught.value.kind


def test_pixels_are_those_that_training_sees(reader: ImageReader, root: Path) -> None:
    for file in sorted((root / "samples").glob("0*.png")):
        seen = prepare(file.read_bytes(), PREPROCESSING, max_pixels=1_000_000)
        np.testing.assert_array_equal(reader.pixels(f"samples/{file.name}"), seen)


def test_the_samples_that_are_meant_to_fail_say_why(reader: ImageReader) -> None:
    assert kind_of(reader, "samples/empty.png") == "empty"
    assert kind_of(reader, "samples/text.png") == "not-an-image"
    assert kind_of(reader, "samples/92ce53-truncated.png") == "truncated"


def test_what_is_no_file_is_told_at_once(reader: ImageReader, root: Path) -> None:
    (root / "folder.png").mkdir()
    os.mkfifo(root / "fifo.png")  # nobody writes to it: reading it would wait for ever
    (root / "device.png").symlink_to("/dev/null")
    with socket.socket(socket.AF_UNIX) as server:
        server.bind(str(root / "socket.png"))
        assert kind_of(reader, "socket.png") == "not-a-file"
    for name in ("folder.png", "fifo.png", "device.png"):
        assert kind_of(reader, name) == "not-a-file"


def test_what_is_not_there_is_missing(reader: ImageReader, root: Path) -> None:
    (root / "nowhere.png").symlink_to("gone.png")
    for reference in ("gone.png", "nowhere.png", "samples/003b50.png/x.png"):
        assert kind_of(reader, reference) == "missing"


@pytest.mark.parametrize("reference", ["../outside.png", "/etc/hostname", "link.png", "linked/outside.png", "a\0b.png"])
def test_what_lies_outside_the_root_is_refused(reader: ImageReader, root: Path, reference: str) -> None:
    (root.parent / "outside.png").write_bytes(png())
    (root / "link.png").symlink_to(root.parent / "outside.png")
    (root / "linked").symlink_to(root.parent)
    assert kind_of(reader, reference) == "outside"


def test_a_link_that_stays_inside_the_root_is_followed(reader: ImageReader, root: Path) -> None:
    (root / "inside.png").symlink_to("samples/003b50.png")
    np.testing.assert_array_equal(reader.pixels("inside.png"), reader.pixels("samples/003b50.png"))


def test_a_root_that_is_a_link_itself_works(root: Path) -> None:
    (root.parent / "alias").symlink_to(root)
    reader = ImageReader(str(root.parent / "alias"), PREPROCESSING, 100_000, 1_000_000)
    assert reader.pixels("samples/003b50.png").shape == (28, 28, 1)


def test_names_that_are_not_utf8_are_read(reader: ImageReader, root: Path) -> None:
    Path(os.fsdecode(os.fsencode(root) + b"/caf\xe9.png")).write_bytes(png())
    assert reader.pixels(os.fsdecode(b"caf\xe9.png")).shape == (28, 28, 1)


def test_limits_are_told_before_anything_is_decoded(root: Path) -> None:
    (root / "large.png").write_bytes(png((400, 400)))
    assert kind_of(ImageReader(str(root), PREPROCESSING, 100_000, max_pixels=159_999), "large.png") == "too-large"
    size = (root / "large.png").stat().st_size
    assert kind_of(ImageReader(str(root), PREPROCESSING, size - 1, 1_000_000), "large.png") == "too-large"
    assert ImageReader(str(root), PREPROCESSING, size, 160_000).pixels("large.png").shape == (28, 28, 1)


def test_a_path_too_long_for_the_system_is_an_error_of_that_image(reader: ImageReader) -> None:
    assert kind_of(reader, "x" * 300 + ".png") == "unreadable"
    assert kind_of(reader, "x/" * 3000 + "x.png") == "unreadable"


def test_a_file_that_may_not_be_read_is_unreadable(root: Path) -> None:
    locked = root / "locked.png"
    locked.write_bytes(png())
    locked.chmod(0)
    for folder in (root, root.parent, *root.parent.parents):
        if folder.stat().st_uid == os.geteuid() and "pytest" in str(folder):
            folder.chmod(0o755)
    program = (
        "import os\n"
        "from training.preprocess import Preprocessing\n"
        "from worker.images import ImageReader\n"
        "from worker.contract.errors import ImageUnreadable\n"
        "if os.geteuid() == 0: os.setuid(65534)\n"  # root may read everything
        f"reader = ImageReader({str(root)!r}, Preprocessing('stretch', 28, 28, 1), 1000000, 1000000)\n"
        "try: reader.pixels('locked.png')\n"
        "except ImageUnreadable as exc: print(exc)\n"
    )
    run = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True, timeout=60)
    assert run.stdout == "unreadable: the worker may not read it\n"
