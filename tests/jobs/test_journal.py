"""Going on with what an earlier run wrote: which rows are kept, and what is classified again."""

import errno
import json
import os
import subprocess
import sys
from collections.abc import Callable
from contextlib import AbstractContextManager, closing
from dataclasses import replace
from pathlib import Path

import pytest

from pigeonhole.errors import OutputFailed, UsageError
from pigeonhole.jobs.journal import Command, Earlier, Journal, Places, earlier, noting, of_job
from pigeonhole.jobs.kept import Kept, Listed, begin, opened
from pigeonhole.jobs.options import RowOptions
from pigeonhole.ledger.messages import Row
from pigeonhole.sinks.file import File
from pigeonhole.sinks.format import Format, LineFormat
from pigeonhole.sources.reference import Reference
from pigeonhole.text import minute
from tests.conftest import ROOT, wait_for
from tests.sinks.formats import CSV, JSONL
from tests.sinks.test_sinks import MODEL, at_most
from tests.sources.conftest import touch

COMMAND = Command(("in", "caf\udce9"), False, "/home/a", "/", "csv")
#: No file of a test is older than this, and none is newer than that.
LONG_AGO, NEVER = 0, 2**62


def row(path: str, error: str = "", model: str = MODEL) -> Row:
    if error:
        return Row(path, "", None, False, error, model, ())
    return Row(path, "7", 0.9, False, "", model, (("7", 0.9),))


def interrupted(rows: list[Row], begun: int = NEVER, rest: bytes = b"", **changes: object) -> Earlier:
    """An earlier run that wrote some rows to `x.csv.part`; its files changed before it began, unless it is said."""
    Path("x.csv.part").write_bytes(CSV.header + CSV.encode(rows) + rest)
    with noting("x.csv.part") as note:
        for one in rows:
            note(one.path, os.path.islink(one.path))
    replace(Journal(COMMAND, begun), **changes).write("x.csv.part")  # type: ignore[arg-type]
    found = earlier("x.csv", COMMAND, retry_errors=False)
    assert found is not None
    return found


def kept_of(kept: Kept, format: Format = CSV) -> list[str]:
    return [os.fsdecode(line).split(",")[0] for line in kept.rows(format)]


def missing(kept: Kept, *paths: str) -> list[str]:
    return [reference.path for reference in kept.missing(Reference("file", "", "", path) for path in paths)]


def test_a_journal_is_what_it_was(folder: Path) -> None:
    journal = Journal(COMMAND, 1_800_000_000_123_456_789, "20270115-080000-abc123", 17)
    journal.write("x.csv.part")
    assert Journal.read("x.csv.part") == journal
    assert os.listdir(folder) == ["x.csv.part.journal"]
    assert json.loads(Path("x.csv.part.journal").read_text())["v"] == 1


def test_without_a_journal_there_is_nothing_to_go_on_with(folder: Path) -> None:
    Path("x.csv.part").write_bytes(CSV.header + CSV.encode([row("a.png")]))
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
        {"review_below": 0.5},
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


def test_rows_that_another_threshold_marked_are_not_gone_on_with(folder: Path) -> None:
    interrupted([row("a.png")])
    command = replace(COMMAND, sources=("in",), review_below=0.95)
    Journal(command, NEVER, job="old").write("x.csv.part")
    finds: list[Callable[[], Earlier | None]] = [
        lambda: earlier("x.csv", replace(command, review_below=None), retry_errors=False),
        lambda: of_job("x.csv", "old", CSV),
        lambda: of_job("x.csv", "old", CSV, RowOptions(0.9)),
    ]
    for find in finds:
        with pytest.raises(UsageError) as error:
            find()
        assert "command that was interrupted, `classify in --review-below 0.95` in '/home/a': " in str(error.value)
    assert earlier("x.csv", command, retry_errors=False) is not None
    assert of_job("x.csv", "old", CSV, RowOptions(0.95)) is not None


