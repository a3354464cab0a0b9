"""Freed memory stays with the process, so that chunks need few new pages."""

import ctypes
import platform
import resource
import subprocess
import sys

import numpy as np
import pytest

from pigeonhole.models import allocator
from pigeonhole.models.classifier import Classifier

GLIBC = pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="this needs glibc")

ALLOCATE = """
import resource, numpy
from pigeonhole.models.allocator import keep_freed
{keep}
def faults():
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    numpy.ones(20 * 2**20, numpy.uint8)
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before
faults()
print(faults())
"""


@GLIBC
@pytest.mark.parametrize(("keep", "needs_new_pages"), [("", True), ("keep_freed()", False)])
def test_freed_memory_is_used_again_without_new_pages(keep: str, needs_new_pages: bool) -> None:
    done = subprocess.run(
        [sys.executable, "-c", ALLOCATE.format(keep=keep)], check=True, capture_output=True, text=True
    )
    # 20 MiB are 5,120 pages, or fewer with huge pages.
    assert (int(done.stdout) > 8) == needs_new_pages


@GLIBC
def test_a_second_chunk_takes_few_new_pages(classifier: Classifier) -> None:
    chunk = np.zeros((256, 28, 28, 1), np.uint8)
    classifier.predict(chunk)
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    for _ in range(10):
        classifier.predict(chunk)
    assert (resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before) / 10 < 200


def test_another_c_library_is_not_changed(monkeypatch: pytest.MonkeyPatch) -> None:
    class Musl:
        pass

    monkeypatch.setattr(ctypes, "CDLL", lambda name: Musl())
    allocator.keep_freed()
