"""All interleavings of claim, commit, loss, sweep, cancellation and faults: no row is lost or stored twice."""

import logging
from dataclasses import replace

import pytest

from pigeonhole.ledger.redis import scripts
from pigeonhole.ledger.redis.client import connect
from pigeonhole.settings import Settings
from tests.model.explore import Budget, Explorer, Violation
from tests.model.world import World


@pytest.fixture(autouse=True)
def no_log(caplog: pytest.LogCaptureFixture) -> None:
    """Disable the log, to which each of thousands of losses would be written."""
    caplog.set_level(logging.CRITICAL, "pigeonhole")


@pytest.fixture
def world(settings: Settings) -> World:
    """Return a world with a job of one batch of two images."""
    return World(settings, connect(settings.broker_url), (2,))


@pytest.mark.parametrize(("times", "workers"), [(0, 2), pytest.param(1, 1, marks=pytest.mark.slow)])
def test_no_order_of_events_loses_or_duplicates_a_row(world: World, times: int, workers: int) -> None:
    """`make chaos` explores two workers and expiring leases at once."""
    explorer = Explorer(world, Budget(faults=1, times=times, sweeps=1, cancels=1), workers).run()
    # The number of states is checked, since a search that ends too soon finds no violation.
    assert explorer.states > 2_000
    assert explorer.interleavings() > 1_000_000


NO_FAULTS = Budget(faults=0, times=0, sweeps=0, cancels=0)


@pytest.mark.parametrize(
    ("budget", "states"),
    [(replace(NO_FAULTS, faults=1, sweeps=1, steps=1), 5_000), (replace(NO_FAULTS, times=1, sweeps=1, steps=1), 5_000)],
    ids=["and a fault", "and leases run out"],
)
def test_clock_steps_lose_no_row_and_every_job_ends(world: World, budget: Budget, states: int) -> None:
    assert Explorer(world, budget, workers=1).run().states > states


@pytest.mark.parametrize(
    ("budget", "renamed", "states"),
    [
        (replace(NO_FAULTS, sweeps=1), False, 1_000),
        (replace(NO_FAULTS, sweeps=1), True, 1_000),
        (replace(NO_FAULTS, saves=1, cancels=1, deletes=1), True, 200),
        (replace(NO_FAULTS, faults=1, saves=1), True, 500),
    ],
    ids=["and a sweep", "with other references", "cancellation and deletion", "and a fault"],
)
def test_lost_writes_mix_no_rows_and_a_new_submission_completes_the_job(
    settings: Settings, budget: Budget, renamed: bool, states: int
) -> None:
    world = World(settings, connect(settings.broker_url), (2,), renamed)
    explorer = Explorer(world, replace(budget, losses=1, submits=1), workers=1).run()
    assert explorer.states > states


@pytest.mark.parametrize(
    ("script", "original", "broken", "budget", "violation"),
    [
        ("overdue", "clamp(claimed, now + lease)", "", replace(NO_FAULTS, steps=1), "it would never finish"),
        ("commit", "if not pending(ARGV[3]) then", "if false then", replace(NO_FAULTS, losses=1, submits=1), "a "),
        ("add", "redis.call('HSET', digests, number, digest)", "", NO_FAULTS, "a digest is wrong"),
    ],
)
def test_scripts_without_protection_from_clock_steps_or_lost_writes_are_detected(
    settings: Settings,
    monkeypatch: pytest.MonkeyPatch,
    script: str,
    original: str,
    broken: str,
    budget: Budget,
    violation: str,
) -> None:
    _break(monkeypatch, script, original, broken)
    world = World(settings, connect(settings.broker_url), (2,), renamed=True)
    with pytest.raises(Violation, match=f"^({violation})"):
        Explorer(world, budget, workers=1).run()


@pytest.mark.parametrize(
    ("script", "original", "broken", "violation"),
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
def test_broken_scripts_are_detected(
    settings: Settings, monkeypatch: pytest.MonkeyPatch, script: str, original: str, broken: str, violation: str
) -> None:
    _break(monkeypatch, script, original, broken)
    world = World(settings, connect(settings.broker_url), (2,))
    with pytest.raises(Violation, match=f"^{violation}"):
        Explorer(world, Budget(cancels=int(script == "cancel"))).run()


def _break(monkeypatch: pytest.MonkeyPatch, script: str, original: str, broken: str) -> None:
    """Replace a part of a script during a test."""
    on_job = scripts.on_job
    assert original in on_job(script)
    monkeypatch.setattr(
        scripts, "on_job", lambda name: on_job(name).replace(original, broken) if name == script else on_job(name)
    )
