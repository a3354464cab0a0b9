"""The fixture of the tests of following: a job on a real Redis, and its follower."""

from collections.abc import Iterator

import pytest

from pigeonhole.settings import Settings
from tests.jobs.follow.scene import Scene
from tests.ledger.conftest import Clock


@pytest.fixture
def scene(settings: Settings, clock: Clock) -> Iterator[Scene]:
    made = Scene(settings, clock)
    yield made
    for one in (made.ledger, made.follower.ledger, made.workers):  # the parts of a scene refer to each other
        one.client.close()
