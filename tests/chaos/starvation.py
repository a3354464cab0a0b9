"""`make starvation`: one large job beside a stream of small ones that keeps two processes of a worker busy.

    python -m tests.chaos.starvation --seconds 60

It prints the finished share of the large job after that time, and fails below a tenth.
"""

import argparse
import shutil
import sys
import tempfile
import time
from contextlib import closing
from itertools import cycle, islice
from pathlib import Path

from pigeonhole.jobs.retrying import Retrying
from pigeonhole.jobs.submit import submit
from pigeonhole.ledger.ledger import Ledger
from pigeonhole.ledger.queue.task_queue import Queue
from pigeonhole.sources.reference import Reference
from tests.faults.site import Site

#: The number of unfinished small jobs at any time: more than the processes can take at once.
OUTSTANDING = 8


def main() -> int:
    """Run the starvation test, and return the exit code."""
    parser = argparse.ArgumentParser(prog="make starvation", description=__doc__.partition("\n")[0])
    parser.add_argument("--seconds", type=float, default=60.0, help="duration of the test [60]")
    parser.add_argument("--large", type=int, default=100_000, help="images of the large job [100000]")
    parser.add_argument("--small", type=int, default=200, help="images of each small job [200]")
    parser.add_argument("--pause", type=float, default=0.0005, help="seconds that opening an image takes [0.0005]")
    options = parser.parse_args()
    folder = Path(tempfile.mkdtemp(prefix="pigeonhole-starvation-"))
    site = Site(folder, pause=options.pause)
    with closing(site):
        listed = site.copy_samples(1)
        site.start_worker("one", processes=2)
        done = starve(site, listed, options.large, options.small, options.seconds)
    shutil.rmtree(folder)
    print(f"{done:,} of {options.large:,} images of the large job done in {options.seconds:.0f} s", flush=True)
    return int(done < options.large / 10)


def starve(site: Site, listed: list[str], large: int, small: int, seconds: float) -> int:
    """Submit one large job, then small ones continuously; return the number of finished images of the large one."""
    ledger, queue = site.ledger, Queue(site.direct)
    job = _submitted(ledger, queue, listed, large)
    running, finished, idle = list[str](), 0, 0
    give_up = time.monotonic() + seconds
    while time.monotonic() < give_up:
        ended = [name for name in running if ledger.status(name).over]
        finished += len(ended)
        running = [name for name in running if name not in ended]
        idle += not queue.depth("digits")
        while len(running) < OUTSTANDING:
            running.append(_submitted(ledger, queue, listed, small))
        time.sleep(0.005)
    print(f"{finished:,} small jobs done; the queue was empty {idle} times; starving: {ledger.status(job).starving}")
    return ledger.status(job).done


def _submitted(ledger: Ledger, queue: Queue, listed: list[str], images: int) -> str:
    references = (Reference("file", "", "", path) for path in islice(cycle(listed), images))
    job = ledger.create("digits", ("stream",))
    submit(ledger, queue, job, references, Retrying())
    return job


if __name__ == "__main__":
    sys.exit(main())
