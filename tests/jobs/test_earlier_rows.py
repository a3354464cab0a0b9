"""Rows that a resumed command keeps, and images that it classifies again."""

import os
import shutil
import warnings
import zipfile
import zlib
from array import array
from collections.abc import Callable
from contextlib import closing
from dataclasses import replace
from pathlib import Path

import pytest

from pigeonhole.errors import OutputFailed
from pigeonhole.jobs.earlier_rows import EarlierRows
from pigeonhole.jobs.ownership import open_state
from pigeonhole.ledger.done import DoneBatch
from pigeonhole.row_options import RowOptions
from pigeonhole.sources.reference import Location
from tests.jobs.runs import (
    COMMAND,
    MODEL,
    ROOT,
    answers_to,
    deliver,
    finished,
    interrupted,
    paths_of,
    references,
    resumed,
    submitted,
)
from tests.sinks.formats import CSV
from tests.sources.conftest import touch


def missing(kept: EarlierRows, *sources: str) -> list[str]:
    return [reference.shown + reference.path for reference in kept.missing(references(*sources))]


def test_rows_whose_files_are_the_same_are_kept_and_their_images_left_out(folder: Path) -> None:
    odd = os.fsdecode(b"in/caf\xe9\r.png")
    touch("in/a.png", "in/two\nlines.png", os.fsencode(odd))
    interrupted("in")
    touch("in/b.png")
    with resumed() as kept:
        assert sorted(paths_of(kept)) == sorted(["in/a.png", "in/two\nlines.png", odd])
        assert missing(kept, "in") == ["in/b.png"]
        assert (kept.summary.images, kept.summary.kept) == (3, 3)
        assert kept.message() == "resuming: 3 rows kept"


def test_a_command_that_has_no_rows_yet_says_nothing(folder: Path) -> None:
    touch("in/a.png")
    with resumed() as kept:
        assert paths_of(kept) == []
        assert missing(kept, "in") == ["in/a.png"]
        assert kept.message() == ""


def rewrite(path: str) -> None:
    with open(path, "r+b") as file:
        file.write(b"other")


def in_place_of(path: str, other: str) -> None:
    os.rename(path, "before")
    os.rename(other, path)


def link(path: str, to: str) -> None:
    if os.path.islink(path):
        os.unlink(path)
    os.symlink(to, path)


def same_but_for_its_inode(path: str) -> None:
    """Replace a file by another with the same size and modification time, as on another memory card."""
    shutil.copy2(path, "copy")
    os.rename("copy", path)


#: Ways in which a path may lead to another file: the path, the files before, and the change.
CHANGES: dict[str, tuple[str, Callable[[], object], Callable[[], object]]] = {
    "it was written": ("a/1.png", lambda: None, lambda: rewrite("a/1.png")),
    "its times were set back": ("a/1.png", lambda: None, lambda: os.utime("a/1.png", (0, 0))),
    "another volume was mounted": ("a/1.png", lambda: None, lambda: same_but_for_its_inode("a/1.png")),
    "the folder": ("a/1.png", lambda: None, lambda: in_place_of("a", "b")),
    "a folder above it": ("a/in/1.png", lambda: None, lambda: in_place_of("a", "b")),
    "a link to the folder": ("now/1.png", lambda: link("now", "a"), lambda: link("now", "b")),
    "a link to a folder above it": ("now/in/1.png", lambda: link("now", "a"), lambda: link("now", "b")),
    "a link to the file": ("1.png", lambda: link("1.png", "a/1.png"), lambda: link("1.png", "b/1.png")),
    "what a link leads through": ("1.png", lambda: link("1.png", "a/1.png"), lambda: in_place_of("a", "b")),
}


@pytest.mark.parametrize("what", CHANGES)
def test_a_file_that_is_another_than_the_worker_read_loses_its_row(folder: Path, what: str) -> None:
    path, before, change = CHANGES[what]
    touch("a/1.png", "a/in/1.png", "b/1.png", "b/in/1.png", "same/1.png")
    before()
    interrupted(path, "same/1.png")
    change()
    with resumed() as kept:
        assert paths_of(kept) == ["same/1.png"]
        assert missing(kept, path, "same/1.png") == [path]
        assert kept.message() == "resuming: 1 row kept; classified again: 1 whose file has changed"


def test_what_the_worker_read_decides_and_not_what_was_there_before_or_after(folder: Path) -> None:
    """A folder is replaced while the command runs, and restored."""
    touch("a/1.png", "a/2.png", "b/1.png", "b/2.png")
    with closing(open_state("x.csv", COMMAND, CSV)) as state:
        run, (batch,) = submitted(state, references("a"))
        in_place_of("a", "b")
        answers = answers_to(batch)
        os.rename("a", "b")
        os.rename("before", "a")
        deliver(run, 0, batch, answers)
    with resumed() as kept:
        assert paths_of(kept) == []
        assert missing(kept, "a") == ["a/1.png", "a/2.png"]


