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
from tests.jobs.resume.runs import (
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
from tests.messages import check_message
from tests.sinks.formats import CSV
from tests.sources.conftest import touch


def missing(earlier: EarlierRows, *sources: str) -> list[str]:
    return [reference.shown + reference.path for reference in earlier.missing(references(*sources))]


def test_rows_of_unchanged_files_are_kept_and_their_images_are_not_submitted(folder: Path) -> None:
    odd = os.fsdecode(b"in/caf\xe9\r.png")
    touch("in/a.png", "in/two\nlines.png", os.fsencode(odd))
    interrupted("in")
    touch("in/b.png")
    with resumed() as earlier:
        assert sorted(paths_of(earlier)) == sorted(["in/a.png", "in/two\nlines.png", odd])
        assert missing(earlier, "in") == ["in/b.png"]
        assert (earlier.summary.images, earlier.summary.kept) == (3, 3)
        check_message(earlier.message(), "3 rows kept")
        assert "again" not in earlier.message()


def test_a_command_without_earlier_rows_prints_no_message(folder: Path) -> None:
    touch("in/a.png")
    with resumed() as earlier:
        assert paths_of(earlier) == []
        assert missing(earlier, "in") == ["in/a.png"]
        assert earlier.message() == ""


def rewrite(path: str) -> None:
    with open(path, "r+b") as file:
        file.write(b"other")


def replace_by(path: str, other: str) -> None:
    os.rename(path, "before")
    os.rename(other, path)


def link(path: str, to: str) -> None:
    if os.path.islink(path):
        os.unlink(path)
    os.symlink(to, path)


def replace_by_a_copy(path: str) -> None:
    """Replace a file by another with the same size and modification time, as on another memory card."""
    shutil.copy2(path, "copy")
    os.rename("copy", path)


#: Changes after which a path leads to another file: the path, the set-up, and the change.
CHANGES: dict[str, tuple[str, Callable[[], object], Callable[[], object]]] = {
    "it was written": ("a/1.png", lambda: None, lambda: rewrite("a/1.png")),
    "its times were set back": ("a/1.png", lambda: None, lambda: os.utime("a/1.png", (0, 0))),
    "another volume was mounted": ("a/1.png", lambda: None, lambda: replace_by_a_copy("a/1.png")),
    "the folder": ("a/1.png", lambda: None, lambda: replace_by("a", "b")),
    "a folder above it": ("a/in/1.png", lambda: None, lambda: replace_by("a", "b")),
    "a link to the folder": ("now/1.png", lambda: link("now", "a"), lambda: link("now", "b")),
    "a link to a folder above it": ("now/in/1.png", lambda: link("now", "a"), lambda: link("now", "b")),
    "a link to the file": ("1.png", lambda: link("1.png", "a/1.png"), lambda: link("1.png", "b/1.png")),
    "a folder on the way of a link": ("1.png", lambda: link("1.png", "a/1.png"), lambda: replace_by("a", "b")),
}


@pytest.mark.parametrize("what", CHANGES)
def test_a_file_that_differs_from_the_one_that_the_worker_read_loses_its_row(folder: Path, what: str) -> None:
    path, before, change = CHANGES[what]
    touch("a/1.png", "a/in/1.png", "b/1.png", "b/in/1.png", "same/1.png")
    before()
    interrupted(path, "same/1.png")
    change()
    with resumed() as earlier:
        assert paths_of(earlier) == ["same/1.png"]
        assert missing(earlier, path, "same/1.png") == [path]
        check_message(earlier.message(), "1 row kept", "again: 1 whose file has changed")


def test_the_identity_at_the_workers_read_decides_and_not_one_before_or_after(folder: Path) -> None:
    """A folder is replaced while the command runs, and restored."""
    touch("a/1.png", "a/2.png", "b/1.png", "b/2.png")
    with closing(open_state("x.csv", COMMAND, CSV)) as state:
        run, (batch,) = submitted(state, references("a"))
        replace_by("a", "b")
        answers = answers_to(batch)
        os.rename("a", "b")
        os.rename("before", "a")
        deliver(run, 0, batch, answers)
    with resumed() as earlier:
        assert paths_of(earlier) == []
        assert missing(earlier, "a") == ["a/1.png", "a/2.png"]


def test_an_image_with_an_unknown_identity_is_classified_again_if_its_file_exists(folder: Path) -> None:
    touch("in/a.png", "list")
    Path("list").write_text("in/a.png\nin/late.png\nin/gone.png\n")
    with closing(open_state("x.csv", COMMAND, CSV)) as state:
        run, (batch,) = submitted(state, references("@list"))
        deliver(run, 0, batch, replace(answers_to(batch, errors=(1, 2)), identities=array("Q", [0, 0, 0])))
    touch("in/late.png")
    with resumed() as earlier:
        assert paths_of(earlier) == ["in/gone.png"]
        assert missing(earlier, "@list") == ["in/a.png", "in/late.png"]


def test_a_removed_file_keeps_its_row(folder: Path) -> None:
    touch("a/1.png", "a/2.png", "a/gone.png")
    interrupted("a")
    touch("a/new.png")
    os.unlink("a/gone.png")
    with resumed() as earlier:
        assert paths_of(earlier) == ["a/1.png", "a/2.png", "a/gone.png"]
        assert missing(earlier, "a") == ["a/new.png"]


def test_rows_of_another_model_are_classified_again(folder: Path) -> None:
    touch("in/a.png")
    interrupted("in", model="digits@ba9876543210")
    with resumed("digits") as earlier:  # with a broker, only the model's name is known
        assert paths_of(earlier) == ["in/a.png"]
    with resumed() as earlier:
        assert paths_of(earlier) == []
        check_message(earlier.message(), "0 rows kept", f"again: 1 by digits@ba9876543210, not {MODEL}")
    with resumed("digits") as earlier:
        assert paths_of(earlier) == [], "a dropped row stays dropped"


def test_an_image_that_is_listed_twice_and_has_one_row_is_classified_once_more(folder: Path) -> None:
    touch("a.png", "b.png")
    Path("one").write_text("a.png\nb.png\nb.png\n")
    Path("two").write_text("a.png\nb.png\na.png\nb.png\n")
    interrupted("@one")
    with resumed() as earlier:
        assert paths_of(earlier) == ["a.png", "b.png", "b.png"]
        assert missing(earlier, "@two") == ["a.png"]


def test_retry_errors_classifies_the_error_rows_of_a_finished_run_again(folder: Path) -> None:
    touch("in/a.png", "in/b.png", "in/c.png")
    finished("in", errors=[1])
    with resumed() as earlier:
        assert paths_of(earlier) == [], "a finished run is not resumed"
    finished("in", errors=[1])
    with resumed(retry_errors=True) as earlier:
        assert paths_of(earlier) == ["in/a.png", "in/c.png"]
        assert missing(earlier, "in") == ["in/b.png"]
        check_message(earlier.message(), "2 rows kept", "again: 1 with an error")


def test_retry_errors_classifies_the_error_rows_of_an_interrupted_run_again(folder: Path) -> None:
    touch("in/a.png", "in/b.png")
    interrupted("in", errors=[0])
    with resumed() as earlier:
        assert paths_of(earlier) == ["in/a.png", "in/b.png"]
    with resumed(retry_errors=True) as earlier:
        assert paths_of(earlier) == ["in/b.png"]


def test_kept_rows_are_marked_for_review_by_the_threshold_of_this_run(folder: Path) -> None:
    touch("in/a.png", "in/b.png")
    interrupted("in", errors=[0])
    with closing(open_state("x.csv", COMMAND, CSV)) as state:
        earlier = EarlierRows(state, MODEL, ROOT, options=RowOptions(0.95))
        assert [row.review for rows, _ in earlier.batches() for row in rows] == [False, True]
        assert earlier.summary.reviews == 1
        earlier.close()


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
    with resumed() as earlier:
        assert len(paths_of(earlier)) == 200 - sizes[1]
        assert len(missing(earlier, "in")) == sizes[1]


def test_answers_of_another_version_cost_their_batch_and_not_the_run(folder: Path) -> None:
    touch(*(f"in/{number:03}.png" for number in range(100)))
    with closing(open_state("x.csv", COMMAND, CSV)) as state:
        run, (first, second) = submitted(state, references("in"))
        deliver(run, 0, first, answers_to(first))
        later = zlib.compress(zlib.decompress(answers_to(second).encode()).replace(b'"v":4', b'"v":5'))
        run.deliver(DoneBatch(1, second.encode(), (("1", later),)))
    with resumed() as earlier:
        assert len(paths_of(earlier)) == len(first)
        assert len(missing(earlier, "in")) == len(second)
        check_message(earlier.message(), "64 rows kept", "again: 1 or more in a batch")


def test_rows_of_all_earlier_runs_are_kept_in_order(folder: Path) -> None:
    touch("in/a.png", "in/c.png")
    interrupted("in")
    touch("in/b.png")
    with closing(open_state("x.csv", COMMAND, CSV)) as state:
        earlier = EarlierRows(state, MODEL, ROOT)
        paths_of(earlier)
        run, (batch,) = submitted(state, earlier.missing(references("in")))
        deliver(run, 0, batch, answers_to(batch))
        earlier.close()
    rewrite("in/a.png")
    for _ in range(2):
        with resumed() as earlier:
            assert paths_of(earlier) == ["in/c.png", "in/b.png"]
            assert missing(earlier, "in") == ["in/a.png"]


def test_rows_of_a_pending_job_are_compared_with_the_files_too(folder: Path) -> None:
    """Workers had read a part of the images before the command was started again."""
    touch(*(f"in/{number:03}.png" for number in range(200)))
    interrupted("in")  # 64 of them have rows
    with resumed(pending=True) as earlier:
        assert len(paths_of(earlier)) == 64
        (run,) = earlier._pending
        read = [(number, batch, answers_to(batch)) for number, batch in run.batches() if number]
        rewrite("in/150.png")
        rows = []
        for number, batch, answers in read:
            rows += earlier.take(run, DoneBatch(number, batch.encode(), ((str(number), answers.encode()),))).rows
        assert len(rows) == 200 - 64 - 1
        assert earlier.of_run == {run.number: 199}
        touch("in/new.png")
        assert missing(earlier, "in") == ["in/150.png", "in/new.png"]
        check_message(earlier.message(), "199 rows kept", "again: 1 whose file has changed")
    with resumed() as earlier:
        assert len(paths_of(earlier)) == 199


@pytest.mark.parametrize("linked", [False, True])
def test_rows_of_an_archive_are_kept_until_it_changes(folder: Path, linked: bool) -> None:
    for name, content in (("real.zip", "one"), ("other.zip", "two")):
        with zipfile.ZipFile(name, "w") as archive:
            archive.writestr("a.png", content)
    link("x.zip", "real.zip") if linked else os.rename("real.zip", "x.zip")
    interrupted("x.zip")
    with resumed() as earlier:
        assert paths_of(earlier) == ["x.zip::a.png"]
        assert missing(earlier, "x.zip") == []
    link("x.zip", "other.zip") if linked else os.rename("other.zip", "x.zip")
    with resumed() as earlier:
        assert paths_of(earlier) == []
        assert missing(earlier, "x.zip") == ["x.zip::a.png"]


def test_archive_members_with_the_same_name_are_distinguished_by_their_place(folder: Path) -> None:
    with zipfile.ZipFile("x.zip", "w") as archive, warnings.catch_warnings():
        warnings.simplefilter("ignore")  # zipfile warns about the duplicate name
        for content in ("one", "other"):
            archive.writestr("a.png", content)
        archive.writestr("b.png", "b")
    finished("x.zip", errors=[1])
    with resumed(retry_errors=True) as earlier:
        assert paths_of(earlier) == ["x.zip::a.png", "x.zip::b.png"]
        (again,) = earlier.missing(references("x.zip"))
        assert again.place == list(references("x.zip"))[1].place
    rewrite("x.zip")
    with resumed(retry_errors=True) as earlier:
        assert paths_of(earlier) == []


def test_without_disk_space_for_the_paths_the_error_names_tmpdir(folder: Path) -> None:
    touch("in/a.png")
    interrupted("in")
    with resumed() as earlier:
        paths_of(earlier)
        assert earlier._index is not None
        earlier._index.execute("PRAGMA max_page_count = 1")
        with pytest.raises(OutputFailed, match="set TMPDIR"):
            earlier._note((f"{number}.png", Location("file", "", f"{number}.png")) for number in range(1000))
