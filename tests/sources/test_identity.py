"""The identity of a file, which shows whether it has changed since an earlier run."""

import os
from pathlib import Path
from types import SimpleNamespace
from typing import cast

import pytest

from pigeonhole.sources.local_files import LocalFiles
from pigeonhole.sources.members.archives import INSIDE, members
from pigeonhole.sources.reference import Location, Root
from pigeonhole.sources.registry import by_scheme
from pigeonhole.sources.source import Source, identity_of
from tests.packing import KINDS, pack

SECOND, MILLISECOND = 10**9, 10**6
NOW = 1_800_000_000 * SECOND


def status_at(modified: int, changed: int) -> os.stat_result:
    """Return the status of a file with these times, in nanoseconds."""
    return cast(os.stat_result, SimpleNamespace(st_size=1000, st_ino=7, st_mtime_ns=modified, st_ctime_ns=changed))


@pytest.mark.parametrize(
    ("modified", "changed", "trusted"),
    [
        (0, NOW - 19 * MILLISECOND - 1, False),  # the kernel's clock may not have ticked since
        (NOW - 19 * MILLISECOND - 1, 0, False),
        (0, NOW - 21 * MILLISECOND - 1, True),
        (0, NOW - SECOND, False),  # a file system with a resolution of one or two seconds
        (NOW - SECOND, NOW - SECOND, False),
        (0, NOW - 1990 * MILLISECOND, False),
        (0, NOW - 2 * SECOND, True),
        (0, NOW + SECOND + 1, False),  # a server's clock is ahead of ours
        (0, 0, True),
    ],
)
def test_a_file_has_no_identity_while_a_later_change_could_have_the_same_times(
    modified: int, changed: int, trusted: bool
) -> None:
    status = status_at(modified, changed)
    assert identity_of(status) != 0
    assert identity_of(status, NOW) == (identity_of(status) if trusted else 0)


def opened_at(source: Source, location: Location, after: int) -> int:
    """Return the identity for a worker that opens an image some nanoseconds after its file's last change."""
    changed = os.stat(os.path.join(source.root.path, location.file)).st_ctime_ns
    source.clock = lambda: changed + after
    try:
        return source.open(location).identity
    finally:
        source.close()


def test_a_file_that_was_rewritten_within_the_same_tick_counts_as_changed(folder: Path) -> None:
    (folder / "a.png").write_bytes(b"the image")
    source, location = LocalFiles(Root(str(folder))), Location("file", "", "a.png")
    assert opened_at(source, location, after=1) == 0
    assert opened_at(source, location, after=2 * SECOND) == source.identity(location) != 0


def places(folder: Path, kind: str) -> tuple[Source, list[Location]]:
    """Create an archive; return its source and the locations of its members."""
    archive, scheme = (
        pack(folder / f"x.{kind}", [("a.png", b"an image"), ("b.png", b"another")]),
        kind.partition(".")[0],
    )
    source = by_scheme(scheme)
    assert source is not None
    found = [Location(scheme, archive.name, f"{INSIDE}{member.name}", member.place) for member in members(str(archive))]
    return source(Root(str(folder))), found


@pytest.mark.parametrize("kind", KINDS)
def test_a_member_has_the_identity_of_its_archive(folder: Path, kind: str) -> None:
    source, (first, second) = places(folder, kind)
    assert first.file == second.file == f"x.{kind}"
    assert opened_at(source, first, after=2 * SECOND) == source.identity(second) != 0
    assert opened_at(source, first, after=1) == 0


@pytest.mark.parametrize("kind", ["zip", "tar"])  # inflating a `.tar.gz` detects the change, and returns an error
def test_an_archive_that_changes_while_a_member_is_read_counts_as_changed(
    folder: Path, kind: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    source, (member, _) = places(folder, kind)
    before = source.identity(member)
    pread, changes = os.pread, iter([True])

    def changing(handle: int, size: int, offset: int) -> bytes:
        if next(changes, False):
            os.utime(folder / f"x.{kind}", (1, 1))
        return pread(handle, size, offset)

    monkeypatch.setattr(os, "pread", changing)
    assert opened_at(source, member, after=2 * SECOND) == before != source.identity(member)


@pytest.mark.parametrize("path", ["gone.png", "sub/gone.png", "a.png/b.png", "nul\0.png"])
def test_a_missing_file_has_no_identity(folder: Path, path: str) -> None:
    (folder / "a.png").write_bytes(b"")
    assert LocalFiles(Root(str(folder))).identity(Location("file", "", path)) == 0


def test_a_file_outside_the_root_has_no_identity(folder: Path) -> None:
    (folder / "root" / "etc").mkdir(parents=True)
    (folder / "root" / "etc" / "hostname").write_bytes(b"x")
    source = LocalFiles(Root(str(folder / "root")))
    assert source.identity(Location("file", "/etc/", "hostname")) == 0
    assert source.identity(Location("file", "etc/", "hostname")) != 0


def test_the_path_of_an_identity_is_relative_to_the_root(folder: Path) -> None:
    (folder / "root").mkdir()
    (folder / "root" / "a.png").write_bytes(b"x")
    location = Location("file", "", "a.png")
    assert LocalFiles(Root(str(folder / "root"))).identity(location) == identity_of(os.stat(folder / "root" / "a.png"))
    assert LocalFiles(Root("/")).identity(Location("file", f"{folder}/root/"[1:], "a.png")) != 0
