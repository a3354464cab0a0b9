"""Opening files below the image root: no path and no link leads outside."""

import ctypes
import os
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pytest

from pigeonhole.sources import beneath
from pigeonhole.sources.beneath import LeadsOutside, has_openat2, open_beneath
from tests.conftest import ROOT

INSIDE, OUTSIDE = b"from inside", b"from outside"


@pytest.fixture(params=["openat2", "open and check"], autouse=True)
def way(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Run each test with both ways of opening a file."""
    if request.param == "openat2" and not has_openat2():
        pytest.skip("this system has no openat2")
    monkeypatch.setattr(beneath, "has_openat2", lambda: request.param == "openat2")


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """Return a root with a file in a folder, beside a folder outside."""
    for folder, content in (("root/folder", INSIDE), ("outside/folder", OUTSIDE)):
        (tmp_path / folder).mkdir(parents=True)
        (tmp_path / folder / "x.png").write_bytes(content)
    os.mkfifo(tmp_path / "outside" / "fifo.png")
    return tmp_path / "root"


def content(root: Path | str, reference: str) -> bytes:
    handle = open_beneath(str(root), reference)
    try:
        return os.read(handle, 100)
    finally:
        os.close(handle)


@pytest.mark.parametrize(
    "reference",
    [
        "../outside/folder/x.png",
        "folder/../../outside/folder/x.png",
        "folder/../../../../../../../../../../etc/passwd",
        "../outside/fifo.png",
        "../root-and-more/x.png",
        "../outside/missing.png",  # its existence must not be revealed either
        "..",
    ],
)
def test_a_path_upward_never_leaves_the_root(root: Path, reference: str) -> None:
    (root.parent / "root-and-more").mkdir()
    (root.parent / "root-and-more" / "x.png").write_bytes(OUTSIDE)
    with pytest.raises(LeadsOutside):
        open_beneath(str(root), reference)


@pytest.mark.parametrize(
    ("link", "target", "reference"),
    [
        ("x.png", "../outside/folder/x.png", "x.png"),
        ("x.png", "{outside}/folder/x.png", "x.png"),
        ("x.png", "{outside}/fifo.png", "x.png"),
        ("x.png", "{outside}/missing.png", "x.png"),
        ("x.png", "/proc/self/root/etc/passwd", "x.png"),
        ("x.png", "/proc/self/exe", "x.png"),
        ("x.png", "/dev/null", "x.png"),
        ("out", "{outside}", "out/folder/x.png"),
        ("folder/out", "../../outside", "folder/out/folder/x.png"),
        ("up", "..", "up/outside/folder/x.png"),
        ("all", "/", "all/etc/passwd"),
    ],
)
def test_a_link_to_a_file_or_a_folder_never_leads_out(root: Path, link: str, target: str, reference: str) -> None:
    (root / link).symlink_to(target.format(outside=root.parent / "outside"))
    with pytest.raises(LeadsOutside):
        open_beneath(str(root), reference)


@pytest.mark.parametrize(
    ("target", "reference"),
    [
        ("folder/x.png", "link"),
        ("../root/folder/x.png", "link"),
        ("{root}/folder/x.png", "link"),
        ("{root}/folder", "link/x.png"),
        (".", "link/link/link/folder/x.png"),
        ("{root}", "link/folder/x.png"),
        ("/proc/self/root{root}/folder/x.png", "link"),
        ("folder", "link/../folder/../link/x.png"),
        ("folder", "../root/link/x.png"),
    ],
)
def test_a_link_that_ends_inside_the_root_is_followed(root: Path, target: str, reference: str) -> None:
    (root / "link").symlink_to(target.format(root=root))
    assert content(root, reference) == INSIDE


def test_a_link_of_proc_to_an_open_file_never_leads_out(root: Path) -> None:
    outside = os.open(root.parent / "outside" / "folder" / "x.png", os.O_RDONLY)
    inside = os.open(root / "folder" / "x.png", os.O_RDONLY)
    try:
        (root / "outside.png").symlink_to(f"/proc/self/fd/{outside}")
        (root / "inside.png").symlink_to(f"/proc/self/fd/{inside}")
        with pytest.raises(LeadsOutside):
            open_beneath(str(root), "outside.png")
        assert content(root, "inside.png") == INSIDE
        # Such links within the root are not followed, or refused because of their targets.
        with pytest.raises((LeadsOutside, OSError)):
            open_beneath("/proc/self", f"fd/{outside}")
    finally:
        os.close(outside)
        os.close(inside)


def test_a_root_can_be_a_link_or_end_in_a_slash(root: Path) -> None:
    (root.parent / "alias").symlink_to("root")
    (root / "absolute.png").symlink_to(root / "folder" / "x.png")
    for path in (str(root.parent / "alias"), f"{root}/", f"{root}/folder/.."):
        assert content(path, "folder/x.png") == INSIDE
        assert content(path, "absolute.png") == INSIDE
        with pytest.raises(LeadsOutside):
            open_beneath(path, "../outside/folder/x.png")


def test_a_path_that_can_not_be_opened_raises_its_error_and_leaves_no_open_file(root: Path) -> None:
    (root / "circle").symlink_to("circle")
    for reference, error in (
        ("gone.png", FileNotFoundError),
        ("folder/x.png/y", NotADirectoryError),
        ("circle", OSError),
        ("../outside/folder/x.png", LeadsOutside),
        ("x" * 300, OSError),
        ("x/" * 3000, OSError),
    ):
        with pytest.raises(error):
            open_beneath(str(root), reference)
    # Not the number of all open files: those of other tests may be closed meanwhile.
    assert not _open_below(root.parent)
    with open(root / "folder" / "x.png", "rb"):
        assert len(_open_below(root.parent)) == 1


def _open_below(folder: Path) -> list[str]:
    """Return the paths of the files and folders below a folder that this process has open."""
    found = []
    for number in os.listdir("/proc/self/fd"):
        with suppress(FileNotFoundError):  # the descriptor that listed them
            found.append(os.readlink(f"/proc/self/fd/{number}"))
    return [path for path in found if path.startswith(str(folder))]


@pytest.fixture(params=["file", "absolute link", "folder"])
def swapped(request: pytest.FixtureRequest, root: Path) -> Iterator[str]:
    """Yield a reference that leads inside and outside in turn, thousands of times a second."""
    outside = root.parent / "outside"
    (root / "out").symlink_to(outside / "folder")
    (root / "in").symlink_to(root / "folder")
    stop = threading.Event()

    def turn() -> None:
        while not stop.is_set():
            if request.param == "file":
                (root / "new").symlink_to(outside / "folder" / "x.png")
                (root / "new").replace(root / "x.png")
                (root / "new").write_bytes(INSIDE)
                (root / "new").replace(root / "x.png")
            elif request.param == "absolute link":
                for target in (outside, root):
                    (root / "new").symlink_to(target / "folder" / "x.png")
                    (root / "new").replace(root / "x.png")
            else:
                for name in ("out", "folder"):
                    (root / name).rename(root / "by-turns")
                    (root / "by-turns").rename(root / name)

    thread = threading.Thread(target=turn)
    thread.start()
    yield "by-turns/x.png" if request.param == "folder" else "folder/../x.png"
    stop.set()
    thread.join()


def test_a_link_that_is_swapped_between_check_and_open_never_leads_outside(root: Path, swapped: str) -> None:
    reads = {INSIDE: 0, OUTSIDE: 0}
    refused = 0
    # Thousands of reads, until both results have occurred often enough: the scheduler decides.
    while sum(reads.values()) + refused < 3000 or min(reads[INSIDE], refused) < 20:
        with suppress(OSError):  # it may be missing for a moment, or a link in place of a folder
            try:
                reads[content(root, swapped)] += 1
            except LeadsOutside:
                refused += 1
    assert reads[OUTSIDE] == 0


# A seccomp filter as container engines use it (<linux/filter.h>): it sets the result of openat2 and allows all else.
FILTERED = """
import ctypes, os, struct, sys
from pigeonhole.sources.beneath import LeadsOutside, has_openat2, open_beneath
answer, root = int(sys.argv[1]), sys.argv[2]
rules = ((0x20, 0, 0, 0), (0x15, 0, 1, 437), (0x06, 0, 0, answer), (0x06, 0, 0, 0x7FFF0000))
program = ctypes.create_string_buffer(b"".join(struct.pack("<HBBI", *rule) for rule in rules))
libc = ctypes.CDLL(None, use_errno=True)
assert libc.prctl(38, 1, 0, 0, 0) == 0, "no new privileges"
filter_ = struct.pack("<HxxxxxxQ", len(rules), ctypes.addressof(program))
assert libc.prctl(22, 2, ctypes.c_char_p(filter_), 0, 0) == 0, "seccomp"
def content(root, reference):
    try:
        with os.fdopen(open_beneath(root, reference)) as file: return file.read()
    except LeadsOutside: return "outside"
print(content("/", root[1:] + "/folder/x.png"))
print(has_openat2(), content(root, "folder/x.png"), content(root, "../outside/folder/x.png"), sep=";")
"""
ANSWERS = {"EPERM": 0x00050001, "ENOSYS": 0x00050026, "kill": 0x80000000}


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="seccomp is Linux's")
@pytest.mark.parametrize("answer", ANSWERS)
def test_without_openat2_files_are_checked_another_way_and_the_root_folder_needs_no_check(
    root: Path, answer: str
) -> None:
    command = [sys.executable, "-c", FILTERED, str(ANSWERS[answer]), str(root)]
    run = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=60, check=False)
    first, _, rest = run.stdout.partition("\n")
    if answer == "kill":  # openat2 would kill the process; reading below "/" never calls it
        assert run.returncode < 0
    else:
        assert rest == "False;from inside;outside\n", run.stderr
    assert first == "from inside" or (answer == "kill" and not first)


def test_the_call_number_and_structure_match_the_kernel_header() -> None:
    assert ctypes.sizeof(beneath._OpenHow) == 24
    assert beneath._OPENAT2 == 437
