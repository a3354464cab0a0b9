"""The checks of `pigeonhole doctor` for a shared Redis: Redis itself, workers, jobs."""

import re
import time

from pigeonhole.errors import PigeonholeError
from pigeonhole.jobs.connection import Connection
from pigeonhole.jobs.follow import no_worker
from pigeonhole.jobs.retrying import Retrying
from pigeonhole.ledger.dead_letters import DeadLetters
from pigeonhole.ledger.health import trouble
from pigeonhole.ledger.redis.server import Server
from pigeonhole.ledger.status import JobState
from pigeonhole.ledger.sweep import SWEEP_EVERY
from pigeonhole.ledger.workers import Announcement
from pigeonhole.settings import Settings
from pigeonhole.text import counted, span
from pigeonhole.version import VERSION
from producer.doctor.findings import Finding, listed, size

#: The oldest Redis that the tests run with.
OLDEST_REDIS = (6, 2)
#: Seconds that two clocks may differ. Only times in logs and in `status` depend on it.
SKEW_AT_MOST = 5.0
#: Seconds after which a sweep is overdue: several were missed.
LATE = 6 * SWEEP_EVERY
#: Seconds that a new worker may take to load its model.
STARTING = 60.0
#: The share of Redis' memory limit that may be used.
FULLEST = 0.9
#: Age in seconds from which an unfinished job counts as left over.
OLD = 86_400.0


