"""If a volume is unmounted or replaced while a worker reads, its images do not count as missing."""

import errno
import itertools
import logging
import os
import shutil
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import pytest

from pigeonhole.ledger.dead_letters import DeadLetters
from pigeonhole.ledger.ledger import Ledger
from pigeonhole.ledger.wire.messages import Batch, Group
from pigeonhole.models.classifier import Classifier
from pigeonhole.settings import Settings
from pigeonhole.sources.beneath import open_beneath
from tests.worker.test_tasks import job_with
from worker.processing import folders
from worker.processing.folders import FolderGone, Folders
from worker.processing.processor import Processor

NAMES = tuple(f"{number}.png" for number in range(6))


@pytest.fixture
def card(root: Path) -> Path:
    """Return a folder with images, which stands for a mounted memory card."""
    card = root / "card"
    for folder in ("a", "b"):
        (card / folder).mkdir(parents=True)
        for name in NAMES:
            shutil.copy(root / "samples" / "003b50.png", card / folder / name)
    return card


@pytest.fixture
def processor(
    settings: Settings, root: Path, classifier: Classifier, ledger: Ledger, monkeypatch: pytest.MonkeyPatch
) -> Processor:
    monkeypatch.setattr("worker.processing.processor._HELD", 0.0)
    return Processor(replace(settings, image_root=str(root), chunk=4), classifier, ledger)


def batch(folder: str, names: tuple[str, ...] = NAMES) -> Batch:
    return Batch((Group("file", folder, folder, names),))


def unmount(card: Path) -> None:
    """Replace the folder by an empty one, as an unmount does."""
    card.rename(card.with_name("elsewhere"))
    card.mkdir()


def mount(card: Path) -> None:
    """Put the folder back in place of the empty one."""
    card.rmdir()
    card.with_name("elsewhere").rename(card)


@pytest.mark.parametrize("folder", ["card/a/", "card/b/"])
def test_a_batch_of_an_unmounted_volume_waits_and_has_its_rows_after_the_mount(
    folder: str, processor: Processor, ledger: Ledger, settings: Settings, card: Path, caplog: pytest.LogCaptureFixture
) -> None:
    first, piece = job_with(ledger, batch("card/a/"))
    assert processor.work(first, piece)
    job, piece = job_with(ledger, batch(folder))
    unmount(card)
    with caplog.at_level(logging.ERROR):
        assert not processor.work(job, piece)
    for part in (f"job {job}: batch 0", f"'{card}'"):
        assert part in caplog.text
    assert (ledger.status(job).done, ledger.status(job).batches_waiting) == (0, 1)
    (letter,) = DeadLetters(settings).of_job(job)
    assert letter.what.startswith(f"job {job}, batch 0")
    assert f"'{card}'" in letter.why
    mount(card)
    assert processor.work(job, piece)
    assert (ledger.status(job).state, ledger.status(job).errors) == ("finished", 0)


