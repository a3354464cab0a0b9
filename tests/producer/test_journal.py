"""Going on with what an earlier run wrote: which rows are kept, and what is classified again."""

import json
import os
import subprocess
import sys
from collections.abc import Callable
from contextlib import AbstractContextManager, closing
from dataclasses import replace
from pathlib import Path

import pytest

from producer.journal import Command, Earlier, Journal, earlier, of_job
from producer.kept import Kept, begin, opened
from producer.rows import CSV_HEADER, Format, to_csv, to_jsonl
from producer.sinks import File
from producer.sources import Reference
from tests.conftest import ROOT, wait_for
from tests.producer.conftest import touch
from tests.producer.test_sinks import MODEL, at_most
from worker.contract.errors import OutputFailed, UsageError
from worker.contract.messages import Prediction

COMMAND = Command(("in", "caf\udce9"), False, "/home/a", "/", "csv")
#: No file of a test is older than this, and none is newer than that.
LONG_AGO, NEVER = 0, 2**62


def row(path: str, error: str = "", model: str = MODEL) -> Prediction:
    if error:
        return Prediction(path, "", None, False, error, model, ())
    return Prediction(path, "7", 0.9, False, "", model, (("7", 0.9),))


def interrupted(rows: list[Prediction], begun: int = NEVER, rest: bytes = b"", **changes: object) -> Earlier:
    """An earlier run that wrote some rows to `x.csv.part`; its files changed before it began, unless it is said."""
    Path("x.csv.part").write_bytes(CSV_HEADER + to_csv(rows) + rest)
    replace(Journal(COMMAND, begun), **changes).write("x.csv.part")  # type: ignore[arg-type]
    found = earlier("x.csv", COMMAND, retry_errors=False)
    assert found is not None
    return found


def kept_of(kept: Kept, format: Format = Format.csv) -> list[str]:
    return [os.fsdecode(line).split(",")[0] for line in kept.rows(format)]


def missing(kept: Kept, *paths: str) -> list[str]:
    return [reference.path for reference in kept.missing(Reference("", "", path, 0) for path in paths)]


def test_a_journal_is_what_it_was(folder: Path) -> None:
    journal = Journal(COMMAND, 1_800_000_000_123_456_789, "20270115-080000-abc123", 17)
    journal.write("x.csv.part")
    assert Journal.read("x.csv.part") == journal
    assert os.listdir(folder) == ["x.csv.part.journal"]
    assert json.loads(Path("x.csv.part.journal").read_text())["v"] == 1


def test_without_a_journal_there_is_nothing_to_go_on_with(folder: Path) -> None:
    Path("x.csv.part").write_bytes(CSV_HEADER + to_csv([row("a.png")]))
    assert earlier("x.csv", COMMAND, retry_errors=False) is None


WHOLE = json.dumps({"v": 1, "command": COMMAND.__dict__, "begun": 1, "job": "", "offset": 0})


@pytest.mark.parametrize(
    "text",
    [
        WHOLE.replace('"v": 1', '"v": 2'),
        WHOLE.replace('"begun"', '"began"'),
        WHOLE.replace('"begun": 1', '"begun": []'),
        WHOLE.replace('"offset": 0', '"offset": null'),
        WHOLE.replace('"job": ""', '"job": 1'),
        WHOLE.replace('["in"', "[1"),
        WHOLE.replace('"csv"', '"xml"'),
        WHOLE.replace('"folder"', '"older"'),
        WHOLE[:-1],
        '{"v": 1}',
        "[" * 10**5,
        "[]",
        "",
        "\0",
        "caf\u00e9",
    ],
)
def test_a_journal_that_is_not_understood_is_told_and_never_guessed_at(folder: Path, text: str) -> None:
    Path("x.csv.part.journal").write_text(text)
    with pytest.raises(UsageError) as error:
        earlier("x.csv", COMMAND, retry_errors=False)
    assert str(error.value).startswith(
        "'x.csv.part.journal', which says whose rows are in 'x.csv.part', is damaged, or another version of Pigeonhole "
        "wrote it ("
    )
    assert str(error.value).endswith("): `classify --fresh` starts over, or choose another place with -o")


