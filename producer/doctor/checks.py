"""What `pigeonhole doctor` looks at where many share a Redis: Redis itself, workers, what is left over."""

import re
import time

from pigeonhole.errors import PigeonholeError
from pigeonhole.jobs.connection import Connection
from pigeonhole.jobs.follow import no_worker
from pigeonhole.jobs.retrying import Retrying
from pigeonhole.ledger.dead_letters import DeadLetters
from pigeonhole.ledger.health import trouble
from pigeonhole.ledger.server import Server
from pigeonhole.ledger.status import JobState
from pigeonhole.ledger.sweep import SWEEP_EVERY
from pigeonhole.ledger.workers import Announcement
from pigeonhole.settings import Settings
from pigeonhole.text import counted, span
from pigeonhole.version import VERSION
from producer.doctor.findings import Finding, size, some

#: The oldest Redis that the tests run with.
OLDEST_REDIS = (6, 2)
#: Seconds that two clocks may differ. Nothing depends on it but the times in logs and in `status`.
SKEW_AT_MOST = 5.0
#: Seconds since the last sweep after which several are missing.
LATE = 6 * SWEEP_EVERY
#: How full Redis may be.
FULLEST = 0.9
#: Seconds after which a job that still owes rows has been left over.
OLD = 86_400.0


