"""The source of images in memory, whose references contain the bytes."""

import base64
import os
from pathlib import Path

import pytest

from pigeonhole.errors import ErrorKind, ImageError, SourceError, UsageError
from pigeonhole.jobs.submit import batches
from pigeonhole.ledger.wire.messages import MAX_DECODED_BYTES, Batch
from pigeonhole.sources.expand import expand
from pigeonhole.sources.memory import MOST_BYTES, ImagesInMemory, in_memory
from pigeonhole.sources.reference import Location, Root


def location(root: str, path: str = "") -> Location:
    return Location("memory", root, path)


@pytest.mark.parametrize("data", [b"", b"a", b"ab", b"abc", os.urandom(1000), b"\xff" * 100, b"\xfb" * 100])
def test_the_bytes_of_an_image_pass_through_a_message_unchanged(data: bytes) -> None:
    (batch,) = batches([in_memory("image 0", data)])
    batch = Batch.decode(batch.encode())
    assert list(batch.shown()) == ["image 0"]
    (found,) = batch.located()
    assert not found.root.startswith("/")
    source = ImagesInMemory(Root("/nowhere"), max_bytes=1000)
    assert source.open(found) == (data, 0)
    assert source.identity(found) == 0


def test_an_image_over_the_limit_is_refused_before_it_is_decoded() -> None:
    (found,) = next(batches([in_memory("image 0", b"x" * 1001)])).located()
    with pytest.raises(ImageError) as error:
        ImagesInMemory(Root("/"), max_bytes=1000).open(found)
    assert error.value.kind == ErrorKind.TOO_LARGE


@pytest.mark.parametrize("root", ["x", "/etc/passwd", "../secret", "a b=", "é" * 4, "\udcff", "YQ==YQ=="])
def test_a_reference_without_an_image_reads_no_file(root: str, tmp_path: Path) -> None:
    with pytest.raises(ImageError) as error:
        ImagesInMemory(Root(str(tmp_path))).open(location(root, "samples/003b50.png"))
    assert error.value.kind == ErrorKind.CORRUPT


def test_a_batch_contains_at_most_four_megabytes_or_one_image() -> None:
    images = [in_memory(f"image {number}", os.urandom(1_000_000)) for number in range(9)]
    assert [len(batch) for batch in batches(images)] == [4, 4, 1]
    (largest,) = batches([in_memory("image 0", os.urandom(MOST_BYTES))])
    assert MOST_BYTES < len(base64.b64encode(b"x" * MOST_BYTES)) < MAX_DECODED_BYTES
    assert Batch.decode(largest.encode()) == largest


def test_an_image_that_is_too_large_for_a_message_is_refused() -> None:
    with pytest.raises(UsageError, match=r"image 3 .*32,000,001 bytes.* 32,000,000: write it to a file"):
        in_memory("image 3", bytes(MOST_BYTES + 1))


@pytest.mark.parametrize("name", ["", "a\0b", "x" * 5000, "\ud800"])
def test_an_invalid_name_of_an_image_is_refused(name: str) -> None:
    with pytest.raises(UsageError, match="name an image"):
        in_memory(name, b"x")


def test_images_in_memory_can_not_be_sources_of_the_command_line() -> None:
    with pytest.raises(SourceError, match=r"'memory:3' .*Python program"):
        expand(["memory:3"], Root("/"))
