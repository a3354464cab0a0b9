import json
import os
import zlib
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.contract.conftest import answers_for, batch_of
from worker.contract.errors import MessageInvalid
from worker.contract.messages import MAX_DECODED_BYTES, PPM, VERSION, Answers, Batch, Group, Prediction

#: What a file system can hold: any bytes but NUL, spelled as Python does.
paths = st.binary(max_size=30).map(lambda name: os.fsdecode(name.replace(b"\0", b"")))
groups = st.builds(Group, paths, paths, st.lists(paths, max_size=5).map(tuple))
batches = st.builds(Batch, st.lists(groups, max_size=4).map(tuple))
texts = st.text(st.characters(exclude_categories=["Cs"]), max_size=20)
json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=5), inner, max_size=4),
    max_leaves=12,
)


@st.composite
def answers(draw: st.DrawFn) -> Answers:
    labels = tuple(draw(st.lists(texts, min_size=1, max_size=4)))
    index, ppm = st.integers(0, len(labels) - 1), st.integers(0, PPM)
    best: list[list[int]] = []
    parts: list[list[int]] = []
    errors: dict[int, tuple[str, str]] = {}
    review: set[int] = set()
    for at in range(draw(st.integers(0, 6))):
        if draw(st.booleans()):
            errors[at] = (draw(texts), draw(paths))
            best.append([])
            parts.append([])
        else:
            top = draw(st.lists(st.tuples(index, ppm), min_size=1, max_size=3))
            best.append([i for i, _ in top])
            parts.append([p for _, p in top])
            if draw(st.booleans()):
                review.add(at)
    return Answers(draw(texts), labels, best, parts, frozenset(review), errors)


def packed(body: object) -> bytes:
    return zlib.compress(json.dumps(body).encode())


def fair_answers(**changes: Any) -> dict[str, Any]:
    body: dict[str, Any] = {"v": VERSION, "model": "m@1", "labels": ["0", "1"], "best": [[1], []]}
    return body | {"ppm": [[900_000], []], "review": [0], "errors": [[1, "missing", "no such file"]]} | changes


@given(batches)
def test_a_batch_comes_back_as_it_was_whatever_bytes_its_names_are(batch: Batch) -> None:
    again = Batch.decode(batch.encode())
    assert again == batch
    assert [os.fsencode(path) for path in again.rooted()] == [os.fsencode(path) for path in batch.rooted()]


@given(answers())
def test_answers_come_back_as_they_were(given_answers: Answers) -> None:
    assert Answers.decode(given_answers.encode()) == given_answers


def test_a_reference_is_shown_as_named_and_read_below_the_root() -> None:
    batch = Batch((Group("./", "home/u/", ("a.png", "b/c.png")), Group("", "/etc/", ("x",))))
    assert list(batch.shown()) == ["./a.png", "./b/c.png", "x"]
    assert list(batch.rooted()) == ["home/u/a.png", "home/u/b/c.png", "/etc/x"]
    assert len(batch) == 3


def test_each_row_stands_on_the_place_of_its_image() -> None:
    batch = Batch((Group("in/", "r/", ("a", "b")), Group("", "", ("c", "d"))))
    given_answers = Answers(
        "digits@0123456789ab",
        ("zero", "one", "two"),
        [[2, 0], [], [1, 2], [0]],
        [[999_999, 1], [], [500_000, 400_000], [0]],
        frozenset({2}),
        {1: ("missing", "no such file")},
    )
    model = "digits@0123456789ab"
    assert list(given_answers.predictions(batch)) == [
        Prediction("in/a", "two", 0.999999, False, "", model, (("two", 0.999999), ("zero", 0.000001))),
        Prediction("in/b", "", None, False, "missing: no such file", model, ()),
        Prediction("c", "one", 0.5, True, "", model, (("one", 0.5), ("two", 0.4))),
        Prediction("d", "zero", 0.0, False, "", model, (("zero", 0.0),)),
    ]


def test_answers_to_another_number_of_images_are_not_given_to_these() -> None:
    with pytest.raises(MessageInvalid, match=r"^1 answers for a batch of 2 images: the ledger is damaged$"):
        list(answers_for(batch_of("a")).predictions(batch_of("a", "b")))