def test_an_image_whose_identity_is_not_known_is_classified_again_if_its_file_is_there(folder: Path) -> None:
    touch("in/a.png", "list")
    Path("list").write_text("in/a.png\nin/late.png\nin/gone.png\n")
    with closing(open_state("x.csv", COMMAND, CSV)) as state:
        run, (batch,) = submitted(state, references("@list"))
        deliver(run, 0, batch, replace(answers_to(batch, errors=(1, 2)), identities=array("Q", [0, 0, 0])))
    touch("in/late.png")
    with resumed() as kept:
        assert paths_of(kept) == ["in/gone.png"]
        assert missing(kept, "@list") == ["in/a.png", "in/late.png"]


def test_what_is_gone_keeps_its_row(folder: Path) -> None:
    touch("a/1.png", "a/2.png", "a/gone.png")
    interrupted("a")
    touch("a/new.png")
    os.unlink("a/gone.png")
    with resumed() as kept:
        assert paths_of(kept) == ["a/1.png", "a/2.png", "a/gone.png"]
        assert missing(kept, "a") == ["a/new.png"]


def test_the_rows_of_another_model_are_made_again(folder: Path) -> None:
    touch("in/a.png")
    interrupted("in", model="digits@ba9876543210")
    with resumed("digits") as kept:  # with a broker, only the model's name is known
        assert paths_of(kept) == ["in/a.png"]
    with resumed() as kept:
        assert paths_of(kept) == []
        assert kept.message() == f"resuming: 0 rows kept; classified again: 1 by digits@ba9876543210, not {MODEL}"
    with resumed("digits") as kept:
        assert paths_of(kept) == [], "a row that was dropped stays so"


def test_what_is_listed_twice_and_has_one_row_is_classified_once_more(folder: Path) -> None:
    touch("a.png", "b.png")
    Path("one").write_text("a.png\nb.png\nb.png\n")
    Path("two").write_text("a.png\nb.png\na.png\nb.png\n")
    interrupted("@one")
    with resumed() as kept:
        assert paths_of(kept) == ["a.png", "b.png", "b.png"]
        assert missing(kept, "@two") == ["a.png"]


def test_the_error_rows_of_a_finished_run_are_made_again(folder: Path) -> None:
    touch("in/a.png", "in/b.png", "in/c.png")
    finished("in", errors=[1])
    with resumed() as kept:
        assert paths_of(kept) == [], "a finished run is not resumed"
    finished("in", errors=[1])
    with resumed(retry_errors=True) as kept:
        assert paths_of(kept) == ["in/a.png", "in/c.png"]
        assert missing(kept, "in") == ["in/b.png"]
        assert kept.message() == "resuming: 2 rows kept; classified again: 1 with an error"


def test_the_error_rows_of_an_interrupted_run_can_be_made_again_too(folder: Path) -> None:
    touch("in/a.png", "in/b.png")
    interrupted("in", errors=[0])
    with resumed() as kept:
        assert paths_of(kept) == ["in/a.png", "in/b.png"]
    with resumed(retry_errors=True) as kept:
        assert paths_of(kept) == ["in/b.png"]


def test_rows_that_are_kept_are_marked_by_the_threshold_of_this_run(folder: Path) -> None:
    touch("in/a.png", "in/b.png")
    interrupted("in", errors=[0])
    with closing(open_state("x.csv", COMMAND, CSV)) as state:
        kept = EarlierRows(state, MODEL, ROOT, options=RowOptions(0.95))
        assert [row.review for rows, _ in kept.batches() for row in rows] == [False, True]
        assert kept.summary.reviews == 1
        kept.close()


@pytest.mark.parametrize("batch", ["references", "answers"])
def test_a_damaged_record_costs_its_batch_and_not_the_run(folder: Path, batch: str) -> None:
    touch(*(f"in/{number:03}.png" for number in range(200)))
    with closing(open_state("x.csv", COMMAND, CSV)) as state:
        run, cut = submitted(state, references("in"))
        for number, one in enumerate(cut):
            deliver(run, number, one, answers_to(one))
        sizes = [len(one) for one in cut]
        broken = run._batches[1][0] if batch == "references" else run._answers[1]
    with open(".x.csv.pigeonhole", "r+b") as file:
        file.seek(broken + 60)
        file.write(b"damaged")
    with resumed() as kept:
        assert len(paths_of(kept)) == 200 - sizes[1]
        assert len(missing(kept, "in")) == sizes[1]


