import base64
import json
import os
import re
import sys
import zlib
from array import array
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pigeonhole.errors import MessageInvalid, SourceError
from pigeonhole.ledger.wire import columns
from pigeonhole.ledger.wire.messages import MAX_DECODED_BYTES, VERSION, Answers, Batch, Group, Row
from pigeonhole.limits import MOST_CLASSES, PPM
from pigeonhole.row_options import RowOptions
from pigeonhole.sources.members.tar_archives import TarPlace
from pigeonhole.sources.members.zip_archives import ZipPlace
from pigeonhole.sources.reference import Location
from tests.ledger.conftest import answers_for, batch_of

#: All names that a file system may have: any bytes but NUL, decoded as Python does.
paths = st.binary(max_size=30).map(lambda name: os.fsdecode(name.replace(b"\0", b"")))
numbers = st.integers(0, 2**63 - 1)
places = st.lists(numbers, min_size=1, max_size=6).map(tuple)
texts = st.text(st.characters(exclude_categories=["Cs"]), max_size=20)


@st.composite
def groups(draw: st.DrawFn) -> Group:
    names = tuple(draw(st.lists(paths, max_size=5)))
    there = draw(st.lists(places, min_size=len(names), max_size=len(names))) if draw(st.booleans()) else ()
    return Group(draw(texts), draw(paths), draw(paths), names, tuple(there))


batches = st.builds(Batch, st.lists(groups(), max_size=4).map(tuple), st.integers(1, MOST_CLASSES))
json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=5), inner, max_size=4),
    max_leaves=12,
)


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


def packed(body: object, separators: tuple[str, str] | None = None) -> bytes:
    return zlib.compress(json.dumps(body, separators=separators).encode())


def column(*numbers: int, size: int = 1) -> str:
    return base64.b64encode(b"".join(number.to_bytes(size, "little") for number in numbers)).decode()


#: 900,000 and 0 millionths: their lowest bytes, the next, and the third.
FAIR_PPM = [column(0xA0, 0), column(0xBB, 0), column(0x0D, 0)]


def fair_batch(*groups: object, **changes: object) -> dict[str, object]:
    return {"v": VERSION, "top": 3, "groups": groups} | changes


#: The fields of answers.
PARTS = ["model", "labels", "images", "top", "best", "ppm", "review", "errors", "runtime", "identities", "batch"]


def fair_answers(**changes: Any) -> dict[str, Any]:
    body: dict[str, Any] = {"v": VERSION, "model": "m@1", "labels": ["0", "1"], "images": 2, "top": 1}
    body |= {"best": [column(1, 0)], "ppm": FAIR_PPM, "review": [0], "errors": [[1, "missing", "no such file"]]}
    body |= {"runtime": "torch/f32", "identities": [column(7, 0)], "batch": "0" * 32}
    return body | changes


@given(batches)
def test_a_batch_comes_back_as_it_was_whatever_bytes_its_names_are(batch: Batch) -> None:
    again = Batch.decode(batch.encode())
    assert again == batch
    assert again.digest == batch.digest
    assert [*map(_file, again.located())] == [*map(_file, batch.located())]


def _file(location: Location) -> bytes:
    return os.fsencode(location.root + location.path)


@given(answers())
def test_answers_come_back_as_they_were(given_answers: Answers) -> None:
    assert Answers.decode(given_answers.encode()) == given_answers


def test_a_reference_is_shown_as_named_and_read_below_the_root() -> None:
    batch = Batch((Group("file", "./", "home/u/", ("a.png", "b/c.png")), Group("file", "", "/etc/", ("x",))))
    assert list(batch.shown()) == ["./a.png", "./b/c.png", "x"]
    assert list(batch.located()) == [
        Location("file", "home/u/", "a.png"),
        Location("file", "home/u/", "b/c.png"),
        Location("file", "/etc/", "x"),
    ]
    assert len(batch) == 3


def test_a_member_of_an_archive_is_read_in_its_file_whatever_it_is_called() -> None:
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


