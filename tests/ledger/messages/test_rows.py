"""Rows with several labels, with some of the classes, and with a label map."""

import os
from array import array
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pigeonhole.errors import MessageInvalid, UsageError
from pigeonhole.label_map import LabelMap
from pigeonhole.ledger.wire.messages import VERSION, Answers, Chosen, Row
from pigeonhole.limits import PPM
from pigeonhole.row_options import RowOptions
from tests.ledger.conftest import answers_for, batch_of
from tests.ledger.messages.encoded import column, fair_answers, packed

NAMES = ("dog", "cat", "a|b", "owl")
BATCH = batch_of("x", "y", "z")
#: Three images: x has a dog and a cat, y has neither, z is an error. Probabilities are in millionths.
SEVERAL = Answers(
    model="m@1",
    labels=NAMES,
    images=3,
    top=2,
    best=array("H", [0, 3, 3, 0, 0, 0]),
    ppm=array("I", [900_000, 600_000, 200_000, 100_000, 0, 0]),
    review=frozenset([1]),
    errors={2: ("missing", "no such file")},
    chosen=Chosen(array("H", [2, 0, 0]), array("H", [0, 1]), array("I", [900_000, 400_000])),
)
ERROR = Row("z", "", None, False, "missing: no such file", "m@1", ())


def test_an_image_has_all_its_labels_and_no_label_is_no_error() -> None:
    assert SEVERAL.rows(BATCH) == [
        Row(
            *("x", "dog|cat", 0.9, False, "", "m@1"),
            (("dog", 0.9), ("owl", 0.6), ("cat", 0.4)),  # `top` always has all labels
            ("dog", "cat"),
        ),
        Row("y", "", None, True, "", "m@1", (("owl", 0.2), ("dog", 0.1)), ()),
        ERROR,
    ]


def test_the_option_top_limits_the_classes_of_a_row() -> None:
    one = RowOptions(top=1)
    assert [row.top for row in SEVERAL.rows(BATCH, one)] == [(("dog", 0.9), ("cat", 0.4)), (("owl", 0.2),), ()]
    single = answers_for(batch_of("a"))
    assert single.rows(batch_of("a"), one)[0].top == (("1", 0.9),)
    assert single.rows(batch_of("a"), RowOptions(top=9)) == single.rows(batch_of("a"))


def test_a_review_threshold_of_the_user_marks_only_rows_with_labels() -> None:
    assert [row.review for row in SEVERAL.rows(BATCH, RowOptions(review_below=0.95))] == [True, False, False]
    assert [row.review for row in SEVERAL.rows(BATCH, RowOptions(review_below=0.9))] == [False, False, False]


def test_a_label_map_changes_labels_and_classes_and_may_merge_them() -> None:
    pets = RowOptions(label_map=LabelMap({"dog": "pet", "cat": "pet"}))
    first, second, error = SEVERAL.rows(BATCH, pets)
    assert (first.label, first.labels, first.confidence) == ("pet", ("pet",), 0.9)
    assert first.top == (("pet", 0.9), ("owl", 0.6), ("pet", 0.4))
    assert (second.labels, second.top, error) == ((), (("owl", 0.2), ("pet", 0.1)), ERROR)
    single = answers_for(batch_of("a"))
    assert single.rows(batch_of("a"), RowOptions(label_map=LabelMap({"1": "one"}))) == [
        Row("a", "one", 0.9, False, "", single.model, (("one", 0.9), ("0", 0.1)))
    ]


def test_a_label_map_of_another_model_is_refused() -> None:
    wrong = RowOptions(label_map=LabelMap({"dogs": "pet"}, "pets.json"))
    with pytest.raises(UsageError, match=r"'pets.json' .*'dogs'.* did you mean 'dog'\?$"):
        SEVERAL.rows(BATCH, wrong)
    failed = Answers.failed("m@1", [("missing", "no such file")])
    assert failed.rows(batch_of("z"), wrong) == [ERROR], "answers that are all errors do not name the classes"


#: Three images: x and y have an `unknown` above 0.5, and y is marked for review; z is an error.
UNKNOWN = Answers(
    model="m@1",
    labels=NAMES,
    images=3,
    top=1,
    best=array("H", [0, 1, 0]),
    ppm=array("I", [900_000, 2, 0]),
    review=frozenset([1]),
    errors={2: ("missing", "no such file")},
    unknown=array("I", [600_000, 500_000, 0]),
)


