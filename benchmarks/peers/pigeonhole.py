"""Pigeonhole like `pigeonhole classify FOLDER -o FILE`, with all features: Redis, workers, ledger, resume state, CSV.

The time is from the start of listing the folder to the last row on disk.
"""

import os
import tempfile
import time
from collections.abc import Iterable, Iterator
from contextlib import ExitStack, closing
from dataclasses import replace

from benchmarks.common.machine import PROCESSES, environment
from benchmarks.common.measure import Clock, Images
from pigeonhole.embedded.servers import embedded
from pigeonhole.jobs.begin import begin
from pigeonhole.jobs.connection import Connection
from pigeonhole.jobs.earlier_rows import EarlierRows
from pigeonhole.jobs.ownership import OwnFile, open_state
from pigeonhole.jobs.retrying import Retrying
from pigeonhole.jobs.state import Command
from pigeonhole.settings import Settings
from pigeonhole.sinks.csv_rows import Csv
from pigeonhole.sources.expand import expand
from pigeonhole.sources.reference import Root
from producer.program import collect_seldom

SETTINGS = "all defaults, with 2 processes; it lists the folder itself, but most others get the list of files"


class Pigeonhole:
    """Pigeonhole with an embedded Redis and workers.

    Args:
        model: a checkpoint's path, or the name of a shipped one.
        pythonpath: the workers' PYTHONPATH, to register a network that the package does not have.
    """

    def __init__(self, model: str = "digits", pythonpath: str | None = None) -> None:
        self._settings = replace(Settings(), model=model, processes=PROCESSES)
        self._pythonpath = pythonpath
        self._open = ExitStack()

    def start(self) -> None:
        """Start Redis and workers, and wait until both processes have loaded the checkpoint."""
        collect_seldom()
        self._folder = self._open.enter_context(tempfile.TemporaryDirectory(prefix="bench-rows-"))
        with environment({"PYTHONPATH": self._pythonpath} if self._pythonpath else {}):
            self._private = self._open.enter_context(embedded(self._settings))
        self._name, self._checkpoint = self._private.model()
        self._connection = Connection(self._private.settings, Retrying(self._settings.outage_seconds))
        while sum(worker.processes for worker in self._connection.workers.alive()) < PROCESSES:
            self._private.check()
            time.sleep(0.05)

    def run(self, images: Images, clock: Clock) -> Iterable[str]:
        """Submit the folder, follow the job, and write its rows."""
        file, sources = os.path.join(self._folder, f"{time.monotonic_ns()}.csv"), [images.folder]
        references = expand(sources, Root("/"))
        command, format = Command("classify", tuple(sources), False, os.getcwd(), "/"), Csv()
        with closing(open_state(file, command, format)) as state, closing(OwnFile(file, format, state)) as sink:
            kept = EarlierRows(state, self._checkpoint, Root("/"))
            begun = begin(self._connection, state, kept.missing(references), sources, self._name)
            assert begun is not None  # there was no earlier run; for the type checker

            def check() -> None:
                self._private.check()
                begun.submission.check()

            for batch in self._connection.follower(begun.submission.on_status, check).batches(begun.job):
                begun.run.deliver(batch)
                rows = batch.rows()
                kept.summary.add(rows)
                sink.write(rows)
            sink.finish()
        return labels(file, images)

    def stop(self) -> None:
        """End Redis and workers."""
        self._open.close()


def labels(file: str, images: Images) -> Iterator[str]:
    """Yield the labels from the file, after the time was measured.

    Raises:
        RuntimeError: the rows are not in the order of the images.
    """
    with open(file, "rb") as stream:
        for path, (_, row) in zip(images.paths, Csv().scan(stream), strict=True):
            if row.path != path:
                raise RuntimeError(f"expected the row of {path}, not of {row.path}")
            yield row.label
