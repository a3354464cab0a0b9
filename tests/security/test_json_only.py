"""Workers read only JSON, and a message only selects a piece of a job."""

import base64
import pickle
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from pigeonhole.ledger.dead_letters import DeadLetters
from pigeonhole.ledger.queue.celery_app import configure
from pigeonhole.ledger.queue.task_queue import TASK
from tests.security.target import PIECE, Target, changed, encoded, valid_message

PICKLED = ("application/x-python-serialize", "application/pickle", "application/x-pickle", "pickle")
#: Fields that some release or protocol of Celery deserialises.
HEADERS = (
    "callbacks",
    "errbacks",
    "chain",
    "chord",
    "stamps",
    "stamped_headers",
    "args",
    "kwargs",
    "argsrepr",
    "group",
)
EMBEDDED = ("callbacks", "errbacks", "chain", "chord")


class Bomb:
    """Creates a file when it is unpickled."""

    def __init__(self, file: Path) -> None:
        self._file = file

    def __reduce__(self) -> tuple[Any, ...]:
        return Path.touch, (self._file,)


@pytest.fixture
def bomb_file(tmp_path: Path) -> Iterator[Path]:
    """Yield the file that a bomb creates, and check afterwards that it does not exist."""
    file = tmp_path / "made"
    yield file
    assert not file.exists()


def bomb(file: Path, protocol: int = 2) -> bytes:
    """Return pickled arguments of a task, with a bomb among them."""
    return pickle.dumps(((Bomb(file), PIECE), {}, {}), protocol=protocol)


def test_unpickling_the_bomb_creates_its_file(tmp_path: Path) -> None:
    pickle.loads(bomb(tmp_path / "loaded"))  # noqa: S301  # otherwise the other tests prove nothing
    assert (tmp_path / "loaded").exists()


@pytest.mark.parametrize("kind", [*PICKLED, "application/json", "application/data", "application/octet-stream"])
@pytest.mark.parametrize("encoding", ["binary", "utf-8", "base64"])
def test_a_pickle_is_never_loaded_whatever_its_content_type(
    target: Target, bomb_file: Path, kind: str, encoding: str
) -> None:
    messages = []
    for protocol in (0, 2, pickle.HIGHEST_PROTOCOL):
        for data in (bomb(bomb_file, protocol), base64.b64encode(bomb(bomb_file, protocol))):
            message = valid_message() | {"content-type": kind, "content-encoding": encoding}
            messages += [message | {"body": base64.b64encode(data).decode()}]
            plain = message | {"body": data.decode("latin-1")}
            messages += [plain | {"properties": message["properties"] | {"body_encoding": None}}]
    target.send(*messages)
    assert any("JSON" in letter.why for letter in DeadLetters(target.settings).all())


def test_a_compressed_pickle_is_never_loaded(target: Target, bomb_file: Path) -> None:
    for name in ("zlib", "application/x-gzip", "gzip"):
        message = valid_message() | {"content-type": PICKLED[0], "content-encoding": "binary"}
        message["headers"]["compression"] = name
        target.send(message | {"body": base64.b64encode(zlib.compress(bomb(bomb_file))).decode()})


@pytest.mark.parametrize("kind", ["application/x-yaml", "application/x-msgpack", "application/yaml", "text/plain"])
def test_data_in_another_format_is_never_loaded(target: Target, bomb_file: Path, kind: str) -> None:
    yaml = f"- !!python/object/apply:os.mknod ['{bomb_file}']\n- {{}}\n- {{}}\n".encode()
    for data in (yaml, b"\x93\x92\xa1a\xa10\x80\x80", bomb(bomb_file)):
        target.send(valid_message() | {"content-type": kind, "body": base64.b64encode(data).decode()})


def test_a_pickle_in_a_header_or_embedded_is_never_loaded(target: Target, bomb_file: Path) -> None:
    hidden = base64.b64encode(bomb(bomb_file)).decode()
    nested = {"task": TASK, "args": [hidden], "kwargs": {}, "options": {"serializer": "pickle"}, "pickle": hidden}
    in_headers = [changed(f"headers.{name}", value) for name in HEADERS for value in (hidden, nested, [nested])]
    embedded = [
        changed("body", encoded([["a", PIECE], {}, {name: value}]))
        for name in EMBEDDED
        for value in (hidden, nested, [nested])
    ]
    target.send(*in_headers, *embedded)


def test_a_message_cannot_make_a_worker_publish(target: Target) -> None:
    """Send callbacks, error callbacks, chains, chords and a reply queue, for which Celery would publish messages."""
    call: dict[str, object] = {"task": TASK, "args": ["a", PIECE], "kwargs": {}, "options": {"queue": "elsewhere"}}
    call |= {"subtask_type": None, "immutable": True, "chord_size": None}
    job = target.ledger.create("digits", ("test",))  # an existing job, so that its task succeeds
    for name, value in (("callbacks", [call]), ("errbacks", [call]), ("chain", [call]), ("chord", call)):
        target.send(valid_message(job) | {"body": encoded([[job, PIECE], {}, {name: value}])})
        target.send(changed("body", encoded([["no such job", PIECE], {}, {name: value}])))
    target.send(changed("properties.reply_to", "elsewhere"))
    assert not list(target.raw.scan_iter("*elsewhere*"))


def test_a_message_cannot_end_the_process_that_takes_it_nor_be_kept_for_later(target: Target) -> None:
    target.send(changed("headers.timelimit", [0.000001, 0.000001]), changed("headers.timelimit", [1, 0.000001]))
    for when in ("2999-01-01T00:00:00", "9999-12-31T23:59:59+00:00", "0001-01-01T00:00:00+23:59"):
        target.send(*[changed("headers.eta", when)] * 10, changed("headers.expires", when))


def test_a_worker_obeys_no_remote_control(target: Target) -> None:
    """Send commands of Celery's remote control, which is off: a worker listens to no channel."""
    control = configure(target.settings).control
    for command in (
        "shutdown",
        "pool_restart",
        "pool_shrink",
        "cancel_consumer",
        "add_consumer",
        "rate_limit",
        "revoke",
    ):
        control.broadcast(command, arguments={"queue": "classify.digits", "task_name": TASK, "rate_limit": "1/h"})
    assert not control.inspect(timeout=0.2).ping()
    for channel in target.raw.pubsub_channels(f"{target.settings.prefix}:*"):
        target.raw.publish(channel, "1")
    assert not target.raw.pubsub_numpat(), "a worker listens"
    target.finish_valid_job()