def test_rows_have_the_probability_that_their_image_is_unknown() -> None:
    rows = UNKNOWN.rows(BATCH)
    assert [(row.label, row.unknown) for row in rows] == [("dog", 0.6), ("cat", 0.5), ("", None)]
    assert [row.unknown for row in replace(UNKNOWN, unknown=array("I")).rows(BATCH)] == [None] * 3


def test_an_unknown_image_gets_the_unknown_label_of_the_user() -> None:
    first, second, error = UNKNOWN.rows(BATCH, RowOptions(unknown_label="other", label_map=LabelMap({"dog": "pet"})))
    assert (first.label, first.confidence) == ("pet", 0.9)
    assert (second.label, second.confidence, second.top) == ("other", 0.5, (("cat", 0.000002),))
    assert error == ERROR
    sure = replace(UNKNOWN, unknown=array("I", [600_000, 499_999, 0]))
    assert [row.label for row in sure.rows(BATCH, RowOptions(unknown_label="other"))] == ["dog", "cat", ""]


@pytest.mark.parametrize("answers", [replace(UNKNOWN, unknown=array("I")), SEVERAL])
def test_an_unknown_label_is_refused_for_a_model_without_an_unknown_output(answers: Answers) -> None:
    with pytest.raises(UsageError, match=r"m@1 .* --unknown-label"):
        answers.rows(BATCH, RowOptions(unknown_label="other"))
    failed = Answers.failed("m@1", [("missing", "no such file")])
    assert failed.rows(batch_of("z"), RowOptions(unknown_label="other")) == [ERROR]


@pytest.mark.parametrize("unknown", [[column(1)], [column(0x41, 0x41), column(0x42, 0x42), column(0x0F, 0x0F)], 7, [7]])
def test_invalid_unknown_probabilities_are_refused(unknown: object) -> None:
    with pytest.raises(MessageInvalid, match=r"the answers .* malformed"):
        Answers.decode(packed(fair_answers(unknown=unknown)))


@given(st.data())
def test_the_answers_of_a_multi_label_model_are_decoded_unchanged(data: st.DataObject) -> None:
    counts = data.draw(st.lists(st.integers(0, 4), min_size=3, max_size=3))
    size = sum(counts)
    best = data.draw(st.lists(st.integers(0, 3), min_size=size, max_size=size))
    ppm = data.draw(st.lists(st.integers(0, PPM), min_size=size, max_size=size))
    original = replace(SEVERAL, chosen=Chosen(array("H", counts), array("H", best), array("I", ppm)))
    assert Answers.decode(original.encode()) == original


def test_the_answers_of_single_label_models_have_no_new_keys() -> None:
    single = answers_for(batch_of("a"))
    assert Answers.decode(single.encode()).chosen is None
    assert not Answers.decode(single.encode()).unknown
    assert VERSION == 4, "a new key is no new version"


FAIR = [[column(1, 0)], [column(1)], [column(9)]]


@pytest.mark.parametrize(
    "chosen",
    [
        None,
        [],
        [*FAIR, FAIR[0]],
        [[column(2, 0)], *FAIR[1:]],
        [[column(1)], *FAIR[1:]],
        [FAIR[0], [column(2)], FAIR[2]],
        [*FAIR[:2], [column(0x41), column(0x42), column(0x0F)]],
        [*FAIR[:2], [column(1, 1)]],
        ["AQA=", *FAIR[1:]],
        {"counts": 1},
    ],
)
def test_inconsistent_labels_are_refused(chosen: object) -> None:
    fair = Answers.decode(packed(fair_answers(chosen=FAIR)))
    assert [row.labels for row in fair.rows(batch_of("a", "b"))] == [("1",), None]
    with pytest.raises(MessageInvalid, match=r"the answers .* malformed"):
        Answers.decode(packed(fair_answers(chosen=chosen)))


@given(st.recursive(st.none() | st.integers() | st.text(max_size=4), lambda inner: st.lists(inner, max_size=4)))
def test_labels_of_another_shape_are_refused_or_make_every_row(value: object) -> None:
    try:
        decoded = Answers.decode(packed(fair_answers(chosen=value)))
    except MessageInvalid:
        return
    os.fsencode("".join(row.label for row in decoded.rows(batch_of("a", "b"))))


@pytest.mark.parametrize("text", ["", " "])
def test_an_empty_unknown_label_is_refused(text: str) -> None:
    with pytest.raises(UsageError, match=r"label .* empty: .*'unknown'"):
        RowOptions(unknown_label=text)


@pytest.mark.parametrize("top", [0, -1, 1_001])
def test_an_invalid_top_is_refused(top: int) -> None:
    with pytest.raises(UsageError, match=f"{top} classes: .* from 1 to 1,000"):
        RowOptions(top=top)