def test_another_command_that_has_no_rows_yet_is_in_nobodys_way(folder: Path) -> None:
    interrupted([])
    assert earlier("x.csv", replace(COMMAND, folder="/b"), retry_errors=False) is None
    os.unlink("x.csv.part")
    assert earlier("x.csv", COMMAND, retry_errors=False) is None


def test_the_rows_there_are_stay_and_their_images_are_left_out(folder: Path) -> None:
    touch("a.png", "two\nlines.png", b"caf\xe9\r.png", "b.png")
    odd = os.fsdecode(b"caf\xe9\r.png")
    kept = Kept(interrupted([row("a.png"), row("two\nlines.png"), row(odd), row("gone.png", "missing: x")]), MODEL)
    with closing(kept), closing(opened("x.csv", CSV, kept)):
        assert Path("x.csv.part").read_bytes() == CSV.header + CSV.encode(
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
    rows = JSONL.encode([row("a.png"), row(os.fsdecode(b"\xff\n.png"))])
    Path("x.jsonl.part").write_bytes(rows + b'{"path": "half')
    with closing(Kept(Earlier("x.jsonl.part", NEVER), MODEL)) as kept:
        assert b"".join(kept.rows(JSONL)) == rows
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


def in_place_of(path: str, other: str) -> None:
    os.rename(path, "before")
    os.rename(other, path)


def link(path: str, to: str) -> None:
    if os.path.islink(path):
        os.unlink(path)
    os.symlink(to, path)


#: How a path comes to lead to another file without a trace on that file: what is there before, and what is done.
EXCHANGES: dict[str, tuple[str, Callable[[], object], Callable[[], object]]] = {
    "the folder": ("a/1.png", lambda: None, lambda: in_place_of("a", "b")),
    "a folder above it": ("a/in/1.png", lambda: None, lambda: in_place_of("a", "b")),
    "a link to the folder": ("now/1.png", lambda: link("now", "a"), lambda: link("now", "b")),
    "a link to a folder above it": ("now/in/1.png", lambda: link("now", "a"), lambda: link("now", "b")),
    "a link to the file": ("1.png", lambda: link("1.png", "a/1.png"), lambda: link("1.png", "b/1.png")),
    "what a link leads through": ("1.png", lambda: link("1.png", "a/1.png"), lambda: in_place_of("a", "b")),
}


@pytest.mark.parametrize("what", EXCHANGES)
def test_a_file_in_whose_place_an_older_one_was_put_loses_its_row(folder: Path, what: str) -> None:
    path, before, exchange = EXCHANGES[what]
    touch("a/1.png", "a/in/1.png", "b/1.png", "b/in/1.png", "same/1.png")
    before()
    found = interrupted([row(path), row("same/1.png")])  # no times tell anything
    exchange()
    with closing(Kept(found, MODEL)) as kept:
        assert kept_of(kept) == ["same/1.png"]
        assert kept.dropped == {"whose file has changed": 1}


def test_what_was_led_elsewhere_loses_its_row_by_its_own_change_time_where_no_place_is_known(folder: Path) -> None:
    touch("a.png", "b.png")
    os.symlink("a.png", "same.png")
    os.symlink("a.png", "led.png")
    begun = os.lstat("led.png").st_ctime_ns
    wait_for(lambda: tick() > begun, "the next tick of the file system's clock")
    begun = tick()
    link("led.png", "b.png")
    Path("x.csv").write_bytes(CSV.header + CSV.encode([row("same.png"), row("led.png")]))
    with closing(Kept(Earlier("x.csv", begun), MODEL, retry_errors=True)) as kept:
        assert kept_of(kept) == ["same.png"]


def test_files_that_come_and_go_do_not_cost_the_others_in_their_folder_their_rows(folder: Path) -> None:
    touch("a/1.png", "a/2.png", "a/gone.png")
    os.symlink("1.png", "a/link.png")
    rows = [row("a/1.png"), row("a/2.png"), row("a/link.png"), row("a/gone.png")]
    found = interrupted(rows)
    touch("a/new.png", "a/new/1.png")
    os.unlink("a/gone.png")
    with closing(Kept(found, MODEL)) as kept:
        assert kept_of(kept) == [one.path for one in rows], "what is gone has had its row"


@pytest.mark.parametrize(
    "noted",
    [
        None,  # a power failure; or an earlier version, which noted nothing
        '["a", 1, 2',  # half a line
        "\0" * 4096,
        "[]\n[[], 1]\n1\n",
        '["a"]\n',
        '{line}["a", 1, 2]\n',  # two things in one run
        '["a", 1, 2]\n{line}',
        '["a"]\n{line}',
    ],
)
def test_rows_without_a_place_are_made_again(folder: Path, noted: str | None) -> None:
    touch("a/1.png")
    found = interrupted([row("a/1.png"), row("gone.png")])
    side = Path("x.csv.part.folders")
    if noted is None:
        side.unlink()
    else:
        side.write_text(noted.replace("{line}", side.read_text().splitlines(keepends=True)[0]))
    with closing(Kept(found, MODEL)) as kept:
        assert kept_of(kept) == ["gone.png"]


def test_where_images_are_is_noted_once_before_they_are_submitted_and_unlike_their_rows(folder: Path) -> None:
    odd = os.fsdecode(b"caf\xe9\n")
    touch("a/1.png", "a/2.png", "b/1.png", os.fsencode(f"{odd}/1.png"), "1.png")
    os.symlink("1.png", "a/link.png")
    with closing(Kept(interrupted([row("b/1.png")]), MODEL)) as kept:
        file, _ = begin("x.csv", COMMAND, kept, str, shared=False)
        given = ["a/1.png", "b/1.png", "a/2.png", f"{odd}/1.png", "1.png", "gone/1.png", "a/1.png", "a/link.png"]
        references = kept.missing(Reference("file", "", "", path, link=path == "a/link.png") for path in given)
        for reference in references:
            assert Places.read("x.csv.part").have(reference.path, reference.link) == (reference.path != "gone/1.png")
        lines = [json.loads(line)[0] for line in Path("x.csv.part.folders").read_text().splitlines()]
        assert lines == ["b", "a", odd, ".", "gone", "a/link.png"]
        file.finish()
    assert "x.csv.part.folders" not in os.listdir(), "it goes with the journal"


def test_what_can_not_be_noted_does_not_end_the_submission(folder: Path) -> None:
    touch("a/1.png")
    with noting("x.csv.part") as note, at_most(0):
        note("a/1.png", False)
    assert not Places.read("x.csv.part")
    os.unlink("x.csv.part.folders")
    os.mkdir("x.csv.part.folders")
    with pytest.raises(OutputFailed, match=r"^'x.csv.part.folders' can't be written: Is a directory; choose another"):
        noting("x.csv.part").__enter__()


def test_whoever_is_killed_at_any_step_of_going_on_leaves_no_row_of_another_file(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The folder is exchanged before a command goes on, and perhaps back again after it was killed."""
    touch("a/1.png", "b/1.png", "same/1.png")
    made = max(os.stat(path).st_ctime_ns for path in ("a/1.png", "b/1.png", "same/1.png"))
    wait_for(lambda: tick() > made, "the next tick of the file system's clock")
    found = interrupted([row("a/1.png", "of: a"), row("same/1.png")])
    left = []

    def noticed(real: Callable[..., None]) -> Callable[..., None]:
        def step(*arguments: object) -> None:
            real(*arguments)
            left.append({path: path.read_bytes() for path in folder.glob("x.csv.part*")})

        return step

    in_place_of("a", "b")
    with monkeypatch.context() as patch, closing(Kept(found, MODEL)) as kept:
        for name in ("replace", "fsync", "unlink"):
            patch.setattr(os, name, noticed(getattr(os, name)))
        file, _ = begin("x.csv", COMMAND, kept, str, shared=False)
        with closing(file):
            for _ in kept.missing([Reference("file", "", "", "a/1.png")]):
                file.write([row("a/1.png", "of: b")])
        noticed(lambda: None)()
    assert len(left) > 5
    for now in ("b", "a"):
        for files in left:
            for path in folder.glob("x.csv.part*"):
                path.unlink()
            for path, content in files.items():
                path.write_bytes(content)
            with closing(Kept(earlier("x.csv", COMMAND, retry_errors=False), MODEL)) as kept:
                lines = b"".join(kept.rows(CSV))
            assert CSV.encode([row("same/1.png")]) in lines
            assert b"of: a" not in lines or now == "a"
            assert (b"of: b" in lines) == (now == "b" and files is left[-1])
        os.rename("a", "b")
        os.rename("before", "a")
        os.rename("b", "before")


def test_what_a_finished_run_left_can_be_gone_on_with_by_its_places_once_it_is_retried(folder: Path) -> None:
    touch("a/1.png", "b/1.png")
    os.symlink("a/1.png", "1.png")
    Path("x.csv").write_bytes(CSV.header + CSV.encode([row("a/1.png"), row("1.png"), row("b/1.png", "missing: x")]))
    with closing(Kept(Earlier("x.csv", NEVER), MODEL, retry_errors=True)) as kept:
        begin("x.csv", COMMAND, kept, str, shared=False)[0].close()
    Journal(COMMAND, NEVER).write("x.csv.part")  # no times tell anything
    found = earlier("x.csv", COMMAND, retry_errors=False)
    with closing(Kept(found, MODEL)) as kept:
        assert kept_of(kept) == ["a/1.png", "1.png"]
    in_place_of("a", "b")
    with closing(Kept(found, MODEL)) as kept:
        assert kept_of(kept) == []


def test_whoever_starts_afresh_discards_the_places_too(folder: Path) -> None:
    touch("a/1.png")
    interrupted([row("a/1.png")])
    with closing(Kept(None)) as kept:
        begin("x.csv", COMMAND, kept, str, shared=False)[0].close()
    assert Path("x.csv.part.folders").read_bytes() == b""


def test_a_job_that_is_taken_up_keeps_the_places_of_its_rows(folder: Path) -> None:
    touch("a/1.png", "b/1.png")
    found = interrupted([row("a/1.png")], job="old", offset=len(CSV.header))
    with closing(Kept(found, MODEL, goes_on=lambda job: True)) as kept:
        file, _ = begin("x.csv", COMMAND, kept, pytest.fail, shared=True)
        list(kept.missing([Reference("file", "", "", "a/1.png"), Reference("file", "", "", "b/1.png")]))
        file.close()
    places = Places.read("x.csv.part")
    assert places.have("a/1.png", False)
    assert places.have("b/1.png", False)


def tick() -> int:
    with closing(File("tick.csv", CSV)) as file:
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
    Path("x.csv").write_bytes(CSV.header + CSV.encode([row("a.png"), row("b.png", "missing: x"), row("c.png")]))
    found = earlier("x.csv", COMMAND, retry_errors=True)
    with closing(Kept(found, MODEL, retry_errors=True)) as kept:
        assert kept_of(kept) == ["a.png", "c.png"]
        assert missing(kept, "a.png", "b.png", "c.png", "d.png") == ["b.png", "d.png"]
        assert kept.told() == "going on: 2 rows of 'x.csv' kept; classified again: 1 with an error"
    assert earlier("x.csv", COMMAND, retry_errors=False) is None, "a finished run is not gone on with"


@pytest.mark.parametrize("format", [CSV, JSONL])
def test_the_rows_that_are_kept_of_a_finished_run_are_marked_by_the_threshold_of_this_one(
    folder: Path, format: LineFormat
) -> None:
    def encoded(rows: list[Row]) -> bytes:
        return format.header + format.encode(rows)

    rows = [row("a.png"), row("b.png", "missing: x"), row("c.png")._replace(confidence=0.95)]
    Path(f"x.{format.name}").write_bytes(encoded(rows))
    found = earlier(f"x.{format.name}", replace(COMMAND, format=format.name, review_below=0.95), retry_errors=True)
    with (
        closing(Kept(found, MODEL, retry_errors=True, options=RowOptions(0.95))) as kept,
        closing(opened(f"x.{format.name}", format, kept)),
    ):
        assert Path(f"x.{format.name}.part").read_bytes() == encoded([rows[0]._replace(review=True), rows[2]])
        assert kept.summary.reviews == 1


def test_the_error_rows_of_an_interrupted_run_are_made_again_and_not_those_of_the_one_before_it(folder: Path) -> None:
    Path("x.csv").write_bytes(CSV.header + CSV.encode([row("old.png")]))
    interrupted([row("a.png"), row("b.png", "missing: x")])
    with closing(Kept(earlier("x.csv", COMMAND, retry_errors=True), MODEL, retry_errors=True)) as kept:
        assert kept_of(kept) == ["a.png"]


def references(*paths: str) -> list[Reference]:
    return [Reference("file", "", "in", path, size=3, link=path == "link.png") for path in paths]


def test_a_row_that_no_source_names_stays_where_it_was_whatever_it_says(folder: Path) -> None:
    odd = os.fsdecode(b"caf\xe9\n.png")
    rows = [row("a/bad.png", "decode: x"), row("b/1.png"), row(odd, "missing: x"), row("a/2.png", model="other@1")]
    Path("x.csv").write_bytes(CSV.header + CSV.encode(rows))
    found = earlier("x.csv", COMMAND, retry_errors=True)
    with (
        closing(Listed(references("b/1.png", odd))) as named,
        closing(Kept(found, MODEL, retry_errors=True, named=named)) as kept,
        closing(opened("x.csv", CSV, kept)),
    ):
        assert Path("x.csv.part").read_bytes() == CSV.header + CSV.encode([rows[0], rows[1], rows[3]])
        assert [reference.path for reference in kept.missing(named())] == [odd]
        assert kept.told() == "going on: 3 rows of 'x.csv' kept; classified again: 1 with an error"
        assert (kept.summary.kept, kept.summary.errors) == (3, {"decode": 1})


def test_what_is_listed_is_given_as_it_was_as_often_as_it_is_asked_for(folder: Path) -> None:
    listed = references("b.png", "link.png", os.fsdecode(b"\xff\n"), "b.png", "a.png")
    with closing(Listed(iter(listed))) as named:
        for _ in range(2):
            assert list(named()) == listed
        assert [named.times(path) for path in ("link.png", "b.png", "c.png")] == [1, 2, 0]


def test_without_rows_there_are_no_errors_to_retry(folder: Path) -> None:
    with pytest.raises(UsageError) as error:
        earlier("x.csv", COMMAND, retry_errors=True)
    assert str(error.value) == (
        "--retry-errors takes the rows of FILE, and 'x.csv' can't be read: No such file or directory; leave it out to "
        "classify everything"
    )


def test_what_is_no_row_of_ours_is_told_and_left_as_it_is(folder: Path) -> None:
    found = interrupted([row("a.png")], rest=b"a,b\n" + CSV.encode([row("c.png")]))
    before = Path("x.csv.part").read_bytes()
    with closing(Kept(found, MODEL)) as kept, pytest.raises(UsageError) as error:
        opened("x.csv", CSV, kept)
    assert str(error.value) == (
        r"'x.csv.part' can't be gone on with: its row 2 is no row of ours: b'a,b\n' has not 6 fields; "
        "`classify --fresh` starts over"
    )
    assert Path("x.csv.part").read_bytes() == before
    assert sorted(os.listdir()) == ["x.csv.part", "x.csv.part.folders", "x.csv.part.journal"]


def test_where_the_kept_rows_have_no_room_the_old_file_stays(folder: Path) -> None:
    found = interrupted([row(f"{number}.png") for number in range(3000)])
    before = Path("x.csv.part").read_bytes()
    with closing(Kept(found, MODEL)) as kept, at_most(len(before) - 1), pytest.raises(OutputFailed) as error:
        opened("x.csv", CSV, kept)
    assert str(error.value) == (
        "'x.csv.part': the rows can't be written: File too large; the rows in 'x.csv.part' are as they were: the same "
        "command again goes on with them once there is room"
    )
    assert Path("x.csv.part").read_bytes() == before
    assert sorted(os.listdir()) == ["x.csv.part", "x.csv.part.folders", "x.csv.part.journal"]


@pytest.mark.parametrize("rows", [[], [row("a.png")]])
def test_where_not_even_the_journal_has_room_only_rows_are_left_behind(folder: Path, rows: list[Row]) -> None:
    Path("x.csv").write_bytes(CSV.header + CSV.encode(rows))
    found = earlier("x.csv", COMMAND, retry_errors=True) if rows else None
    large = replace(COMMAND, sources=("long" * 1000,))
    with closing(Kept(found, MODEL)) as kept, at_most(1000), pytest.raises(OutputFailed) as error:
        begin("x.csv", large, kept, pytest.fail, shared=True)
    said, _, way_on = str(error.value).partition("; the rows in 'x.csv' are as they were: the same command again goes ")
    assert said == "'x.csv.part.journal' can't be written: File too large; choose another place with -o"
    assert way_on == ("on with them once there is room" if rows else "")
    left = [".part", ".part.folders"] if rows else []
    assert sorted(os.listdir()) == ["x.csv", *(f"x.csv{name}" for name in left)]


def test_where_there_is_room_for_nothing_nothing_is_left_behind(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(descriptor: int) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(os, "fsync", full)
    with closing(Kept(None)) as kept, pytest.raises(OutputFailed) as error:
        begin("x.csv", COMMAND, kept, pytest.fail, shared=True)
    assert str(error.value) == "'x.csv.part' can't be written: No space left on device; choose another place with -o"
    assert os.listdir() == []


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
            assert journal == Journal(COMMAND, file.begun, "new", len(CSV.header + CSV.encode([row("a.png")])))
    with closing(Kept(None)) as kept:
        file, job = begin("y.csv", COMMAND, kept, lambda: "new", shared=False)
        with closing(file):
            assert Journal.read("y.csv.part") == Journal(COMMAND, file.begun)


def test_a_job_that_goes_on_is_taken_up_and_its_rows_are_fetched_again(folder: Path) -> None:
    offset = len(CSV.header + CSV.encode([row("a.png", "missing: x")]))
    found = interrupted([row("a.png", "missing: x"), row("b.png")], LONG_AGO, job="old", offset=offset)
    journal = Journal.read("x.csv.part")
    with closing(Kept(found, MODEL, goes_on=lambda job: job == "old")) as kept:
        file, job = begin("x.csv", COMMAND, kept, pytest.fail, shared=True)
        with closing(file):
            assert job == "old"
            assert Path("x.csv.part").read_bytes() == CSV.header + CSV.encode([row("a.png", "missing: x")])
            assert Journal.read("x.csv.part") == journal
            assert kept.told() == (
                f"going on with job old, submitted at {minute(LONG_AGO)}; 1 row of 'x.csv.part' kept from before it; "
                "what changed or came since may not be in it: --fresh starts over"
            )


def test_a_job_with_all_of_its_rows_says_nothing_of_rows_before_it(folder: Path) -> None:
    found = interrupted([row("a.png")], LONG_AGO, job="old")
    with closing(Kept(found, MODEL, goes_on=lambda job: True)) as kept:
        assert kept_of(kept) == []
        assert kept.told() == (
            f"going on with job old, submitted at {minute(LONG_AGO)}; what changed or came since may not be in it: "
            "--fresh starts over"
        )


def test_a_job_that_is_gone_leaves_all_its_rows(folder: Path) -> None:
    found = interrupted([row("a.png"), row("b.png")], job="old", offset=3)
    with closing(Kept(found, MODEL, goes_on=lambda job: False)) as kept:
        file, job = begin("x.csv", COMMAND, kept, lambda: "new", shared=True)
        file.finish()
    assert job == "new"
    assert Path("x.csv").read_bytes() == CSV.header + CSV.encode([row("a.png"), row("b.png")])
    assert os.listdir(folder) == ["x.csv"], "a finished run leaves neither part nor journal"


def test_whoever_is_killed_before_a_new_job_is_noted_does_not_leave_the_old_ones_place(folder: Path) -> None:
    found = interrupted([row("a.png", "missing: x"), row("b.png")], job="old", offset=60)

    def killed() -> str:
        raise KeyboardInterrupt

    kept = Kept(found, MODEL, retry_errors=True)
    with closing(kept), closing(opened("x.csv", CSV, kept)):
        assert Journal.read("x.csv.part") == Journal(COMMAND, NEVER)


def test_where_no_journal_can_be_written_no_job_is_left_behind(folder: Path) -> None:
    os.mkdir("x.csv.part.journal.new")
    with closing(Kept(None)) as kept, pytest.raises(OutputFailed) as error:
        begin("x.csv", COMMAND, kept, pytest.fail, shared=True)
    assert str(error.value) == "'x.csv.part.journal' can't be written: Is a directory; choose another place with -o"


def test_a_wait_for_the_job_of_an_interrupted_classify_keeps_the_rows_before_its_own(folder: Path) -> None:
    offset = len(CSV.header + CSV.encode([row("a.png")]))
    interrupted([row("a.png"), row("b.png")], job="old", offset=offset)
    with closing(Kept(of_job("x.csv", "old", CSV), goes_on=lambda job: True)) as kept:
        assert kept_of(kept) == ["a.png"]
    for job, format in (("another", CSV), ("old", JSONL), (None, CSV)):
        with pytest.raises(UsageError) as error:
            of_job("x.csv", job, format)
        assert str(error.value).startswith("'x.csv.part' holds 2 rows of another command that was interrupted, ")
        assert str(error.value).endswith(": run that again to go on with it, or choose another place with -o")
    assert of_job("y.csv", "old", CSV) is None


# One at a time


def test_a_second_command_for_the_same_file_is_told_and_does_no_harm(folder: Path) -> None:
    first = File("x.csv", CSV)
    first.write([row("a.png")])
    for _ in range(2):
        with pytest.raises(OutputFailed) as error:
            File("x.csv", CSV)
        assert str(error.value) == (
            "'x.csv.part' is being written by another command: wait for its end, or choose another place with -o"
        )
    first.write([row("b.png")])
    first.finish()
    assert Path("x.csv").read_bytes() == CSV.header + CSV.encode([row("a.png"), row("b.png")])
    File("x.csv", CSV).finish()


def test_another_command_that_is_writing_now_is_not_taken_for_an_interrupted_one(folder: Path) -> None:
    with closing(Kept(None)) as kept:
        file, _ = begin("x.csv", COMMAND, kept, str, shared=False)
        file.write([row("a.png")])
    message = "^'x.csv.part' is being written by another command: wait for its end, or choose another place with -o$"
    with pytest.raises(OutputFailed, match=message):
        earlier("x.csv", replace(COMMAND, sources=("other",)), retry_errors=False)
    with pytest.raises(OutputFailed, match=message):
        of_job("x.csv", "another", CSV)
    file.close()
    with pytest.raises(UsageError, match=r"holds 1 row of another command that was interrupted"):
        earlier("x.csv", replace(COMMAND, sources=("other",)), retry_errors=False)


def test_whoever_writes_is_in_nobodys_way_once_killed(folder: Path) -> None:
    program = "import sys; from pigeonhole.sinks.file import File; from tests.sinks.formats import CSV; "
    program += "file = File('x.csv', CSV); print(flush=True); sys.stdin.read()"
    line = [sys.executable, "-c", program]
    environment = os.environ | {"PYTHONPATH": str(ROOT)}
    with subprocess.Popen(line, stdin=subprocess.PIPE, stdout=subprocess.PIPE, env=environment) as other:
        assert other.stdout is not None
        other.stdout.readline()
        with pytest.raises(OutputFailed, match="is being written by another command"):
            File("x.csv", CSV)
        other.kill()
    File("x.csv", CSV).finish()