@pytest.mark.parametrize(
    "change",
    [
        {"sources": ("in",)},
        {"null_separated": True},
        {"folder": "/home/b"},
        {"image_root": "/home"},
    ],
)
def test_the_rows_of_another_command_are_never_discarded_in_silence(folder: Path, change: dict[str, object]) -> None:
    interrupted([row("a.png"), row("two\nlines.png")], rest=b"half,a r")
    for retry_errors in (False, True):
        with pytest.raises(UsageError) as error:
            earlier("x.csv", replace(COMMAND, **change), retry_errors)  # type: ignore[arg-type]
        assert str(error.value) == (
            r"'x.csv.part' holds 2 rows of another command that was interrupted, `classify in caf\udce9` in "
            "'/home/a': run that again to go on with it, give --fresh to discard them, or choose another place with -o"
        )


def test_another_command_that_has_no_rows_yet_is_in_nobodys_way(folder: Path) -> None:
    interrupted([])
    assert earlier("x.csv", replace(COMMAND, folder="/b"), retry_errors=False) is None
    os.unlink("x.csv.part")
    assert earlier("x.csv", COMMAND, retry_errors=False) is None


def test_the_rows_there_are_stay_and_their_images_are_left_out(folder: Path) -> None:
    touch("a.png", "two\nlines.png", b"caf\xe9\r.png", "b.png")
    odd = os.fsdecode(b"caf\xe9\r.png")
    kept = Kept(interrupted([row("a.png"), row("two\nlines.png"), row(odd), row("gone.png", "missing: x")]), MODEL)
    with closing(kept), closing(opened("x.csv", Format.csv, kept)):
        assert Path("x.csv.part").read_bytes() == CSV_HEADER + to_csv(
            [row("a.png"), row("two\nlines.png"), row(odd), row("gone.png", "missing: x")]
        )
        assert missing(kept, "a.png", "two\nlines.png", odd, "b.png", "gone.png") == ["b.png"]
        assert (kept.summary.images, kept.summary.kept, kept.summary.errors.total()) == (4, 4, 1)
        assert kept.told() == "going on: 4 rows of 'x.csv.part' kept"


@pytest.mark.parametrize("rest", [b"half", b'"half\n', b'x,"7', b'"two\nlines,7,0.9,false,,m\n'])
def test_half_a_row_is_dropped(folder: Path, rest: bytes) -> None:
    with closing(Kept(interrupted([row("a.png")], rest=rest), MODEL)) as kept:
        assert kept_of(kept) == ["a.png"]


def test_rows_as_json_are_kept_as_they_are(folder: Path) -> None:
    rows = to_jsonl([row("a.png"), row(os.fsdecode(b"\xff\n.png"))])
    Path("x.jsonl.part").write_bytes(rows + b'{"path": "half')
    with closing(Kept(Earlier("x.jsonl.part", NEVER), MODEL)) as kept:
        assert b"".join(kept.rows(Format.jsonl)) == rows
        assert missing(kept, os.fsdecode(b"\xff\n.png"), "a.png", "b.png") == ["b.png"]


def test_a_file_that_changed_since_loses_its_row_whatever_its_dates_say(folder: Path) -> None:
    touch("same.png", "written.png", "dated.png", "moved.png")
    before = max(os.stat(name).st_ctime_ns for name in os.listdir())
    wait_for(lambda: tick() > before, "the next tick of the file system's clock")
    begun = tick()
    Path("written.png").write_bytes(b"x")
    os.utime("dated.png", (0, 0))  # its change time can't be set back
    os.rename("moved.png", "here.png")
    names = ["same.png", "written.png", "dated.png", "here.png"]
    with closing(Kept(interrupted([row(name) for name in names], begun=begun), MODEL)) as kept:
        assert kept_of(kept) == ["same.png"]
        assert missing(kept, *names) == names[1:]
        assert kept.told() == "going on: 1 row of 'x.csv.part' kept; classified again: 3 whose file has changed"


def tick() -> int:
    with closing(File("tick.csv", Format.csv)) as file:
        return file.begun


def test_the_rows_of_another_checkpoint_are_made_again(folder: Path) -> None:
    other = "digits@ba9876543210"
    found = interrupted([row("a.png"), row("b.png", model=other), row("c.png", "crashed: x", model="digits")])
    with closing(Kept(found, MODEL)) as kept:
        assert kept_of(kept) == ["a.png", "c.png"]
        assert kept.told().endswith(f"; classified again: 1 by {other}, not {MODEL}")
    with closing(Kept(found, "digits")) as kept:  # over a broker only its name is known
        assert kept_of(kept) == ["a.png", "b.png", "c.png"]
    with closing(Kept(found, "letters")) as kept:
        assert kept_of(kept) == []
        assert kept.told().startswith("starting over: 0 rows of 'x.csv.part' kept; classified again: ")


