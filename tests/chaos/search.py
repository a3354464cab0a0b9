"""Explore the states of tests/model with larger budgets than the tests have time for."""

import logging
import tempfile
import time
from pathlib import Path

from pigeonhole.settings import Settings
from tests.faults.server import RedisServer
from tests.model.explore import Budget, Explorer
from tests.model.world import World

#: The number of images in each batch, and the budget.
SEARCHES = (
    ((2,), Budget(faults=1)),
    ((2, 1), Budget(faults=1)),
    ((2,), Budget(faults=2)),
    ((2,), Budget(faults=0, cancels=0, steps=1)),
    ((2,), Budget(faults=0, cancels=0, losses=1, submits=1)),
)


def search() -> None:
    """Run each of the `SEARCHES`, and print the numbers of states; raise Violation if an invariant does not hold."""
    logging.disable(logging.CRITICAL)  # each of many losses would be logged
    with tempfile.TemporaryDirectory() as folder:
        redis = RedisServer(Path(folder), "--appendonly", "no")
        try:
            for number, (sizes, budget) in enumerate(SEARCHES):
                started = time.monotonic()
                settings = Settings(broker_url=redis.url, prefix=f"model-{number}")
                found = Explorer(World(settings, redis.client, sizes), budget).run()
                seconds = time.monotonic() - started
                print(f"batches of {sizes} images, {budget}: {found.states:,} states, {found.events:,} steps between")
                print(
                    f"  them, {found.interleavings():.1e} interleavings, no violation, in {seconds:.0f} s", flush=True
                )
        finally:
            redis.close()
    logging.disable(logging.NOTSET)