@pytest.mark.parametrize("version", [0, 2, "1", None, True, 1.0, [1]])
@pytest.mark.parametrize("message", [Batch, Answers])
def test_another_version_is_refused_with_what_to_do(message: type[Batch | Answers], version: object) -> None:
    with pytest.raises(MessageInvalid) as refused:
        message.decode(packed(fair_answers(v=version, groups=[])))
    said = f"in the ledger has version {version!r} and this program reads 1: run the same version of Pigeonhole on both"
    assert said in str(refused.value)


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


@given(st.sampled_from(["model", "labels", "best", "ppm", "review", "errors"]), json_values)
def test_a_part_of_another_shape_is_refused_or_still_makes_every_row(part: str, value: object) -> None:
    try:
        decoded = Answers.decode(packed(fair_answers(**{part: value})))
    except MessageInvalid:
        return
    rows = list(decoded.predictions(batch_of(*["a"] * len(decoded))))
    assert len(rows) == len(decoded)
    os.fsencode("".join(row.path + row.label + row.error + row.model for row in rows))


@given(st.lists(json_values, max_size=3))
def test_groups_of_another_shape_are_refused_or_still_paths(value: list[object]) -> None:
    try:
        decoded = Batch.decode(packed({"v": VERSION, "groups": value}))
    except MessageInvalid:
        return
    for path in (*decoded.shown(), *decoded.rooted()):
        os.fsencode(path)


@pytest.mark.parametrize(
    "changes",
    [
        {"ppm": [[-1], []]},
        {"ppm": [[PPM + 1], []]},
        {"ppm": [[10**400], []]},
        {"ppm": [[0.5], []]},
        {"ppm": [[True], []]},
        {"ppm": [[1, 2], []]},
        {"ppm": [[900_000]]},
        {"best": [[2], []]},
        {"best": [[-1], []]},
        {"best": [["1"], []]},
        {"best": "01"},
        {"best": [[], []], "ppm": [[], []]},
        {"best": [[1], [1]], "ppm": [[1], [1]]},
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
        {"errors": []},
        {"model": None},
        {"model": "\udfff"},
    ],
)
def test_answers_that_can_not_be_rows_are_refused(changes: dict[str, Any]) -> None:
    assert len(Answers.decode(packed(fair_answers()))) == 2
    with pytest.raises(MessageInvalid, match=r"^the answers to a batch in the ledger are malformed: "):
        Answers.decode(packed(fair_answers(**changes)))


@pytest.mark.parametrize("missing", ["model", "labels", "best", "ppm", "review", "errors"])
def test_answers_without_one_of_their_parts_are_refused(missing: str) -> None:
    body = fair_answers()
    del body[missing]
    with pytest.raises(MessageInvalid, match=missing):
        Answers.decode(packed(body))


@pytest.mark.parametrize(
    "groups",
    [None, {}, "abc", [[]], [["", ""]], [["", "", "abc"]], [["", "", [1]]], [[None, "", []]], [["", "", ["\ud800"]]]],
)
def test_groups_that_are_not_paths_are_refused(groups: object) -> None:
    with pytest.raises(MessageInvalid, match=r"group"):
        Batch.decode(packed({"v": VERSION, "groups": groups}))


@pytest.mark.parametrize("depth", [100, 900, 950, 980, 985, 990, 995, 1000, 5_000, 100_000])
def test_json_of_any_depth_is_refused_and_nothing_else_happens(depth: int) -> None:
    deep = b"[" * depth + b"]" * depth
    for body in (deep, b'{"v":1,"groups":' + deep + b"}", b'{"v":' + deep + b"}", b'{"v":1,"model":' + deep + b"}"):
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
    longest = "\udcff" * 4096  # each byte is six characters of JSON
    batch = batch_of(*[longest] * 2048)
    assert len(Batch.decode(batch.encode())) == 2048


def test_a_reference_with_a_numbered_name_takes_few_bytes() -> None:
    batch = Batch((Group("photos/", "home/u/photos/", tuple(f"IMG_{number:06d}.jpg" for number in range(2048))),))
    assert len(batch.encode()) < 8 * 2048