def test_what_is_listed_twice_and_has_one_row_is_classified_once_more(folder: Path) -> None:
    with closing(Kept(interrupted([row("a.png"), row("b.png"), row("b.png")]), MODEL)) as kept:
        kept_of(kept)
        for _ in range(2):  # each walk counts from the beginning
            assert missing(kept, "a.png", "b.png", "a.png", "b.png") == ["a.png"]


def test_the_error_rows_of_a_finished_run_are_made_again(folder: Path) -> None:
    Path("x.csv").write_bytes(CSV_HEADER + to_csv([row("a.png"), row("b.png", "missing: x"), row("c.png")]))
    found = earlier("x.csv", COMMAND, retry_errors=True)
    with closing(Kept(found, MODEL, retry_errors=True)) as kept:
        assert kept_of(kept) == ["a.png", "c.png"]
        assert missing(kept, "a.png", "b.png", "c.png", "d.png") == ["b.png", "d.png"]
        assert kept.told() == "going on: 2 rows of 'x.csv' kept; classified again: 1 with an error"
    assert earlier("x.csv", COMMAND, retry_errors=False) is None, "a finished run is not gone on with"


def test_the_error_rows_of_an_interrupted_run_are_made_again_and_not_those_of_the_one_before_it(folder: Path) -> None:
    Path("x.csv").write_bytes(CSV_HEADER + to_csv([row("old.png")]))
    interrupted([row("a.png"), row("b.png", "missing: x")])
    with closing(Kept(earlier("x.csv", COMMAND, retry_errors=True), MODEL, retry_errors=True)) as kept:
        assert kept_of(kept) == ["a.png"]


def test_without_rows_there_are_no_errors_to_retry(folder: Path) -> None:
    with pytest.raises(UsageError) as error:
        earlier("x.csv", COMMAND, retry_errors=True)
    assert str(error.value) == (
        "--retry-errors takes the rows of 'x.csv', and that can't be read: No such file or directory; leave it out to "
        "classify everything"
    )


def test_what_is_no_row_of_ours_is_told_and_left_as_it_is(folder: Path) -> None:
    found = interrupted([row("a.png")], rest=b"a,b\n" + to_csv([row("c.png")]))
    before = Path("x.csv.part").read_bytes()
    with closing(Kept(found, MODEL)) as kept, pytest.raises(UsageError) as error:
        opened("x.csv", Format.csv, kept)
    assert str(error.value) == (
        r"'x.csv.part' can't be gone on with: its row 2 is no row of ours: b'a,b\n' has not 6 fields; "
        "`classify --fresh` starts over"
    )
    assert Path("x.csv.part").read_bytes() == before
    assert sorted(os.listdir()) == ["x.csv.part", "x.csv.part.journal"]


def test_where_the_kept_rows_have_no_room_the_old_file_stays(folder: Path) -> None:
    found = interrupted([row(f"{number}.png") for number in range(3000)])
    before = Path("x.csv.part").read_bytes()
    with closing(Kept(found, MODEL)) as kept, at_most(len(before) - 1), pytest.raises(OutputFailed) as error:
        opened("x.csv", Format.csv, kept)
    assert str(error.value) == "'x.csv.part': the rows can't be written: File too large"
    assert Path("x.csv.part").read_bytes() == before
    assert sorted(os.listdir()) == ["x.csv.part", "x.csv.part.journal"]


def test_an_unreadable_part_is_told(folder: Path, as_nobody: Callable[[Path], AbstractContextManager[None]]) -> None:
    found = interrupted([row("a.png")])
    Path("x.csv.part").chmod(0)
    with as_nobody(folder), closing(Kept(found, MODEL)) as kept, pytest.raises(UsageError) as error:
        kept_of(kept)
    assert str(error.value) == "'x.csv.part' can't be read: Permission denied; `classify --fresh` starts over"


# What begins a run


def test_a_journal_names_a_job_that_goes_on_without_us_and_where_its_rows_begin(folder: Path) -> None:
    with closing(Kept(interrupted([row("a.png")]), MODEL)) as kept:
        file, job = begin("x.csv", COMMAND, kept, lambda: "new", shared=True)
        with closing(file):
            journal = Journal.read("x.csv.part")
            assert job == "new"
            assert journal == Journal(COMMAND, file.begun, "new", len(CSV_HEADER + to_csv([row("a.png")])))
    with closing(Kept(None)) as kept:
        file, job = begin("y.csv", COMMAND, kept, lambda: "new", shared=False)
        with closing(file):
            assert Journal.read("y.csv.part") == Journal(COMMAND, file.begun)