class Site:
    """A Redis that answers, and who is there; each check gives its finding.

    Args:
        settings: with a broker.

    All checks raise BrokerUnreachable where Redis does not answer any more, or BrokerRefuses.
    """

    def __init__(self, settings: Settings) -> None:
        self.client = Connection(settings, Retrying(settings.patience))
        self.model = self.client.model_name(settings.model)
        self._workers, redis = self.client.workers, self.client.ledger.client
        self._server, self._letters = Server(settings, client=redis), DeadLetters(settings, client=redis)

    def _serving(self) -> list[Announcement]:
        return [worker for worker in self._workers.alive() if worker.model == self.model]

    def deserted(self) -> bool:
        """Return whether nobody would take a probe; where that can't be asked, somebody may."""
        try:
            return not self._serving()
        except PigeonholeError:  # `workers` tells it
            return False

    def version(self) -> Finding:
        """Is it a Redis that we know?"""
        version = self._server.version()
        known = tuple(map(int, re.findall(r"\d+", version)[:2])) >= OLDEST_REDIS
        do = f"use {'.'.join(map(str, OLDEST_REDIS))} or newer: older ones are not tested"
        return Finding("version", known, f"Redis {version}", "" if known else do)

    def persistence(self) -> Finding:
        """Does it keep what is owed when it stops?"""
        if self._server.appends():
            syncs = self._server.configured("appendfsync")
            how = "how often is for its configuration to say" if syncs is None else f"appendfsync {syncs}"
            lost = {"everysec": ": a power failure undoes two seconds", "no": ": a power failure undoes some 30 s"}
            return Finding("persistence", True, f"an append-only file is kept, {how}{lost.get(syncs or '', '')}")
        do = "set `appendonly yes`, or jobs are lost when it stops; docs/reliability.md says what must be kept"
        saves = self._server.configured("save")
        if saves == "":
            return Finding("persistence", False, "it keeps nothing on disk", do)
        told = "whether snapshots are made is for its configuration to say" if saves is None else f"snapshots: {saves}"
        return Finding("persistence", None, f"no append-only file is kept; {told}", do)

    def memory(self) -> Finding:
        """Is there room, and would it refuse what does not fit, rather than delete?"""
        memory = self._server.memory()
        used = f"{size(memory.used)} used of {size(memory.most) if memory.most else 'what there is, without a limit'}"
        saw = f"{used}; {memory.policy}"
        if memory.evicts:
            return Finding("memory", False, saw, "set `maxmemory-policy noeviction`: this one deletes what is owed")
        if memory.most and memory.used > FULLEST * memory.most:
            return Finding("memory", False, saw, "raise `maxmemory`, or `pigeonhole delete` jobs whose rows you have")
        return Finding("memory", True, saw)

    def workers(self) -> Finding:
        """Are there any for our model, and do they take what waits?"""
        serving = self._serving()
        if not serving:
            said, _, do = no_worker(self.model, self._workers).partition("; ")
            return Finding("workers", False, said, do)
        now, waiting = self._workers.time(), self.client.queue.depth(self.model)
        wrong = [f"{worker.name}: {its}" for worker in serving if (its := trouble(worker, waiting, now))]
        if wrong:
            do = "see its log; one that starts needs a minute, one that stands still must be started again"
            return Finding("workers", False, "; ".join(wrong), do)
        processes = sum(worker.processes for worker in serving)
        names = some(worker.name for worker in serving)
        return Finding("workers", True, f"{len(serving)} for {self.model!r}, {processes} processes in all: {names}")

    def versions(self) -> Finding:
        """Are they of our version?"""
        serving = self._serving()
        if not serving:
            return Finding("versions", None, f"this is {VERSION}, and no worker tells of its own")
        versions = sorted({worker.version for worker in serving} | {VERSION})
        if versions == [VERSION]:
            return Finding("versions", True, f"all Pigeonhole {VERSION}")
        do = "install the same on both sides: one may not understand what the other writes"
        return Finding("versions", False, f"this is {VERSION}, and there are {some(versions)}", do)

    def checkpoints(self) -> Finding:
        """Would every worker give the same result: is it the same model, in the same precision?"""
        serving = self._serving()
        found = sorted({worker.identity for worker in serving})
        if len(found) > 1:
            do = "restart the workers with one model and one PIGEONHOLE_PRECISION; two models need two names"
            return Finding("checkpoints", False, f"several are served under one name: {some(found)}", do)
        if not found:
            return Finding("checkpoints", None, "no worker tells of one")
        runtimes = some(sorted({worker.runtime for worker in serving if worker.runtime}))
        return Finding("checkpoints", True, f"{found[0]}, run by {runtimes}" if runtimes else found[0])

    def clocks(self) -> Finding:
        """Do clocks agree?"""
        skews = [("this machine", time.time() - self._workers.time())]
        skews += [(worker.name, worker.skew) for worker in self._serving()]
        name, worst = max(skews, key=lambda item: abs(item[1]))
        saw = f"{name} is {abs(worst):.1f} s {'ahead of' if worst > 0 else 'behind'} Redis, no other more"
        if abs(worst) > SKEW_AT_MOST:
            return Finding("clocks", False, saw, "have it set by NTP: jobs hold, but times in logs mislead")
        return Finding("clocks", True, f"all within {max(abs(worst), 0.1):.1f} s of Redis'")

    def sweeps(self, patience: float) -> Finding:
        """Is what gets lost recovered?

        Args:
            patience: seconds for which a sweep is waited for, as after the start of the first worker.
        """
        give_up = time.monotonic() + patience
        workers = self._workers.alive()
        while (age := self.client.ledger.sweep_age()) is None or age > LATE:
            if not workers or time.monotonic() > give_up:
                break
            time.sleep(0.1)
        saw = "none on record" if age is None else f"the last was {span(age)} ago"
        if age is not None and age <= LATE:
            return Finding("sweeps", True, saw)
        if not workers:
            return Finding("sweeps", None, f"{saw}: workers sweep, and there is none")
        do = "see the workers' logs, `not swept`: until then nothing that is lost is published again"
        return Finding("sweeps", False, f"{saw}, though there are workers", do)

    def jobs(self) -> Finding:
        """Do all unfinished jobs get on?"""
        jobs = [job for job in self.client.ledger.statuses() if not job.over]
        served = {worker.model for worker in self._workers.alive()}
        submit = "`pigeonhole submit --job` adds the rest to an open one, `pigeonhole cancel` ends it"
        checks = (
            ("no batch done for a minute", "see the workers' logs", [job for job in jobs if job.stalled is not None]),
            ("open, and nobody submits to it", submit, [job for job in jobs if job.silent is not None]),
            (
                "no worker serves their model",
                "start one with `pigeonhole worker --model`, or `pigeonhole cancel` them",
                [job for job in jobs if served and job.model not in served],
            ),
            ("isolation runs can't start", "give the workers more memory", [job for job in jobs if job.untried]),
        )
        wrong = [(f"{what}: {some(job.job for job in its)}", do) for what, do, its in checks if its]
        saw = [f"{len(jobs)} unfinished", *(what for what, _ in wrong)]
        if starving := [job.job for job in jobs if job.starving]:  # it gets on, and more workers are a matter of cost
            saw.append(f"others go first, and each sweep gives it one batch: {some(starving)}")
        return Finding("jobs", not wrong, "; ".join(saw), "; ".join(do for _, do in wrong))

    def leftovers(self) -> Finding:
        """Does something lie around that somebody has forgotten?"""
        jobs, now = self.client.ledger.statuses(), self._workers.time()
        old = [job for job in jobs if not job.over and now - job.created > OLD]
        letters = self._letters.all()
        unreadable = [job for job in jobs if job.state is JobState.UNREADABLE]
        parts, do = [], []
        if old:
            parts.append(f"unfinished for more than a day: {some(job.job for job in old)}")
            do.append(
                "`pigeonhole resume` them, `submit --job` the rest of what was cut off, or `pigeonhole cancel` them"
            )
        if unreadable:
            parts.append(f"written by another version: {some(job.job for job in unreadable)}")
            do.append("finish them with its workers, or `pigeonhole delete` them")
        if letters:
            parts.append(f"{counted(len(letters), 'dead letter')} (batches that no worker could finish)")
            do.append("`pigeonhole status` shows them, and why")
        if parts:
            return Finding("leftovers", False, "; ".join(parts), "; ".join(do))
        return Finding("leftovers", True, f"none; {sum(job.over for job in jobs)} of {len(jobs)} jobs are over")