@pytest.mark.parametrize(
    "places",
    [
        None,
        {},
        "",
        0,
        [None],
        [1, 2, 3],
        ["abc"],
        [[0, 1, -1]],
        [[0, 1, 2**63]],
        [[10**400, 1, 1]],
        [[0, 1, 1.0]],
        [[0, 1, True]],
        [[0, 1, "1"]],
        [[0, 1, None]],
        [[0, 1, [1]]],
        [[512, 1, 1], [512, 1, 1]],
    ],
)
def test_places_that_no_archive_has_are_refused(places: object) -> None:
    with pytest.raises(MessageInvalid, match=r"place"):
        Batch.decode(packed(fair_batch(["tar", "a.tar", "r/a.tar", ["::a.png"], places])))


def test_each_row_stands_on_the_place_of_its_image() -> None:
    batch = Batch((Group("file", "in/", "r/", ("a", "b")), Group("file", "", "", ("c", "d"))))
    given_answers = Answers(
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
    assert given_answers.rows(batch) == [
        Row("in/a", "two", 0.999999, False, "", model, (("two", 0.999999), ("zero", 0.000001))),
        Row("in/b", "", None, False, "missing: no such file", model, ()),
        Row("c", "one", 0.5, True, "", model, (("one", 0.5), ("two", 0.4))),
        Row("d", "zero", 0.0, False, "", model, (("zero", 0.0), ("one", 0.0))),
    ]


@pytest.mark.parametrize(("below", "marked"), [(0.0, ""), (0.5, "d"), (0.500001, "cd"), (1.0, "acd")])
def test_a_threshold_of_the_users_marks_by_confidence_alone_and_never_an_error(below: float, marked: str) -> None:
    best, ppm = array("H", [0, 0, 1, 0]), array("I", [999_999, 0, 500_000, 0])
    answers = Answers("m@1", ("zero", "one"), 4, 1, best, ppm, frozenset({0}), {1: ("missing", "no such file")})
    rows = answers.rows(batch_of("a", "b", "c", "d"), RowOptions(below))
    assert [row.path for row in rows if row.review] == list(marked)
    assert [row._replace(review=False) for row in rows] == [
        row._replace(review=False) for row in answers.rows(batch_of("a", "b", "c", "d"))
    ]


def test_answers_to_another_number_of_images_are_not_given_to_these() -> None:
    with pytest.raises(MessageInvalid, match=r"^1 answers for a batch of 2 images: the ledger is damaged$"):
        list(answers_for(batch_of("a")).rows(batch_of("a", "b")))


@pytest.mark.parametrize("version", [0, 1, 2, 3, 5, "4", None, True, 4.0, [4]])
@pytest.mark.parametrize("message", [Batch, Answers])
def test_another_version_is_refused_with_what_to_do(message: type[Batch | Answers], version: object) -> None:
    with pytest.raises(MessageInvalid) as refused:
        message.decode(packed(fair_answers(v=version, groups=[])))
    said = f"in the ledger has version {version!r}, and this program reads version 4: run the same version of"
    assert said in str(refused.value)


#: Messages of version 3: two references, and an answer and an error.
BATCH_OF_3 = "eAGrVipTsjLWUUovyi8tKFayio5WyszTV9JRysjPTdUHM6OVEvUK8tKBYklgOlYnOjY2thYA/9MRlw=="
ANSWERS_OF_3 = (
    "eAEtjLkKwzAQRH/FTK3CR05BIIL8QGrjwo43zoJkGclHEfLvWYVUy9t5M2+s0JWC8z1ZaPQ88ByveVFWu/3heDq3HRRs25GN0DVy"
    "oQKNArt2IHmVCrOfoAuFjuKcHHM3l6RMk0vojaDCsv3O7R8GWpk2yXMxKQQf0n4tM45j5HGQyuizuDxe2ZMtoWk+X4jUMlU="
)


@pytest.mark.parametrize(
    ("message", "recorded", "what"),
    [(Batch, BATCH_OF_3, "a batch"), (Answers, ANSWERS_OF_3, "the answers to a batch")],
)
def test_what_the_version_before_wrote_is_refused_in_words(
    message: type[Batch | Answers], recorded: str, what: str
) -> None:
    with pytest.raises(MessageInvalid) as refused:
        message.decode(base64.b64decode(recorded))
    assert str(refused.value) == (
        f"{what} in the ledger has version 3, and this program reads version 4: run the "
        "same version of Pigeonhole in producer and workers"
    )


@given(st.dictionaries(st.text(min_size=8, max_size=9), json_values, max_size=3))
def test_keys_that_are_not_known_are_ignored(more: dict[str, object]) -> None:
    unknown = {f"x-{key}": value for key, value in more.items()}
    group = ["file", "in/", "r/in/", ["a", "b"], []]
    assert Batch.decode(packed(unknown | fair_batch(group))) == Batch.decode(packed(fair_batch(group)))
    assert Answers.decode(packed(unknown | fair_answers())) == Answers.decode(packed(fair_answers()))


def test_the_digest_of_a_batch_is_that_of_the_text_that_is_stored() -> None:
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


@given(st.binary(max_size=200))
def test_garbage_is_refused_and_nothing_else_happens(data: bytes) -> None:
    for message in (Batch, Answers):
        with pytest.raises(MessageInvalid):
            message.decode(data)


@given(json_values)
def test_any_other_json_is_refused_and_nothing_else_happens(body: object) -> None:
    for message in (Batch, Answers):
        with pytest.raises(MessageInvalid):
            message.decode(packed(body))


@given(st.sampled_from(PARTS), json_values)
def test_a_part_of_another_shape_is_refused_or_still_makes_every_row(part: str, value: object) -> None:
    try:
        decoded = Answers.decode(packed(fair_answers(**{part: value})))
    except MessageInvalid:
        return
    rows = list(decoded.rows(batch_of(*["a"] * len(decoded))))
    assert len(rows) == len(decoded)
    os.fsencode("".join(row.path + row.label + row.error + row.model for row in rows))


@given(st.lists(json_values, max_size=3))
def test_groups_of_another_shape_are_refused_or_still_paths(value: list[object]) -> None:
    try:
        decoded = Batch.decode(packed(fair_batch(*value)))
    except MessageInvalid:
        return
    os.fsencode("".join(decoded.shown()))
    assert len([*map(_file, decoded.located())]) == len(decoded)


@pytest.mark.parametrize(
    "changes",
    [
        {"ppm": [*FAIR_PPM, column(1, 0)]},
        {"ppm": [*FAIR_PPM, column(0, 0), column(0, 0)]},
        {"ppm": [column(0x41, 0), column(0x42, 0), column(0x0F, 0)]},
        {"ppm": [column(1)]},
        {"ppm": [column(1, 0, 0)]},
        {"ppm": [column(1, 0), column(1)]},
        {"ppm": []},
        {"ppm": column(1, 0)},
        {"ppm": [900_000, 0]},
        {"ppm": [None]},
        {"ppm": [column(1, 0) + "\n"]},
        {"ppm": ["§§§="]},
        {"ppm": ["AAA"]},
        {"best": [column(2, 0)]},
        {"best": [column(0, 2)]},
        {"best": [column(0, 0), column(1, 0)]},
        {"best": [column(0, 0), column(0, 0), column(0, 0)]},
        {"best": [column(1)]},
        {"best": []},
        {"best": "01"},
        {"images": 1},
        {"images": 3},
        {"images": -2},
        {"images": 2.0},
        {"images": "2"},
        {"images": 10**400},
        {"top": 2},
        {"top": 0},
        {"top": -1},
        {"top": True},
        {"images": -2, "top": -1},
        {"images": 1, "top": 2, "review": [], "errors": [[0, "missing", ""]], "labels": ["0"]},
        {"images": 0, "top": 10**9, "best": [""], "ppm": [""], "review": [], "errors": []},
        {"images": 2, "top": 0, "best": [""], "ppm": [""]},
        {"images": 10**12, "top": 0, "best": [""], "ppm": [""]},
        {"labels": ["0"] * (MOST_CLASSES + 1)},
        {"labels": "01"},
        {"labels": [0, 1]},
        {"labels": ["0", "\ud800"]},
        {"review": [2]},
        {"review": [-1]},
        {"review": {"0": 1}},
        {"errors": [[2, "missing", ""], [1, "missing", ""]]},
        {"errors": [[1, "missing"]]},
        {"errors": [[1, "missing", 404]]},
        {"errors": {}},
        {"identities": [column(1)]},
        {"identities": [column(1, 0, 0)]},
        {"identities": [""]},
        {"identities": [column(1, 0)] * 9},
        {"identities": [1, 0]},
        {"identities": "AQA="},
        {"identities": None},
        {"runtime": None},
        {"runtime": "\ud800"},
        {"batch": None},
        {"batch": ["0" * 32]},
        {"model": None},
        {"model": "\udfff"},
    ],
)
def test_answers_that_can_not_be_rows_are_refused(changes: dict[str, Any]) -> None:
    assert len(Answers.decode(packed(fair_answers()))) == 2
    with pytest.raises(MessageInvalid, match=r"^the answers to a batch in the ledger are malformed: "):
        Answers.decode(packed(fair_answers(**changes)))


@pytest.mark.parametrize("numbers", [[], [0, 0], [1, 0], [2**64 - 1, 2**63]])
def test_the_identities_of_all_images_or_of_none_come_back(numbers: list[int]) -> None:
    given_answers = replace(answers_for(batch_of("a", "b")), identities=array("Q", numbers))
    assert Answers.decode(given_answers.encode()).identities == array("Q", numbers)


@pytest.mark.parametrize("numbers", [[1], [1, 2, 3]])
def test_the_identities_of_some_images_are_refused(numbers: list[int]) -> None:
    given_answers = replace(answers_for(batch_of("a", "b")), identities=array("Q", numbers))
    with pytest.raises(MessageInvalid, match=r"^the answers to a batch in the ledger are malformed: a column has "):
        Answers.decode(given_answers.encode())


def test_what_all_images_failed_at_needs_no_class_and_comes_back() -> None:
    given_answers = Answers.failed("m@1", [("missing", "no such file"), ("empty", "it has no byte")])
    assert Answers.decode(given_answers.encode()) == given_answers
    assert given_answers.rows(batch_of("a", "b")) == [
        Row("a", "", None, False, "missing: no such file", "m@1", ()),
        Row("b", "", None, False, "empty: it has no byte", "m@1", ()),
    ]


def test_as_many_classes_as_answers_can_name_come_back() -> None:
    labels = tuple(map(str, range(MOST_CLASSES)))
    given_answers = Answers("m@1", labels, 1, 2, array("H", [MOST_CLASSES - 1, 256]), array("I", [PPM, 0]))
    decoded = Answers.decode(given_answers.encode())
    assert decoded == given_answers
    assert decoded.rows(batch_of("a"))[0].top == (("65534", 1.0), ("256", 0.0))


@given(st.lists(st.integers(0, PPM), max_size=20))
def test_numbers_are_packed_alike_whatever_the_byte_order_of_the_machine(numbers: list[int]) -> None:
    little = columns.packed(array("I", numbers))
    other = array("I", numbers)
    other.byteswap()  # as in the memory of a machine with the other byte order
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("sys.byteorder", {"little": "big", "big": "little"}[sys.byteorder])
        assert columns.packed(other) == little
        assert columns.unpacked("I", little, len(numbers)) == other


def test_the_answer_to_an_image_takes_few_bytes() -> None:
    best, ppm = array("H", [9] * 3 * 2048), array("I", [PPM - 1] * 3 * 2048)
    ten = Answers("m@1", tuple("0123456789"), 2048, 3, best, ppm)
    assert len(ten.encode()) < 16.2 * 2048
    assert len(Answers.failed("m@1", [("missing", "no such file")] * 2048).encode()) < 8 * 2048


@pytest.mark.parametrize("missing", PARTS)
def test_answers_without_one_of_their_parts_are_refused(missing: str) -> None:
    body = fair_answers()
    del body[missing]
    with pytest.raises(MessageInvalid, match=missing):
        Answers.decode(packed(body))


@pytest.mark.parametrize(
    "groups",
    [
        None,
        {},
        "abc",
        [[]],
        [["file", "", "", []]],
        [["file", "", "", [], [], []]],
        [["file", "", "", "abc", []]],
        [["file", "", "", [1], []]],
        [["file", None, "", [], []]],
        [["file", "", None, [], []]],
        [[7, "", "", [], []]],
        [["\ud800", "", "", [], []]],
        [["file", "", "", ["\ud800"], []]],
    ],
)
def test_groups_that_are_not_paths_are_refused(groups: object) -> None:
    with pytest.raises(MessageInvalid, match=r"group"):
        Batch.decode(packed(fair_batch(groups=groups)))


@pytest.mark.parametrize("top", [None, 0, -1, True, 3.0, "3", MOST_CLASSES + 1])
def test_a_number_of_classes_that_no_row_can_have_is_refused(top: object) -> None:
    with pytest.raises(MessageInvalid):
        Batch.decode(packed(fair_batch(top=top)))


@pytest.mark.parametrize("depth", [100, 900, 950, 980, 985, 990, 995, 1000, 5_000, 100_000])
def test_json_of_any_depth_is_refused_and_nothing_else_happens(depth: int) -> None:
    deep = b"[" * depth + b"]" * depth
    for body in (
        deep,
        b'{"v":4,"top":3,"groups":' + deep + b"}",
        b'{"v":' + deep + b"}",
        b'{"v":4,"model":' + deep + b"}",
    ):
        for message in (Batch, Answers):
            with pytest.raises(MessageInvalid):
                message.decode(zlib.compress(body))


def test_what_a_stranger_wrote_is_quoted_in_short() -> None:
    with pytest.raises(MessageInvalid) as refused:
        Batch.decode(packed({"v": "x" * 1_000_000}))
    assert len(str(refused.value)) < 300


@pytest.mark.parametrize("kept", [0, 1, 10, -5, -1])
def test_a_message_that_was_cut_off_is_refused(kept: int) -> None:
    with pytest.raises(MessageInvalid):
        Batch.decode(batch_of("a.png", "b.png").encode()[:kept])


def test_a_message_that_inflates_without_end_is_refused_before_it_fills_the_memory() -> None:
    deflater = zlib.compressobj(1)
    million = b" " * 1_000_000
    bomb = (
        b"".join(deflater.compress(million) for _ in range(MAX_DECODED_BYTES // len(million) + 10)) + deflater.flush()
    )
    assert len(bomb) < 1_000_000
    with pytest.raises(MessageInvalid, match=r"^a batch in the ledger is cut off, or over 64,000,000 bytes$"):
        Batch.decode(bomb)


def test_the_largest_batch_that_we_write_can_be_read() -> None:
    longest = "\udcff" * 4096  # six characters of JSON for each byte
    batch = batch_of(*[longest] * 2048)
    assert len(Batch.decode(batch.encode())) == 2048


def test_a_batch_that_nobody_could_read_is_not_written() -> None:
    batch = batch_of(*["x" * 40_000] * 2048)
    with pytest.raises(SourceError, match=r"^the paths of 2,048 images from x{60}… on are too long: they take 81,926,"):
        batch.encode()


def test_a_reference_with_a_numbered_name_takes_few_bytes() -> None:
    batch = Batch(
        (Group("file", "photos/", "home/u/photos/", tuple(f"IMG_{number:06d}.jpg" for number in range(2048))),)
    )
    assert len(batch.encode()) < 8 * 2048


def test_a_reference_to_a_member_takes_some_bytes_more() -> None:
    names = tuple(f"::IMG_{number:06d}.jpg" for number in range(2048))
    places = tuple(ZipPlace(500_000 * at, 499_000, 499_900, 8, zlib.crc32(b"%d" % at)) for at in range(2048))
    assert len(Batch((Group("zip", "a.zip", "home/u/a.zip", names, places),)).encode()) < 24 * 2048