def test_a_job_that_goes_on_is_taken_up_and_its_rows_are_fetched_again(folder: Path) -> None:
    offset = len(CSV_HEADER + to_csv([row("a.png", "missing: x")]))
    found = interrupted([row("a.png", "missing: x"), row("b.png")], LONG_AGO, job="old", offset=offset)
    journal = Journal.read("x.csv.part")
    with closing(Kept(found, MODEL, goes_on=lambda job: job == "old")) as kept:
        file, job = begin("x.csv", COMMAND, kept, pytest.fail, shared=True)
        with closing(file):
            assert job == "old"
            assert Path("x.csv.part").read_bytes() == CSV_HEADER + to_csv([row("a.png", "missing: x")])
            assert Journal.read("x.csv.part") == journal
            assert kept.told() == "going on with job old; 1 row of 'x.csv.part' kept from before it"


def test_a_job_that_is_gone_leaves_all_its_rows(folder: Path) -> None:
    found = interrupted([row("a.png"), row("b.png")], job="old", offset=3)
    with closing(Kept(found, MODEL, goes_on=lambda job: False)) as kept:
        file, job = begin("x.csv", COMMAND, kept, lambda: "new", shared=True)
        file.finish()
    assert job == "new"
    assert Path("x.csv").read_bytes() == CSV_HEADER + to_csv([row("a.png"), row("b.png")])
    assert os.listdir(folder) == ["x.csv"], "a finished run leaves neither part nor journal"


def test_whoever_is_killed_before_a_new_job_is_noted_does_not_leave_the_old_ones_place(folder: Path) -> None:
    found = interrupted([row("a.png", "missing: x"), row("b.png")], job="old", offset=60)

    def killed() -> str:
        raise KeyboardInterrupt

    kept = Kept(found, MODEL, retry_errors=True)
    with closing(kept), closing(opened("x.csv", Format.csv, kept)):
        assert Journal.read("x.csv.part") == Journal(COMMAND, NEVER)


def test_where_no_journal_can_be_written_no_job_is_left_behind(folder: Path) -> None:
    os.mkdir("x.csv.part.journal.new")
    with closing(Kept(None)) as kept, pytest.raises(OutputFailed) as error:
        begin("x.csv", COMMAND, kept, pytest.fail, shared=True)
    assert str(error.value) == "'x.csv.part.journal' can't be written: Is a directory; choose another place with -o"


def test_a_wait_for_the_job_of_an_interrupted_classify_keeps_the_rows_before_its_own(folder: Path) -> None:
    offset = len(CSV_HEADER + to_csv([row("a.png")]))
    interrupted([row("a.png"), row("b.png")], job="old", offset=offset)
    with closing(Kept(of_job("x.csv", "old", Format.csv), goes_on=lambda job: True)) as kept:
        assert kept_of(kept) == ["a.png"]
    for job, format in (("another", Format.csv), ("old", Format.jsonl), (None, Format.csv)):
        with pytest.raises(UsageError) as error:
            of_job("x.csv", job, format)
        assert str(error.value).startswith("'x.csv.part' holds 2 rows of another command that was interrupted, ")
        assert str(error.value).endswith(": run that again to go on with it, or choose another place with -o")
    assert of_job("y.csv", "old", Format.csv) is None


# One at a time


def test_a_second_command_for_the_same_file_is_told_and_does_no_harm(folder: Path) -> None:
    first = File("x.csv", Format.csv)
    first.write([row("a.png")])
    for _ in range(2):
        with pytest.raises(OutputFailed) as error:
            File("x.csv", Format.csv)
        assert str(error.value) == (
            "'x.csv.part' is being written by another command: wait for its end, or choose another place with -o"
        )
    first.write([row("b.png")])
    first.finish()
    assert Path("x.csv").read_bytes() == CSV_HEADER + to_csv([row("a.png"), row("b.png")])
    File("x.csv", Format.csv).finish()


def test_whoever_writes_is_in_nobodys_way_once_killed(folder: Path) -> None:
    program = "import sys; from producer.sinks import File; from producer.rows import Format; "
    program += "file = File('x.csv', Format.csv); print(flush=True); sys.stdin.read()"
    line = [sys.executable, "-c", program]
    environment = os.environ | {"PYTHONPATH": str(ROOT)}
    with subprocess.Popen(line, stdin=subprocess.PIPE, stdout=subprocess.PIPE, env=environment) as other:
        assert other.stdout is not None
        other.stdout.readline()
        with pytest.raises(OutputFailed, match="is being written by another command"):
            File("x.csv", Format.csv)
        other.kill()
    File("x.csv", Format.csv).finish()
