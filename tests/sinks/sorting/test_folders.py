"""`--sort-into DIR`: which images get into which folder, under which name."""

import os
from contextlib import closing
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pigeonhole.sinks.folders.sorting import Sorter, folder_of
from tests.messages import check_message
from tests.sinks.sorting.sorted_folder import METHODS, Method, digest, errors, found, images, origins, row, sort


@pytest.mark.parametrize(("csv_safe", "shown"), [(False, "=1+1.png"), (True, "'=1+1.png")])
def test_the_list_of_errors_can_be_safe_for_spreadsheets(csv_safe: bool, shown: str) -> None:
    with closing(Sorter("out", csv_safe=csv_safe)) as sorter:
        rows = [row("=1+1.png", error="missing: no such file")]
        sorter.write(rows, origins(rows))
        sorter.finish()
    assert errors() == f"path,error\n{shown},missing: no such file\n"


@METHODS
def test_images_are_sorted_by_label_and_those_to_review_separately(method: Method) -> None:
    images("in/a.png", "in/b.png", "in/c.png")
    report = sort(
        row("in/a.png"), row("in/b.png", "4", review=True), row("in/c.png", error="truncated: of, 3"), method=method
    )
    assert found() == {"7/a.png": "in/a.png", "_review/4/b.png": "in/b.png"}
    assert errors() == 'path,error\nin/c.png,"truncated: of, 3"\n'
    check_message(report, "2 images sorted into 'out'", "1 listed in 'out/_errors.csv'")
    sorted_image = Path("out/7/a.png")
    assert sorted_image.is_symlink() == (method == "symbolic")
    assert sorted_image.samefile("in/a.png") == (method != "copy")
    if method == "symbolic":
        assert sorted_image.readlink() == Path("in/a.png").absolute()
    if method == "copy":
        assert sorted_image.stat().st_mtime == Path("in/a.png").stat().st_mtime


def test_equal_names_get_a_digest_of_their_path_and_no_file_is_overwritten() -> None:
    images("a/x.png", "b/x.png", "c/y.png", "d/y.png", "out/7/x.png")
    rows = [row("a/x.png"), row("b/x.png"), row("c/y.png"), row("d/y.png")]
    expected = {
        "7/x.png": "out/7/x.png",
        f"7/x-{digest('a/x.png')}.png": "a/x.png",
        f"7/x-{digest('b/x.png')}.png": "b/x.png",
        "7/y.png": "c/y.png",
        f"7/y-{digest('d/y.png')}.png": "d/y.png",
    }
    for _ in range(2):
        sort(*rows)
        assert found() == expected


def test_an_image_whose_two_names_are_taken_is_listed() -> None:
    images("in/x.png", "out/7/x.png", f"out/7/x-{digest('in/x.png')}.png")
    sort(row("in/x.png"))
    assert 'in/x.png,"not-sorted: ' in errors()


def test_a_name_of_maximal_length_is_shortened_for_its_suffix() -> None:
    long = "é" * 125 + ".png"
    images(f"a/{long}", f"b/{long}")
    sort(row(f"a/{long}"), row(f"b/{long}"))
    assert sorted(found().values()) == [f"a/{long}", f"b/{long}"]


@pytest.mark.parametrize(
    ("label", "name"),
    [
        ("7", "7"),
        ("tabby cat", "tabby cat"),
        ("größe", "größe"),
        ("a/b", "a%2Fb"),
        ("..", "%2E."),
        (".hidden", "%2Ehidden"),
        ("_review", "%5Freview"),
        ("nul\0", "nul%00"),
        ("50%", "50%25"),
        ("", "%"),
        ("caf\udce9", "caf%E9"),
    ],
)
def test_a_label_becomes_the_name_of_a_folder(label: str, name: str) -> None:
    assert folder_of(label) == name


#: Without lone surrogates that stand for no byte, which can't occur in messages and files.
ODD = st.text(st.sampled_from("/%._-2EF\0 \n\udce9aé") | st.characters(exclude_categories=["Cs"]), max_size=200)


@given(ODD, ODD)
def test_any_label_has_a_valid_and_unique_folder_name(one: str, other: str) -> None:
    for label in (one, other):
        name = folder_of(label)
        assert 0 < len(name.encode()) < 200
        assert name.isprintable()
        assert "/" not in name
        assert name[0] not in "._"
    assert (folder_of(one) == folder_of(other)) == (one == other)


def test_images_with_invalid_labels_and_names_are_sorted() -> None:
    name = os.fsdecode(b"in/\xff\n.png")
    images(name)
    sort(row(name, "../x" * 100))
    ((path, text),) = found().items()
    assert text == name
    assert Path("out", path).parent.parent == Path("out")


def test_an_image_inside_the_sorted_folder_is_not_sorted() -> None:
    images("in/a.png")
    sort(row("in/a.png"), row("out/7/a.png"))
    assert found() == {"7/a.png": "in/a.png"}
    check_message(errors(), "out/7/a.png,not-sorted: ", "--sort-into")


@METHODS
def test_an_image_whose_only_file_is_in_the_sorted_folder_is_left_there(method: Method) -> None:
    images("in/a.png")
    sort(row("in/a.png"), method="copy")
    Path("in/a.png").unlink()
    Path("in/a.png").symlink_to(Path("out/7/a.png").absolute())
    for again in (row("in/a.png", "3"), row("in/a.png", error="truncated: x")):
        sort(again, method=method)
        assert found() == {"7/a.png": "in/a.png"}
