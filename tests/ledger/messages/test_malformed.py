"""Malformed batches and answers are refused, whatever their bytes."""

import base64
import os
import zlib
from array import array
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pigeonhole.errors import MessageInvalid, SourceError
from pigeonhole.ledger.wire.messages import MAX_DECODED_BYTES, Answers, Batch
from pigeonhole.limits import MOST_CLASSES
from tests.ledger.conftest import answers_for, batch_of
from tests.ledger.messages.encoded import FAIR_PPM, column, fair_answers, fair_batch, file_of, json_values, packed
from tests.messages import check_message

#: The fields of answers.
PARTS = ["model", "labels", "images", "top", "best", "ppm", "review", "errors", "runtime", "identities", "batch"]


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
def test_invalid_places_of_archive_members_are_refused(places: object) -> None:
    with pytest.raises(MessageInvalid, match=r"place"):
        Batch.decode(packed(fair_batch(["tar", "a.tar", "r/a.tar", ["::a.png"], places])))


@pytest.mark.parametrize("version", [0, 1, 2, 3, 5, "4", None, True, 4.0, [4]])
@pytest.mark.parametrize("message", [Batch, Answers])
def test_another_version_is_refused_with_the_remedy(message: type[Batch | Answers], version: object) -> None:
    with pytest.raises(MessageInvalid) as error:
        message.decode(packed(fair_answers(v=version, groups=[])))
    check_message(error.value, f"version {version!r}", "version 4", "run the same version")


#: Messages of version 3: a batch of two references; an answer and an error.
BATCH_OF_3 = "eAGrVipTsjLWUUovyi8tKFayio5WyszTV9JRysjPTdUHM6OVEvUK8tKBYklgOlYnOjY2thYA/9MRlw=="
ANSWERS_OF_3 = (
    "eAEtjLkKwzAQRH/FTK3CR05BIIL8QGrjwo43zoJkGclHEfLvWYVUy9t5M2+s0JWC8z1ZaPQ88ByveVFWu/3heDq3HRRs25GN0DVy"
    "oQKNArt2IHmVCrOfoAuFjuKcHHM3l6RMk0vojaDCsv3O7R8GWpk2yXMxKQQf0n4tM45j5HGQyuizuDxe2ZMtoWk+X4jUMlU="
)


@pytest.mark.parametrize(
    ("message", "recorded", "what"),
    [(Batch, BATCH_OF_3, "a batch"), (Answers, ANSWERS_OF_3, "the answers to a batch")],
)
def test_messages_of_the_previous_version_are_refused_with_both_versions(
    message: type[Batch | Answers], recorded: str, what: str
) -> None:
    with pytest.raises(MessageInvalid) as error:
        message.decode(base64.b64decode(recorded))
    check_message(error.value, what, "version 3", "version 4", "run the same version")


@given(st.binary(max_size=200))
def test_random_bytes_are_refused(data: bytes) -> None:
    for message in (Batch, Answers):
        with pytest.raises(MessageInvalid):
            message.decode(data)


@given(json_values)
def test_any_other_json_is_refused(body: object) -> None:
    for message in (Batch, Answers):
        with pytest.raises(MessageInvalid):
            message.decode(packed(body))


@given(st.sampled_from(PARTS), json_values)
def test_answers_with_a_changed_field_are_refused_or_make_every_row(part: str, value: object) -> None:
    try:
        decoded = Answers.decode(packed(fair_answers(**{part: value})))
    except MessageInvalid:
        return
    rows = list(decoded.rows(batch_of(*["a"] * len(decoded))))
    assert len(rows) == len(decoded)
    os.fsencode("".join(row.path + row.label + row.error + row.model for row in rows))


@given(st.lists(json_values, max_size=3))
def test_groups_of_another_shape_are_refused_or_make_paths(value: list[object]) -> None:
    try:
        decoded = Batch.decode(packed(fair_batch(*value)))
    except MessageInvalid:
        return
    os.fsencode("".join(decoded.shown()))
    assert len([*map(file_of, decoded.located())]) == len(decoded)


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
def test_inconsistent_answers_are_refused(changes: dict[str, Any]) -> None:
    assert len(Answers.decode(packed(fair_answers()))) == 2
    with pytest.raises(MessageInvalid, match=r"the answers .* malformed"):
        Answers.decode(packed(fair_answers(**changes)))


@pytest.mark.parametrize("numbers", [[1], [1, 2, 3]])
def test_the_identities_of_some_images_are_refused(numbers: list[int]) -> None:
    given_answers = replace(answers_for(batch_of("a", "b")), identities=array("Q", numbers))
    with pytest.raises(MessageInvalid, match=r"malformed: a column"):
        Answers.decode(given_answers.encode())


@pytest.mark.parametrize("missing", PARTS)
def test_answers_without_one_of_their_fields_are_refused(missing: str) -> None:
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
def test_a_batch_with_an_invalid_number_of_classes_is_refused(top: object) -> None:
    with pytest.raises(MessageInvalid):
        Batch.decode(packed(fair_batch(top=top)))


@pytest.mark.parametrize("depth", [100, 900, 950, 980, 985, 990, 995, 1000, 5_000, 100_000])
def test_deeply_nested_json_is_refused(depth: int) -> None:
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


def test_an_error_quotes_a_foreign_value_in_short() -> None:
    with pytest.raises(MessageInvalid) as error:
        Batch.decode(packed({"v": "x" * 1_000_000}))
    assert len(str(error.value)) < 300


@pytest.mark.parametrize("length", [0, 1, 10, -5, -1])
def test_a_truncated_message_is_refused(length: int) -> None:
    with pytest.raises(MessageInvalid):
        Batch.decode(batch_of("a.png", "b.png").encode()[:length])


def test_a_compression_bomb_is_refused() -> None:
    deflater = zlib.compressobj(1)
    million = b" " * 1_000_000
    bomb = (
        b"".join(deflater.compress(million) for _ in range(MAX_DECODED_BYTES // len(million) + 10)) + deflater.flush()
    )
    assert len(bomb) < 1_000_000
    with pytest.raises(MessageInvalid, match=r"a batch .* 64,000,000 bytes"):
        Batch.decode(bomb)


def test_a_batch_over_the_size_limit_is_not_encoded() -> None:
    batch = batch_of(*["x" * 40_000] * 2048)
    with pytest.raises(SourceError, match=r"2,048 images from x{60}… .* 81,926,"):
        batch.encode()
