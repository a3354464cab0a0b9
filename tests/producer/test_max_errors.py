"""`--max-errors` as a number of rows and as a percentage."""

import re

import pytest

from pigeonhole.errors import PigeonholeError, UsageError
from pigeonhole.jobs.summary import Summary
from producer.arguments.max_errors import MaxErrors
from tests.jobs.summaries import rows, summary


def exceeds(text: str, counted: Summary, images: int | None) -> bool:
    try:
        MaxErrors.parse(text).check(counted, images)
    except PigeonholeError:
        return True
    return False


@pytest.mark.parametrize("text", ["", "-1", "1.5", "ten", "101%", "5 %", "%", "1e3", "nan%", "100.5%"])
def test_max_errors_accepts_only_a_number_or_a_percentage(text: str) -> None:
    with pytest.raises(UsageError, match=re.escape(repr(text))):
        MaxErrors.parse(text)


def test_a_number_is_exceeded_by_one_more_row_before_the_job_ends() -> None:
    two = summary(rows(labels=5, errors=("missing", "empty")))
    assert exceeds("1", two, None)
    assert not exceeds("2", two, None)
    assert exceeds("0", two, 1_000_000)
    assert not exceeds("0", summary(rows(labels=5)), 5)


def test_a_percentage_is_of_all_images_and_not_exceeded_before_their_number_is_known() -> None:
    two = summary(rows(labels=5, errors=("missing", "empty")))
    assert not exceeds("0%", two, None)
    assert not exceeds("2%", two, 100)
    assert exceeds("1.99%", two, 100)
    assert not exceeds("100%", two, 2)


def test_the_error_names_the_most_frequent_kind_an_example_and_the_remedy() -> None:
    with pytest.raises(PigeonholeError) as error:
        MaxErrors.parse("0.5%").check(summary(rows(labels=1, errors=("missing", "empty", "missing"))), 100)
    for part in ("3 of 4 rows", "--max-errors is 0.5%", "2 are 'missing'", "'x.png'", "`classify --retry-errors`"):
        assert part in str(error.value)
