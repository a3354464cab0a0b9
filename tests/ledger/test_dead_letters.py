"""Dead letters: unreadable messages are stored with a reason, and in bounded number."""

import pytest

from pigeonhole.ledger import dead_letters
from pigeonhole.ledger.dead_letters import DeadLetters
from pigeonhole.ledger.redis.client import Client
from pigeonhole.settings import Settings


@pytest.fixture
def letters(settings: Settings) -> DeadLetters:
    return DeadLetters(settings)


def test_dead_letters_are_read_oldest_first(letters: DeadLetters) -> None:
    assert letters.all() == []
    letters.add("job J, batch 3", "version 9")
    letters.add("a message", "it is no task")
    assert [(letter.what, letter.why) for letter in letters.all()] == [
        ("job J, batch 3", "version 9"),
        ("a message", "it is no task"),
    ]


def test_a_repeated_dead_letter_is_stored_once_with_its_last_reason(letters: DeadLetters) -> None:
    letters.add("job J, batch 3", "version 9")
    first = letters.all()[0].seen
    letters.add("job J, batch 3", "version 10")
    (letter,) = letters.all()
    assert letter.why == "version 10"
    assert letter.seen > first


def test_the_number_and_length_of_dead_letters_are_bounded(
    letters: DeadLetters, settings: Settings, raw: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(dead_letters, "MOST", 3)
    for number in range(5):
        letters.add(f"{number} " + "x" * 100_000, "y" * 100_000)
    letters.add("0 " + "x" * 100_000, "again")
    assert [letter.what[0] for letter in letters.all()] == ["1", "2", "0"]
    assert raw.memory_usage(f"{settings.prefix}:dead") < 10_000
    assert 0 < raw.ttl(f"{settings.prefix}:dead") <= settings.result_ttl


def test_any_text_can_be_a_dead_letter_and_a_foreign_value_hides_none(
    letters: DeadLetters, settings: Settings, raw: Client
) -> None:
    letters.add("caf\udce9 \ud800", "\udcff")
    raw.hset(f"{settings.prefix}:dead", b"\xff", b"{")
    assert [letter.why for letter in letters.all()] == ["not written by us", "\\udcff"]


def test_the_dead_letters_of_one_job_can_be_selected(letters: DeadLetters) -> None:
    for what in ("job A, batch 3", "job A2, batch 3", "a message", "job A, batch 4:0:1"):
        letters.add(what, "version 9")
    assert [letter.what for letter in letters.of_job("A")] == ["job A, batch 3", "job A, batch 4:0:1"]
