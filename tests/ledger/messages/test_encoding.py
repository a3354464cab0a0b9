"""Batches and answers are decoded unchanged, and take few bytes."""

import re
import sys
import zlib
from array import array
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pigeonhole.errors import MessageInvalid
from pigeonhole.ledger.wire import columns
from pigeonhole.ledger.wire.messages import Answers, Batch, Group, Row
from pigeonhole.limits import MOST_CLASSES, PPM
from pigeonhole.row_options import RowOptions
from pigeonhole.sources.members.tar_archives import TarPlace
from pigeonhole.sources.members.zip_archives import ZipPlace
from pigeonhole.sources.reference import Location
from tests.ledger.conftest import answers_for, batch_of
from tests.ledger.messages.encoded import fair_answers, fair_batch, file_of, groups, json_values, packed, paths, texts

batches = st.builds(Batch, st.lists(groups(), max_size=4).map(tuple), st.integers(1, MOST_CLASSES))


@st.composite
def answers(draw: st.DrawFn) -> Answers:
    labels = tuple(draw(st.lists(texts, min_size=1, max_size=4)))
    images, top = draw(st.integers(0, 6)), draw(st.integers(1, len(labels)))
    count = images * top
    best = array("H", draw(st.lists(st.integers(0, len(labels) - 1), min_size=count, max_size=count)))
    ppm = array("I", draw(st.lists(st.integers(0, PPM), min_size=count, max_size=count)))
    failed = draw(st.sets(st.integers(0, images - 1))) if images else set()
    for at in failed:
        best[at * top : (at + 1) * top], ppm[at * top : (at + 1) * top] = array("H", [0] * top), array("I", [0] * top)
    review = frozenset(draw(st.sets(st.integers(0, images - 1))) if images else ()) - failed
    errors = {at: (draw(texts), draw(paths)) for at in failed}
    identities = array("Q", draw(st.lists(st.integers(0, 2**64 - 1), min_size=images, max_size=images)))
    if draw(st.booleans()):
        identities = array("Q")
    shares = draw(st.lists(st.integers(0, PPM), min_size=images, max_size=images))
    unknown = array("I", shares if draw(st.booleans()) else [])
    answered = Answers(draw(texts), labels, images, top, best, ppm, review, errors, draw(texts), identities)
    return replace(answered, batch=draw(texts), unknown=unknown)


@given(batches)
def test_a_batch_with_any_bytes_in_its_paths_is_decoded_unchanged(batch: Batch) -> None:
    again = Batch.decode(batch.encode())
    assert again == batch
    assert again.digest == batch.digest
    assert [*map(file_of, again.located())] == [*map(file_of, batch.located())]


@given(answers())
def test_answers_are_decoded_unchanged(original: Answers) -> None:
    assert Answers.decode(original.encode()) == original


def test_a_reference_is_shown_as_typed_and_located_below_the_root() -> None:
    batch = Batch((Group("file", "./", "home/u/", ("a.png", "b/c.png")), Group("file", "", "/etc/", ("x",))))
    assert list(batch.shown()) == ["./a.png", "./b/c.png", "x"]
    assert list(batch.located()) == [
        Location("file", "home/u/", "a.png"),
        Location("file", "home/u/", "b/c.png"),
        Location("file", "/etc/", "x"),
    ]
    assert len(batch) == 3


def test_an_archive_member_with_any_name_is_located_in_its_archive() -> None:
    members = Group("zip", "in/a.zip", "home/in/a.zip", ("::../x.png",), (ZipPlace(0, 5, 9, 8, 77),))
    others = Group("tar", "in/a.tar", "home/in/a.tar", ("::y.png",), (TarPlace(512, 9, 1),))
    batch = Batch((Group("file", "", "home/", ("b.png",)), members, others))
    assert list(batch.shown()) == ["b.png", "in/a.zip::../x.png", "in/a.tar::y.png"]
    assert list(batch.located()) == [
        Location("file", "home/", "b.png"),
        Location("zip", "home/in/a.zip", "::../x.png", (0, 5, 9, 8, 77)),
        Location("tar", "home/in/a.tar", "::y.png", (512, 9, 1)),
    ]


@given(batches, st.integers(0, 12), st.integers(0, 12))
def test_a_part_of_a_batch_has_the_places_of_its_images(batch: Batch, start: int, stop: int) -> None:
    part = batch.part(start, stop)
    assert list(part.located()) == list(batch.located())[start:stop]
    assert list(part.shown()) == list(batch.shown())[start:stop]


def test_rows_have_the_order_of_their_images() -> None:
    batch = Batch((Group("file", "in/", "r/", ("a", "b")), Group("file", "", "", ("c", "d"))))
    original = Answers(
        "digits@0123456789ab",
        ("zero", "one", "two"),
        4,
        2,
        array("H", [2, 0, 0, 0, 1, 2, 0, 1]),
        array("I", [999_999, 1, 0, 0, 500_000, 400_000, 0, 0]),
        frozenset({2}),
        {1: ("missing", "no such file")},
    )
    model = "digits@0123456789ab"
    assert original.rows(batch) == [
        Row("in/a", "two", 0.999999, False, "", model, (("two", 0.999999), ("zero", 0.000001))),
        Row("in/b", "", None, False, "missing: no such file", model, ()),
        Row("c", "one", 0.5, True, "", model, (("one", 0.5), ("two", 0.4))),
        Row("d", "zero", 0.0, False, "", model, (("zero", 0.0), ("one", 0.0))),
    ]