def test_answers_of_another_version_cost_their_batch_and_not_the_run(folder: Path) -> None:
    touch(*(f"in/{number:03}.png" for number in range(100)))
    with closing(open_state("x.csv", COMMAND, CSV)) as state:
        run, (first, second) = submitted(state, references("in"))
        deliver(run, 0, first, answers_to(first))
        later = zlib.compress(zlib.decompress(answers_to(second).encode()).replace(b'"v":4', b'"v":5'))
        run.deliver(DoneBatch(1, second.encode(), (("1", later),)))
    with resumed() as kept:
        assert len(paths_of(kept)) == len(first)
        assert len(missing(kept, "in")) == len(second)
        assert kept.message() == "resuming: 64 rows kept; classified again: 1 or more in a batch that can't be read"


def test_rows_come_from_all_earlier_runs_in_their_order(folder: Path) -> None:
    touch("in/a.png", "in/c.png")
    interrupted("in")
    touch("in/b.png")
    with closing(open_state("x.csv", COMMAND, CSV)) as state:
        kept = EarlierRows(state, MODEL, ROOT)
        paths_of(kept)
        run, (batch,) = submitted(state, kept.missing(references("in")))
        deliver(run, 0, batch, answers_to(batch))
        kept.close()
    rewrite("in/a.png")
    for _ in range(2):
        with resumed() as kept:
            assert paths_of(kept) == ["in/c.png", "in/b.png"]
            assert missing(kept, "in") == ["in/a.png"]


def test_what_a_pending_job_delivers_is_compared_as_well(folder: Path) -> None:
    """Workers had read a part of the images before the command was started again."""
    touch(*(f"in/{number:03}.png" for number in range(200)))
    interrupted("in")  # 64 of them have rows
    with resumed(pending=True) as kept:
        assert len(paths_of(kept)) == 64
        (run,) = kept._pending
        read = [(number, batch, answers_to(batch)) for number, batch in run.batches() if number]
        rewrite("in/150.png")
        rows = []
        for number, batch, answers in read:
            rows += kept.take(run, DoneBatch(number, batch.encode(), ((str(number), answers.encode()),))).rows
        assert len(rows) == 200 - 64 - 1
        assert kept.of_run == {run.number: 199}
        touch("in/new.png")
        assert missing(kept, "in") == ["in/150.png", "in/new.png"]
        assert kept.message() == "resuming: 199 rows kept; classified again: 1 whose file has changed"
    with resumed() as kept:
        assert len(paths_of(kept)) == 199


@pytest.mark.parametrize("linked", [False, True])
def test_rows_of_an_archive_are_kept_unless_it_was_changed(folder: Path, linked: bool) -> None:
    for name, content in (("real.zip", "one"), ("other.zip", "two")):
        with zipfile.ZipFile(name, "w") as archive:
            archive.writestr("a.png", content)
    link("x.zip", "real.zip") if linked else os.rename("real.zip", "x.zip")
    interrupted("x.zip")
    with resumed() as kept:
        assert paths_of(kept) == ["x.zip::a.png"]
        assert missing(kept, "x.zip") == []
    link("x.zip", "other.zip") if linked else os.rename("other.zip", "x.zip")
    with resumed() as kept:
        assert paths_of(kept) == []
        assert missing(kept, "x.zip") == ["x.zip::a.png"]


def test_members_of_an_archive_are_told_apart_by_their_place(folder: Path) -> None:
    with zipfile.ZipFile("x.zip", "w") as archive, warnings.catch_warnings():
        warnings.simplefilter("ignore")  # zipfile warns about the duplicate name
        for content in ("one", "other"):
            archive.writestr("a.png", content)
        archive.writestr("b.png", "b")
    finished("x.zip", errors=[1])
    with resumed(retry_errors=True) as kept:
        assert paths_of(kept) == ["x.zip::a.png", "x.zip::b.png"]
        (again,) = kept.missing(references("x.zip"))
        assert again.place == list(references("x.zip"))[1].place
    rewrite("x.zip")
    with resumed(retry_errors=True) as kept:
        assert paths_of(kept) == []


def test_where_the_paths_have_no_room_it_is_said_with_what_helps(folder: Path) -> None:
    touch("in/a.png")
    interrupted("in")
    with resumed() as kept:
        paths_of(kept)
        assert kept._index is not None
        kept._index.execute("PRAGMA max_page_count = 1")
        with pytest.raises(OutputFailed, match="set TMPDIR"):
            kept._note((f"{number}.png", Location("file", "", f"{number}.png")) for number in range(1000))