def test_a_volume_unmounted_during_a_batch_causes_no_error_row(
    processor: Processor, ledger: Ledger, card: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    reader = processor._pipeline.reader
    read, calls = type(reader).read, itertools.count(1)

    def unmounting(*arguments: object) -> object:
        if next(calls) == 6:
            unmount(card)
        return read(*arguments)  # type: ignore[arg-type]

    monkeypatch.setattr(type(reader), "read", unmounting)
    job, piece = job_with(ledger, batch("card/a/"))
    assert not processor.work(job, piece)
    mount(card)
    assert processor.work(job, piece)
    assert (ledger.status(job).state, ledger.status(job).errors) == ("finished", 0)


def test_a_volume_mounted_again_before_the_check_causes_no_error_row(
    card: Path, processor: Processor, ledger: Ledger, monkeypatch: pytest.MonkeyPatch
) -> None:
    check = Folders.check

    def mounting(known: Folders, absent: Mapping[str, int]) -> None:
        if absent:
            monkeypatch.setattr(Folders, "check", check)
            mount(card)
        check(known, absent)

    processor.work(*job_with(ledger, batch("card/a/", NAMES[:1])))  # now the folder is known
    job, piece = job_with(ledger, batch("card/a/"))
    unmount(card)
    monkeypatch.setattr(Folders, "check", mounting)
    assert not processor.work(job, piece)
    assert processor.work(job, piece)
    assert ledger.status(job).errors == 0


def test_an_input_output_error_in_a_known_folder_holds_no_batch_back(card: Path, root: Path) -> None:
    known = Folders(str(root))
    known.note("card/a/1.png")
    known.check({"card/a/2.png": errno.EIO})


def test_a_batch_waits_for_a_volume_that_does_not_answer(
    processor: Processor, ledger: Ledger, card: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    stat = os.stat

    def failing_open(root: str, path: str) -> int:
        raise OSError(errno.ENOTCONN, "Transport endpoint is not connected")

    def failing_stat(path: str) -> os.stat_result:
        if path.startswith(str(card)):
            failing_open("", path)
        return stat(path)

    monkeypatch.setattr("pigeonhole.sources.local_files.open_beneath", failing_open)
    monkeypatch.setattr(processor._pipeline.reader.budget, "_left", 0.0)
    job, piece = job_with(ledger, batch("card/a/"))
    with monkeypatch.context() as patch:
        patch.setattr(os, "stat", failing_stat)
        assert not processor.work(job, piece)
    monkeypatch.setattr("pigeonhole.sources.local_files.open_beneath", open_beneath)
    assert processor.work(job, piece)
    assert ledger.status(job).errors == 0


def test_images_deleted_from_an_existing_folder_are_missing(processor: Processor, ledger: Ledger, card: Path) -> None:
    first, piece = job_with(ledger, batch("card/a/"))
    assert processor.work(first, piece)
    for name in NAMES:
        (card / "a" / name).unlink()
    shutil.rmtree(card / "b")
    for folder in ("card/a/", "card/b/", "never/there/"):
        job, piece = job_with(ledger, batch(folder))
        assert processor.work(job, piece)
        assert (ledger.status(job).state, ledger.status(job).errors) == ("finished", len(NAMES))


def test_a_deleted_folder_is_not_taken_for_an_unmounted_volume(
    processor: Processor, ledger: Ledger, card: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    first, piece = job_with(ledger, batch("card/a/"))
    assert processor.work(first, piece)
    shutil.rmtree(card)
    job, piece = job_with(ledger, batch("card/a/"))
    assert processor.work(job, piece)
    assert ledger.status(job).errors == len(NAMES)


def test_a_mount_point_that_vanishes_with_its_volume_is_distinguished_from_a_deleted_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "media" / "card" / "a").mkdir(parents=True)
    stat, devices = os.stat, {"media": 1, "card": 2, "a": 2}

    def of_two_devices(path: str) -> os.stat_result:
        status = list(stat(path))
        status[2] = devices.get(Path(path).name, 1)
        return os.stat_result(status)

    monkeypatch.setattr(os, "stat", of_two_devices)
    known = Folders(str(tmp_path))
    known.note("media/card/a/1.png")
    shutil.rmtree(tmp_path / "media" / "card" / "a")
    known.check(dict.fromkeys(["media/card/a/2.png"], errno.ENOENT))
    shutil.rmtree(tmp_path / "media" / "card")
    with pytest.raises(FolderGone, match=r"media/card/a'"):
        known.check(dict.fromkeys(["media/card/a/2.png"], errno.ENOENT))
    known.check(dict.fromkeys(["media/other/2.png"], errno.ENOENT))


def test_a_later_process_knows_the_volumes_mounted_when_the_worker_started(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    table = tmp_path / "mountinfo"
    monkeypatch.setattr(folders, "_TABLE", table)
    root, card = tmp_path / "root", tmp_path / "root" / "a card"
    mounted = "27 1 8:17 / {} rw,relatime shared:1 - vfat /dev/sdb1 rw\n"
    table.write_text(mounted.format("/") + mounted.format(str(card).replace(" ", "\\040")))
    card.mkdir(parents=True)
    (root / "link").symlink_to(card)
    (root / "a cardboard").mkdir()
    folders.remember_mounts()
    monkeypatch.setenv(
        "_PIGEONHOLE_MOUNTED", os.environ["_PIGEONHOLE_MOUNTED"]
    )  # monkeypatch removes it after the test
    Folders(str(root)).check(dict.fromkeys(["a card/1.png", "link/1.png", "a cardboard/1.png", "1.png"], errno.ENOENT))
    table.write_text(mounted.format("/"))
    later = Folders(str(root))
    later.check(dict.fromkeys(["a cardboard/1.png", "1.png"], errno.ENOENT))
    for file in ("a card/1.png", "a card/b/1.png", "link/1.png"):
        with pytest.raises(FolderGone, match=r"root/a card'"):
            later.check(dict.fromkeys([file], errno.ENOENT))


def test_a_replaced_image_root_holds_all_batches_back(root: Path) -> None:
    known = Folders(str(root))
    known.check(dict.fromkeys(["never/there/1.png"], errno.ENOENT))
    root.rename(root.with_name("elsewhere"))
    with pytest.raises(FolderGone):
        known.check(dict.fromkeys(["never/there/1.png"], errno.ENOENT))
    root.mkdir()
    with pytest.raises(FolderGone):
        known.check(dict.fromkeys(["never/there/1.png"], errno.ENOENT))


def test_a_replacing_folder_is_accepted_after_a_file_in_it_was_read(card: Path, root: Path) -> None:
    known = Folders(str(root))
    known.note("card/a/1.png")
    unmount(card)
    (card / "a").mkdir()
    for _ in range(2):
        with pytest.raises(FolderGone):
            known.check(dict.fromkeys(["card/a/2.png"], errno.ENOENT))
    known.note("samples/003b50.png")
    with pytest.raises(FolderGone):
        known.check(dict.fromkeys(["card/a/2.png"], errno.ENOENT))
    known.note("card/a/1.png")
    known.check(dict.fromkeys(["card/a/2.png"], errno.ENOENT))


def test_memory_does_not_grow_with_the_number_of_folders(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(folders, "_MOST", 10)
    known = Folders(str(root))
    for number in range(100):
        (root / str(number)).mkdir()
        known.note(f"{number}/1.png")
    assert len(known._known) <= 12
    root.rename(root.with_name("elsewhere"))
    with pytest.raises(FolderGone):
        known.check(dict.fromkeys(["1/1.png"], errno.ENOENT))
