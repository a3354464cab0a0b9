"""Text from Redis can't control a terminal, because its control sequences are escaped."""

from collections.abc import Callable
from pathlib import Path

import pytest
import typer

from pigeonhole.errors import MessageInvalid
from pigeonhole.ledger.dead_letters import DeadLetters, about
from pigeonhole.ledger.ledger import Ledger
from pigeonhole.ledger.wire.messages import Answers
from pigeonhole.settings import Settings
from producer.command import guarded
from producer.resuming import hinting
from tests.ledger.conftest import batch_of, piece
from tests.security.conftest import produce

#: A sequence that changes the title of a terminal's window. click does not remove it from output to a pipe.
RETITLED = "\x1b]0;owned\x07"
SHOWN = r"\x1b]0;owned\x07"


@pytest.fixture
def job(settings: Settings) -> str:
    """Return the id of a job with that sequence in each of its texts."""
    ledger, batch = Ledger(settings), batch_of(f"{RETITLED}.png")
    job = ledger.create("digits", (RETITLED,))
    ledger.add(job, 0, batch)
    ledger.close(job, 1)
    ledger.commit(job, piece(batch), Answers.failed(f"m{RETITLED}", [(f"k{RETITLED}", "why")]))
    ledger.client.hset(f"{settings.prefix}:job:{job}", "model", f"digits{RETITLED}")
    DeadLetters(settings).add(about(job, piece(batch).key), f"reason{RETITLED}")
    return job


@pytest.mark.parametrize(
    ("arguments", "parts"),
    [
        (("status",), (f"reason{SHOWN}",)),
        (("status", "{job}"), (f"digits{SHOWN}", f"reason{SHOWN}")),
        (("wait", "{job}", "-o", "{folder}/rows.csv"), (f"k{SHOWN}", f"{SHOWN}.png", f"m{SHOWN}")),
    ],
)
def test_a_command_shows_a_control_sequence_as_text(
    settings: Settings, job: str, tmp_path: Path, arguments: tuple[str, ...], parts: tuple[str, ...]
) -> None:
    ended = produce(settings, *(argument.format(job=job, folder=tmp_path) for argument in arguments))
    shown = (ended.stdout + ended.stderr).decode()
    assert "\x1b" not in shown
    assert "\x07" not in shown
    for part in parts:
        assert part in shown


def _fails() -> None:
    raise MessageInvalid(f"unreadable: {RETITLED}\nforged")


def _fails_with_a_remedy() -> None:
    with hinting(lambda: f"do this: {RETITLED}"):
        _fails()


@pytest.mark.parametrize(("fails", "remedy"), [(_fails, ""), (_fails_with_a_remedy, f"do this: {SHOWN}\n")])
def test_an_error_with_a_control_sequence_is_one_line_of_text(
    fails: Callable[[], None], remedy: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(typer.Exit):
        guarded(fails)()
    first, *rest = capsys.readouterr().err.splitlines(keepends=True)
    assert first.startswith("pigeonhole: ")
    assert first.endswith(f"{SHOWN}\\nforged\n")
    assert "".join(rest) == remedy