@pytest.mark.parametrize(("below", "marked"), [(0.0, ""), (0.5, "d"), (0.500001, "cd"), (1.0, "acd")])
def test_a_review_threshold_of_the_user_marks_by_confidence_and_no_errors(below: float, marked: str) -> None:
    best, ppm = array("H", [0, 0, 1, 0]), array("I", [999_999, 0, 500_000, 0])
    answers = Answers("m@1", ("zero", "one"), 4, 1, best, ppm, frozenset({0}), {1: ("missing", "no such file")})
    rows = answers.rows(batch_of("a", "b", "c", "d"), RowOptions(below))
    assert [row.path for row in rows if row.review] == list(marked)
    assert [row._replace(review=False) for row in rows] == [
        row._replace(review=False) for row in answers.rows(batch_of("a", "b", "c", "d"))
    ]


def test_answers_to_another_number_of_images_are_refused() -> None:
    with pytest.raises(MessageInvalid, match=r"1 answers .* 2 images"):
        list(answers_for(batch_of("a")).rows(batch_of("a", "b")))


@given(st.dictionaries(st.text(min_size=8, max_size=9), json_values, max_size=3))
def test_unknown_keys_are_ignored(more: dict[str, object]) -> None:
    unknown = {f"x-{key}": value for key, value in more.items()}
    group = ["file", "in/", "r/in/", ["a", "b"], []]
    assert Batch.decode(packed(unknown | fair_batch(group))) == Batch.decode(packed(fair_batch(group)))
    assert Answers.decode(packed(unknown | fair_answers())) == Answers.decode(packed(fair_answers()))


def test_the_digest_of_a_batch_is_of_its_stored_text() -> None:
    group = ["file", "in/", "r/in/", ["a", "b"], []]
    batch = Batch((Group("file", "in/", "r/in/", ("a", "b")),))
    assert re.fullmatch("[0-9a-f]{32}", batch.digest)
    assert Batch.decode(packed(fair_batch(group), (",", ":"))).digest == batch.digest
    others = [
        Batch.decode(packed(fair_batch(group, added_later=1), (",", ":"))),
        Batch(batch.groups, top=4),
        Batch((batch.groups[0]._replace(paths=("b", "a")),)),
        Batch((batch.groups[0]._replace(scheme="zip"),)),
        batch.part(0, 1),
    ]
    assert len({batch.digest, *(other.digest for other in others)}) == 1 + len(others)


@pytest.mark.parametrize("numbers", [[], [0, 0], [1, 0], [2**64 - 1, 2**63]])
def test_the_identities_of_all_images_or_of_none_are_decoded_unchanged(numbers: list[int]) -> None:
    original = replace(answers_for(batch_of("a", "b")), identities=array("Q", numbers))
    assert Answers.decode(original.encode()).identities == array("Q", numbers)


def test_answers_that_are_all_errors_need_no_classes() -> None:
    original = Answers.failed("m@1", [("missing", "no such file"), ("empty", "it has no byte")])
    assert Answers.decode(original.encode()) == original
    assert original.rows(batch_of("a", "b")) == [
        Row("a", "", None, False, "missing: no such file", "m@1", ()),
        Row("b", "", None, False, "empty: it has no byte", "m@1", ()),
    ]


def test_answers_with_the_most_classes_are_decoded_unchanged() -> None:
    labels = tuple(map(str, range(MOST_CLASSES)))
    original = Answers("m@1", labels, 1, 2, array("H", [MOST_CLASSES - 1, 256]), array("I", [PPM, 0]))
    decoded = Answers.decode(original.encode())
    assert decoded == original
    assert decoded.rows(batch_of("a"))[0].top == (("65534", 1.0), ("256", 0.0))


@given(st.lists(st.integers(0, PPM), max_size=20))
def test_columns_are_packed_alike_for_either_byte_order(numbers: list[int]) -> None:
    little = columns.packed(array("I", numbers))
    other = array("I", numbers)
    other.byteswap()  # as in the memory of a machine with the other byte order
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("sys.byteorder", {"little": "big", "big": "little"}[sys.byteorder])
        assert columns.packed(other) == little
        assert columns.unpacked("I", little, len(numbers)) == other


def test_the_encoded_answer_to_an_image_takes_few_bytes() -> None:
    best, ppm = array("H", [9] * 3 * 2048), array("I", [PPM - 1] * 3 * 2048)
    ten = Answers("m@1", tuple("0123456789"), 2048, 3, best, ppm)
    assert len(ten.encode()) < 16.2 * 2048
    assert len(Answers.failed("m@1", [("missing", "no such file")] * 2048).encode()) < 8 * 2048


def test_the_largest_batch_can_be_decoded() -> None:
    longest = "\udcff" * 4096  # six characters of JSON for each byte
    batch = batch_of(*[longest] * 2048)
    assert len(Batch.decode(batch.encode())) == 2048


def test_an_encoded_reference_with_a_numbered_name_takes_few_bytes() -> None:
    batch = Batch(
        (Group("file", "photos/", "home/u/photos/", tuple(f"IMG_{number:06d}.jpg" for number in range(2048))),)
    )
    assert len(batch.encode()) < 8 * 2048


def test_an_encoded_reference_to_an_archive_member_takes_few_bytes() -> None:
    names = tuple(f"::IMG_{number:06d}.jpg" for number in range(2048))
    places = tuple(ZipPlace(500_000 * at, 499_000, 499_900, 8, zlib.crc32(b"%d" % at)) for at in range(2048))
    assert len(Batch((Group("zip", "a.zip", "home/u/a.zip", names, places),)).encode()) < 24 * 2048
