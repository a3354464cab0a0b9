"""Claim, commit, loss, sweep, cancellation, lost and doubled messages, in every order: nothing lost, nothing twice."""

import logging

import pytest

from pigeonhole.ledger import scripts
from pigeonhole.ledger.redis_client import connect
from pigeonhole.settings import Settings
from tests.model.explore import Budget, Explorer, Violation
from tests.model.world import World


@pytest.fixture(autouse=True)
def no_log(caplog: pytest.LogCaptureFixture) -> None:
    """Each of thousands of losses is told in it."""
    caplog.set_level(logging.CRITICAL, "pigeonhole")


@pytest.fixture
def world(settings: Settings) -> World:
    """A job of one batch of two images."""
    return World(settings, connect(settings.broker_url), (2,))


def test_in_no_order_of_events_is_a_row_lost_or_stored_twice(world: World) -> None:
    explorer = Explorer(world, Budget(faults=1, times=1, sweeps=1, cancels=1)).run()
    # As many as there are at least: a search that ends too soon finds nothing either.
    assert explorer.states > 10_000
    assert explorer.interleavings() > 10_000_000


@pytest.mark.parametrize(
    ("script", "sound", "broken", "found"),
    [
        ("claim", "if not pending(ARGV[3]) then", "if false then", "an image is done and pending"),
        ("commit", "if not pending(ARGV[3]) then", "if false then", "the counter of rows is wrong"),
        ("commit", "redis.call('HSET', rows, row_of(ARGV[3]), ARGV[4])", "", "an image is neither done nor pending"),
        ("commit", "finish_if_done(ARGV[8])", "", "it has no pending image and is not finished"),
        ("commit", "for i = 1, 7 do", "for i = 1, 3 do", "the wrong keys expire"),
        (
            "lose",
            "ZREM', claimed, ARGV[3]) == 0 then return",
            "ZREM', claimed, ARGV[3]) == 9 then return",
            "an image is",
        ),
        ("lose", "for i = 5, #ARGV do", "for i = 6, #ARGV do", "an image is neither done nor pending"),
        ("commit", "redis.call('ZREM', claimed, ARGV[3])", "", "an image is done and pending"),
        ("renew", "== 1 then", "<= 1 then", "an image is done and pending"),
        ("cancel", "'DEL', waiting, claimed", "'DEL', waiting", "it is cancelled and has pending images"),
        ("overdue", "return {lapsed, lost, removed,", "return {{}, lost, removed,", "it would never finish"),
        ("overdue", "return {lapsed, lost, removed,", "return {lapsed, {}, removed,", "it would never finish"),
    ],
)
def test_a_script_that_is_broken_is_found_out(
    settings: Settings, monkeypatch: pytest.MonkeyPatch, script: str, sound: str, broken: str, found: str
) -> None:
    on_job = scripts.on_job
    assert sound in on_job(script)
    monkeypatch.setattr(
        scripts, "on_job", lambda name: on_job(name).replace(sound, broken) if name == script else on_job(name)
    )
    world = World(settings, connect(settings.broker_url), (2,))
    with pytest.raises(Violation, match=f"^{found}"):
        Explorer(world, Budget(cancels=int(script == "cancel"))).run()
