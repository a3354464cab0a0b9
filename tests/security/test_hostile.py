"""A real worker drops invalid messages, stores the reason, and continues."""

import base64
import json
from typing import Any

import hypothesis
import pytest
from hypothesis import strategies as st

from pigeonhole.ledger.dead_letters import DeadLetters, about
from pigeonhole.ledger.queue.task_queue import TASK
from tests.security.target import ABSENT, PIECE, Target, changed, encoded, valid_message

INVALID: tuple[object, ...] = (ABSENT, None, True, 7, 1.5, "zz", "\ud800", "\0\n\x1b[31m", [], [1], {}, {"a": 1})
FIELDS = ("body", "content-type", "content-encoding", "headers", "properties")
PROPERTIES = ("delivery_tag", "delivery_info", "body_encoding", "priority", "correlation_id", "reply_to")
HEADERS: tuple[str, ...] = ("task", "id", "eta", "expires", "retries", "timelimit", "group", "root_id", "argsrepr")
HEADERS += ("shadow", "stamps", "stamped_headers", "ignore_result", "compression", "chord", "args", "kwargs")
HEADERS += ("properties", "hostname")
BODIES: tuple[Any, ...] = (None, 1, "abc", [], [[]], [[], {}], [[], {}, {}, {}], {}, [None, {}, {}], [1, {}, {}])
BODIES += (
    ["ab", {}, {}],
    [{}, {}, {}],
    [["a", PIECE], [], {}],
    [["a", PIECE], None, None],
    [[], {}, {}],
    [["a"], {}, {}],
)
BODIES += ([["a", PIECE, "c"], {}, {}], [[1, 2], {}, {}], [[{"a": 1}, [1]], {}, {}], [[None, None], {}, {}])
BODIES += (
    [["a", PIECE], {"x": 1}, {}],
    [["a" * 10_000, PIECE], {}, {}],
    {"task": TASK, "id": "x", "args": ["a", PIECE]},
)

GARBAGE = (
    b"",
    b"hello",
    b"\xff\xfe\x80",
    b"\0\0",
    b"NaN",
    b"null",
    b"true",
    b"-1",
    b'"text"',
    b"[]",
    b"{}",
    b"1" * 5_000,
    b"[" * 900 + b"]" * 900,
    b"[" * 200_000 + b"]" * 200_000,
    b"x" * 20_000_000,
    # kombu converts these into objects while it parses.
    b'{"__type__": "uuid", "__value__": "x"}',
    b'{"__type__": "datetime", "__value__": 3}',
    b'{"__type__": "decimal", "__value__": {}}',
    b'{"__type__": [], "__value__": {}}',
    json.dumps(valid_message()).encode().replace(b'"retries": 0', b'"retries": ' + b"1" * 5_000),
    json.dumps(valid_message()).encode().replace(b'"retries": 0', b'"retries": Infinity'),
    json.dumps(valid_message()).encode().replace(b'"stamps": {}', b'"stamps": ' + b'{"a":' * 900 + b"1" + b"}" * 900),
)


def test_data_that_is_not_json_is_a_dead_letter(target: Target) -> None:
    target.send(*GARBAGE)
    assert any(letter.why.startswith("JSONDecodeError") for letter in DeadLetters(target.settings).all())


@pytest.mark.parametrize("field", FIELDS)
def test_a_field_of_the_wrong_type_ends_no_worker(target: Target, field: str) -> None:
    target.send(*(changed(field, value) for value in INVALID))


@pytest.mark.parametrize("name", PROPERTIES)
def test_a_property_of_the_wrong_type_ends_no_worker(target: Target, name: str) -> None:
    target.send(*(changed(f"properties.{name}", value) for value in INVALID))


@pytest.mark.parametrize("name", HEADERS)
def test_a_header_of_the_wrong_type_ends_no_worker(target: Target, name: str) -> None:
    target.send(*(changed(f"headers.{name}", value) for value in INVALID))


def test_a_body_of_the_wrong_shape_ends_no_worker(target: Target) -> None:
    target.send(*(changed("body", encoded(body)) for body in BODIES))
    target.send(*(changed("body", text) for text in ("!!!!", "abcde", "äöü", base64.b64encode(b"\xff{").decode())))
    target.send(changed("body", base64.b64encode(b"[" * 100_000).decode()), changed("body", "A" * 10_000_000))


@pytest.mark.parametrize("piece", ["17", "17:0:16", "0-", f"0-{'x' * 32}", f"{PIECE}:0", f"{PIECE}:1:0:1"])
def test_a_message_with_an_invalid_batch_name_is_a_dead_letter_with_that_name(target: Target, piece: str) -> None:
    job = target.ledger.create("digits", ("test",))
    target.send(valid_message(job, piece))
    (letter,) = DeadLetters(target.settings).of_job(job)
    assert letter.what == about(job, piece)
    assert repr(piece) in letter.why


@pytest.mark.parametrize("task", ["celery.backend_cleanup", "celery.chunks", "celery.group", "celery.map", "os.system"])
def test_an_unknown_task_is_a_dead_letter(target: Target, task: str) -> None:
    target.send(changed("headers.task", task))
    assert any(task in letter.why for letter in DeadLetters(target.settings).all())


def test_a_thousand_copies_of_a_message_end_no_worker(target: Target) -> None:
    target.send(*[valid_message()] * 1000)


@pytest.mark.parametrize("priority", [0, 1, 9])
def test_invalid_messages_of_any_priority_end_no_worker(target: Target, priority: int) -> None:
    target.send(*GARBAGE[:12], changed("properties", None), priority=priority)


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=8), inner, max_size=4),
    max_leaves=10,
)
PLACES = [*FIELDS, *(f"properties.{name}" for name in PROPERTIES), *(f"headers.{name}" for name in HEADERS)]
ITEMS = (
    st.binary(max_size=200)
    | JSON.map(lambda value: json.dumps(value).encode())
    | st.builds(changed, st.sampled_from(PLACES), JSON)
    | JSON.map(lambda body: changed("body", encoded(body)))
)


@hypothesis.settings(
    max_examples=50, deadline=None, suppress_health_check=[hypothesis.HealthCheck.function_scoped_fixture]
)
@hypothesis.given(items=st.lists(ITEMS, min_size=20, max_size=40))
def test_generated_messages_end_no_worker(target: Target, items: list[bytes | dict[str, Any]]) -> None:
    target.send(*items)


def test_a_message_can_not_forge_a_log_line_or_clear_a_terminal(target: Target) -> None:
    target.send(b"\x1b[2J\n[2026-01-01: INFO] forged", changed("properties.priority", "\x1b[2J\nforged"))
    log = target.log.read_text(errors="replace")
    assert "forged" in log
    assert "\x1b" not in log
    assert not any(line.startswith(("forged", "[2026-01-01: INFO]")) for line in log.split("\n"))