class BrokerChecks:
    """Checks a Redis, its workers and its jobs; each check returns a finding.

    Args:
        settings: settings with a broker, whose Redis answers.

    All checks raise BrokerUnreachable if Redis no longer answers, or BrokerRefuses.
    """

    def __init__(self, settings: Settings) -> None:
        self.client = Connection(settings, Retrying(settings.outage_seconds))
        self.model = self.client.model_name(settings.model)
        self._workers, redis = self.client.workers, self.client.ledger.client
        self._server, self._letters = Server(settings, client=redis), DeadLetters(settings, client=redis)

    def _serving(self) -> list[Announcement]:
        return [worker for worker in self._workers.alive() if worker.model == self.model]

    def without_workers(self) -> bool:
        """Return whether no worker would take a probe; False if Redis does not answer that."""
        try:
            return not self._serving()
        except PigeonholeError:  # the check `workers` reports the error
            return False

    def version(self) -> Finding:
        """Check the version of Redis."""
        version = self._server.version()
        known = tuple(map(int, re.findall(r"\d+", version)[:2])) >= OLDEST_REDIS
        do = f"use Redis {'.'.join(map(str, OLDEST_REDIS))} or newer: older versions are not tested"
        return Finding("version", known, f"Redis {version}", "" if known else do)

    def persistence(self) -> Finding:
        """Check that Redis keeps pending batches on disk."""
        if self._server.appends():
            syncs = self._server.configured("appendfsync")
            how = "appendfsync unknown" if syncs is None else f"appendfsync {syncs}"
            lost = {
                "everysec": ": a power failure loses 2 s of data",
                "no": ": a power failure loses some 30 s",
            }
            return Finding("persistence", True, f"append-only file, {how}{lost.get(syncs or '', '')}")
        do = "set `appendonly yes`, or jobs are lost when Redis stops; see docs/reliability.md"
        saves = self._server.configured("save")
        if saves == "":
            return Finding("persistence", False, "Redis keeps nothing on disk", do)
        snapshots = "snapshots unknown" if saves is None else f"snapshots: {saves}"
        return Finding("persistence", None, f"no append-only file; {snapshots}", do)

    def memory(self) -> Finding:
        """Check that Redis has free memory, and deletes nothing when it is full."""
        memory = self._server.memory()
        used = f"{size(memory.used)} used of {size(memory.most) if memory.most else 'unlimited memory'}"
        saw = f"{used}; {memory.policy}"
        if memory.evicts:
            return Finding("memory", False, saw, "set `maxmemory-policy noeviction`, or Redis deletes pending batches")
        if memory.most and memory.used > FULLEST * memory.most:
            return Finding("memory", False, saw, "raise `maxmemory`, or `pigeonhole delete` jobs whose rows you have")
        return Finding("memory", True, saw)

    def workers(self) -> Finding:
        """Check that workers serve the model and take batches."""
        serving = self._serving()
        if not serving:
            return Finding("workers", False, *no_worker(self.model, self._workers))
        now, waiting = self._workers.time(), self.client.queue.depth(self.model)
        wrong = [f"{worker.name}: {its}" for worker in serving if (its := trouble(worker, waiting, now))]
        if wrong:
            starting = [worker for worker in serving if not worker.processes and now - worker.busy < STARTING]
            do = "see the worker's log; a new worker needs a minute to start, one that hangs must be restarted"
            return Finding("workers", None if len(starting) == len(wrong) else False, "; ".join(wrong), do)
        processes = sum(worker.processes for worker in serving)
        names = listed(worker.name for worker in serving)
        return Finding("workers", True, f"{len(serving)} for {self.model!r} with {processes} processes: {names}")

    def versions(self) -> Finding:
        """Check that the workers have this version of Pigeonhole."""
        serving = self._serving()
        if not serving:
            return Finding("versions", None, f"this is {VERSION}; there is no worker to compare with")
        versions = sorted({worker.version for worker in serving} | {VERSION})
        if versions == [VERSION]:
            return Finding("versions", True, f"all Pigeonhole {VERSION}")
        do = "install the same version on both sides: versions may not understand each other's data"
        return Finding("versions", False, f"this is {VERSION}; found {listed(versions)}", do)

    def checkpoints(self) -> Finding:
        """Check that all workers run the same checkpoint in the same precision."""
        serving = self._serving()
        found = sorted({worker.identity for worker in serving})
        if len(found) > 1:
            do = "restart the workers with one model and one PIGEONHOLE_PRECISION; two models need two names"
            return Finding("checkpoints", False, f"several share one name: {listed(found)}", do)
        if not found:
            return Finding("checkpoints", None, "unknown: there is no worker")
        runtimes = listed(sorted({worker.runtime for worker in serving if worker.runtime}))
        return Finding("checkpoints", True, f"{found[0]}, run by {runtimes}" if runtimes else found[0])

    def clocks(self) -> Finding:
        """Check that the clocks of Redis, the workers and this machine agree."""
        skews = [("this machine", time.time() - self._workers.time())]
        skews += [(worker.name, worker.skew) for worker in self._serving()]
        name, worst = max(skews, key=lambda item: abs(item[1]))
        saw = f"{name} is {abs(worst):.1f} s {'ahead of' if worst > 0 else 'behind'} Redis, more than any other"
        if abs(worst) > SKEW_AT_MOST:
            return Finding("clocks", False, saw, "synchronise it by NTP: jobs are safe, but times in logs are wrong")
        return Finding("clocks", True, f"all within {max(abs(worst), 0.1):.1f} s of Redis")

    def sweeps(self, timeout: float) -> Finding:
        """Check that workers sweep, so that lost batches are published again.

        Args:
            timeout: seconds to wait for a sweep; the first worker may just have started.
        """
        give_up = time.monotonic() + timeout
        workers = self._workers.alive()
        while (age := self.client.ledger.sweep_age()) is None or age > LATE:
            if not workers or time.monotonic() > give_up:
                break
            time.sleep(0.1)
        saw = "none on record" if age is None else f"the last was {span(age)} ago"
        if age is not None and age <= LATE:
            return Finding("sweeps", True, saw)
        if not workers:
            return Finding("sweeps", None, f"{saw}; only workers sweep, and there is none")
        do = "look for `cannot sweep` in the workers' logs; until it is fixed, lost batches are not published again"
        return Finding("sweeps", False, f"{saw}, although there are workers", do)

    def jobs(self) -> Finding:
        """Check that all unfinished jobs make progress."""
        jobs = [job for job in self.client.ledger.statuses() if not job.over]
        served = {worker.model for worker in self._workers.alive()}
        submit = "`pigeonhole submit --job` submits the rest, `pigeonhole cancel` ends the job"
        checks = (
            ("no batch done for a minute", "see the workers' logs", [job for job in jobs if job.stalled is not None]),
            ("submission was interrupted", submit, [job for job in jobs if job.silent is not None]),
            (
                "no worker serves their model",
                "start one with `pigeonhole worker --model`, or `pigeonhole cancel` them",
                [job for job in jobs if served and job.model not in served],
            ),
            ("isolation runs can't start", "give the workers more memory", [job for job in jobs if job.untried]),
        )
        wrong = [(f"{what}: {listed(job.job for job in its)}", do) for what, do, its in checks if its]
        saw = [f"{len(jobs)} unfinished", *(what for what, _ in wrong)]
        if starving := [job.job for job in jobs if job.starving]:  # not wrong: these jobs are only slow
            saw.append(f"slow, because other jobs go first: {listed(starving)}")
        return Finding("jobs", not wrong, "; ".join(saw), "; ".join(do for _, do in wrong))

    def leftovers(self) -> Finding:
        """Check that there are no forgotten jobs and no dead letters."""
        jobs, now = self.client.ledger.statuses(), self._workers.time()
        old = [job for job in jobs if not job.over and now - job.created > OLD]
        letters = self._letters.all()
        unreadable = [job for job in jobs if job.state is JobState.UNREADABLE]
        parts, do = [], []
        if old:
            parts.append(f"unfinished for more than a day: {listed(job.job for job in old)}")
            do.append(
                "`pigeonhole resume` them, finish their submission with `submit --job`, or `pigeonhole cancel` them"
            )
        if unreadable:
            parts.append(f"written by another version: {listed(job.job for job in unreadable)}")
            do.append("finish them with workers of that version, or `pigeonhole delete` them")
        if letters:
            parts.append(f"{counted(len(letters), 'dead letter')} (batches that no worker could finish)")
            do.append("`pigeonhole status` shows them and their reasons")
        if parts:
            return Finding("leftovers", False, "; ".join(parts), "; ".join(do))
        return Finding("leftovers", True, f"none; {sum(job.over for job in jobs)} of {len(jobs)} jobs are over")
