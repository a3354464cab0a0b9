"""Inject faults into an installation during a job, and restart the parts that have ended."""

import heapq
import os
import random
import signal
import time
from collections import Counter, deque
from collections.abc import Callable
from dataclasses import dataclass, field

from tests.faults.proxy import Proxy
from tests.faults.site import Site, Worker

#: The number of faults of each kind in a run, besides one long outage of Redis and the faults of the submission.
PLAN = {
    "processes killed": 16,
    "whole workers killed": 4,
    "workers terminated": 2,
    "Redis killed": 1,
    "Redis frozen": 1,
    "connections of a worker cut": 3,
    "connections of the producer cut": 2,
    "connections of a worker stalled": 2,
    "connections of the producer stalled": 2,
    "queue doubled": 3,
    "queue deleted": 2,
    "followers killed": 3,
}
OUTAGE = "long outages of Redis"
#: Seconds within which workers must consume again after the outage.
RECOVERED = 10.0
#: The smallest and largest number of seconds between two faults.
GAP = (0.3, 2.5)


@dataclass
class Faults:
    """Injects faults into a site, and restarts ended processes as a service manager would.

    Args:
        site: the site, with running workers.
        draw: the random generator.
        away: the seconds of the long outage.
    """

    site: Site
    draw: random.Random
    away: float
    #: The job, once it exists, and a function that kills its follower; set by the follower.
    job: str = ""
    kill_follower: Callable[[], bool] = lambda: False
    #: The number of faults of each kind; seconds from Redis' return after the outage to a claim; failures.
    injected: Counter[str] = field(default_factory=Counter)
    recoveries: list[float] = field(default_factory=list)
    failures: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        kinds = [kind for kind, times in PLAN.items() for _ in range(times)]
        self.draw.shuffle(kinds)
        # Not among the last faults: then all might be done when Redis is back.
        kinds.insert(self.draw.randrange(len(kinds) // 2), OUTAGE)
        self._plan = deque(kinds)
        self._due = 0.0
        self._later: list[tuple[float, int, Callable[[], None]]] = []
        self._sizes: deque[tuple[float, int]] = deque()
        self._redis_up = True
        #: The workers that we have killed, and those that we have asked to stop.
        self._killed: set[str] = set()
        self._stopping: set[str] = set()

    @property
    def over(self) -> bool:
        """True if all faults were injected and repaired."""
        return not self._plan and not self._later

    def turn(self) -> None:
        """Inject the next fault if it is due, and restart ended processes; called regularly."""
        now = time.monotonic()
        while self._later and self._later[0][0] <= now:
            heapq.heappop(self._later)[2]()
        self.tend()
        if self._plan and now >= self._due:
            if self.inject(self._plan[0]):
                self._plan.popleft()
                self._due = time.monotonic() + self.draw.uniform(*GAP)
            else:
                self._plan.rotate(-1)  # there is no target now

    def tend(self) -> None:
        """Restart ended workers, and record the size of Redis' file with the time."""
        now = time.monotonic()
        self._sizes.append((now, self.site.redis.size()))
        while len(self._sizes) > 1 and self._sizes[1][0] < now - 1:
            self._sizes.popleft()
        for name, worker in list(self.site.workers.items()):
            code = worker.process.poll()
            if code is None:
                continue
            if name not in self._killed and (code != 0 or name not in self._stopping):
                self.failures.append(f"worker {name} ended with {code}: {self.site.log(name)}")
            self._killed.discard(name)
            self._stopping.discard(name)
            worker.kill()  # its remaining processes
            self.site.start_worker(name, wait=False)

    def inject(self, kind: str) -> bool:
        """Inject a fault; return False if that is not possible now."""
        actions = {
            "processes killed": self._kill_process,
            "whole workers killed": self._kill_worker,
            "workers terminated": self._stop_worker,
            "Redis killed": lambda: self.kill_redis(self.draw.uniform(0, 4)),
            OUTAGE: self._outage,
            "Redis frozen": self._freeze_redis,
            "connections of a worker cut": lambda: self._worker().proxy.cut() > 0,
            "connections of the producer cut": lambda: self.site.producer.cut() > 0,
            "connections of a worker stalled": lambda: self._stall(self._worker().proxy),
            "connections of the producer stalled": lambda: self._stall(self.site.producer),
            "queue doubled": lambda: self._redis_up and self.site.double_messages() > 0,
            "queue deleted": lambda: self._redis_up and self.site.delete_messages() > 0,
            "followers killed": self.kill_follower,
        }
        done = actions[kind]()
        self.injected[kind] += done
        return done

    def kill_redis(self, away: float) -> bool:
        """Kill Redis, truncate its file by up to a second of writes, and restart it after a while."""
        if self._redis_up:
            self._crash_redis()
            self._after(away, self._start_redis)
            return True
        return False

    def _crash_redis(self) -> None:
        before, now = self._sizes[0][1], self.site.redis.size()
        self.site.redis.kill()
        self._redis_up = False
        cut = self.site.redis.truncate(self.draw.randint(min(before, now), now))
        self.injected["bytes that Redis lost"] += cut

    def _start_redis(self) -> None:
        self.site.redis.start()
        self._redis_up = True

    def _outage(self) -> bool:
        """Stop Redis for long, without other faults, and check that workers return soon after it."""
        if self._later or not self._redis_up or not all(self.site.ready(name) for name in self.site.workers):
            return False
        self._crash_redis()
        time.sleep(self.away)
        self._start_redis()
        try:
            self.recoveries.append(self.site.await_claim(self.job, self.site.claimed(self.job), within=30))
        except AssertionError:
            self.recoveries.append(30.0)
        if self.recoveries[-1] > RECOVERED:
            self.failures.append(
                f"after an outage of {self.away} s workers consumed again after {self.recoveries[-1]:.1f} s"
            )
        return True

    def _freeze_redis(self) -> bool:
        if self._redis_up:
            self.site.redis.freeze()
            self._redis_up = False
            self._after(self.draw.uniform(1, 8), self._thaw_redis)
            return True
        return False

    def _thaw_redis(self) -> None:
        self.site.redis.thaw()
        self._redis_up = True

    def _kill_process(self) -> bool:
        """Kill a process of a worker's pool, or an isolation run.

        Billiard's semaphore tracker is spared: without it the whole worker ends, which is another fault.
        """
        descendants = {
            pid: line for pid, line in self._worker().descendants().items() if b"semaphore_tracker" not in line
        }
        if not descendants:
            return False
        pid = self.draw.choice(sorted(descendants))
        try:
            os.kill(pid, signal.SIGKILL)
        except ProcessLookupError:
            return False  # it ended by itself
        self.injected["of these, isolation runs"] += b"worker.processing.isolation" in descendants[pid]
        return True

    def _kill_worker(self) -> bool:
        worker = self._worker()
        self._killed.add(worker.name)
        worker.kill()
        return True

    def _stop_worker(self) -> bool:
        worker = self._worker()
        if worker.name in self._stopping or not self._redis_up:
            return False
        if not self.site.ready(worker.name, since=worker.begun):
            return False  # during its start, a SIGTERM ends Python itself, which has no piece yet
        self._stopping.add(worker.name)
        worker.process.send_signal(signal.SIGTERM)
        return True

    def _stall(self, proxy: Proxy) -> bool:
        """Stall the open connections for ever, or all connections, with new ones, for a while."""
        for_all = self.draw.random() < 0.5
        proxy.stall(new=for_all, to_server=self.draw.random() < 0.5)
        if for_all:
            self._after(self.draw.uniform(3, 10), proxy.flow)
        return True

    def _worker(self) -> Worker:
        return self.site.workers[self.draw.choice(sorted(self.site.workers))]

    def _after(self, seconds: float, repair: Callable[[], None]) -> None:
        heapq.heappush(self._later, (time.monotonic() + seconds, len(self._later), repair))
