"""The steps of `classify`: keep rows of earlier runs, complete their jobs, then submit and follow the rest."""

from collections.abc import Iterable
from dataclasses import dataclass
from functools import partial

from pigeonhole.errors import ExitCode, OutputFailed
from pigeonhole.jobs.begin import begin, resume_run
from pigeonhole.jobs.connection import Connection
from pigeonhole.jobs.earlier_rows import EarlierRows
from pigeonhole.jobs.state import Run, State
from pigeonhole.limits import TOP
from pigeonhole.sources.reference import Reference
from producer.command import Output, finish, follow, notify_unless_quiet
from producer.resuming import hinting, resume_hint, run_again, submit_again


@dataclass
class Classification:
    """Runs one `classify` command.

    Args:
        client: the connection to the Redis of its jobs.
        state: the command's resume state.
        pending: earlier runs whose jobs still exist.
        kept: rows of earlier runs that are kept.
        output: receives the rows.
        sources: the SOURCE arguments of the command line.
        null: whether lists are separated by NUL.
        is_file: whether the rows go to a FILE, so that the command can be resumed.
    """

    client: Connection
    state: State
    pending: list[Run]
    kept: EarlierRows
    output: Output
    sources: list[str]
    null: bool
    is_file: bool
    _job: str = ""

    def __call__(self, references: Iterable[Reference], model: str) -> ExitCode:
        """Run the command to its end.

        Args:
            references: the images of the sources.
            model: name of the model for a new job.
        """
        with hinting(self._hint, run_again(self.sources) if self.is_file else ""):
            self._keep()
            missing = self.kept.missing(references)
            begun = begin(
                self.client,
                self.state,
                missing,
                self.sources,
                model,
                needs_job=not self._job,
                top=self.output.options.top or TOP,
            )
            if begun:
                self._job = begun.job
                try:
                    follow(self.client, begun.job, self.output, begun)
                except OutputFailed:
                    if self.client.settings.broker_url:
                        begun.submission.finish()  # the job continues without us
                    raise
            return finish(self.client, self._job, self.output)

    def _keep(self) -> None:
        """Write the rows that are kept, and those of pending jobs as they come."""
        for rows, origins in self.kept.batches():
            self.output.write(rows, origins)
        for run in self.pending:
            self._job = run.job
            notify_unless_quiet(f"resuming job {run.job}", self.output.quiet)
            elsewhere = self.kept.summary.images - self.kept.of_run[run.number]
            take = partial(self.kept.take, run)
            follow(self.client, run.job, self.output, resume_run(self.client, run), take, elsewhere)
        notify_unless_quiet(self.kept.message(), self.output.quiet)

    def _hint(self) -> str:
        """Return how to resume the command; empty if that is impossible."""
        settings = self.client.settings
        again = run_again(self.sources) if self.is_file else submit_again(settings, self._job, self.sources, self.null)
        if settings.broker_url and self._job:
            return resume_hint(self.client, self._job, None, again, self.output.options, resumes=self.is_file)
        return again if self.is_file else ""
