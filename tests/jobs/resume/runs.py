"""Simulated runs of a command without Redis: its batches, and answers as from a worker."""

from array import array
from collections.abc import Iterable, Iterator
from contextlib import closing, contextmanager
from dataclasses import replace

from pigeonhole.jobs.earlier_rows import EarlierRows
from pigeonhole.jobs.ownership import OwnFile, open_state
from pigeonhole.jobs.state import Command, Run, State
from pigeonhole.jobs.submit import batches
from pigeonhole.ledger.done import DoneBatch
from pigeonhole.ledger.wire.messages import Answers, Batch
from pigeonhole.sources.expand import expand
from pigeonhole.sources.reference import Reference, Root
from pigeonhole.sources.registry import by_scheme
from tests.sinks.formats import CSV

MODEL = "digits@0123456789ab"
COMMAND = Command("classify", ("in",), False, "/home/a", "/")
ROOT = Root("/")


def references(*sources: str) -> Iterator[Reference]:
    return expand(sources, ROOT)


def answers_to(batch: Batch, model: str = MODEL, errors: Iterable[int] = ()) -> Answers:
    """Return answers to a batch like a worker's, with the current identities of the files, however recent."""
    identities = array("Q")
    for location in batch.located():
        kind = by_scheme(location.scheme)
        assert kind is not None
        identities.append(kind(ROOT).identity(location))
    images = len(batch)
    answers = Answers(model, ("7", "1"), images, 1, array("H", [0] * images), array("I", [900_000] * images))
    failed = dict.fromkeys(errors, ("corrupt", "x"))
    return replace(answers, identities=identities, errors=failed, batch=batch.digest)


def deliver(run: Run, number: int, batch: Batch, answers: Answers) -> None:
    run.deliver(DoneBatch(number, batch.encode(), ((str(number), answers.encode()),)))


def submitted(state: State, images: Iterable[Reference], job: str = "") -> tuple[Run, list[Batch]]:
    """Record a run of these images without answers."""
    run, cut = state.begin_run(job), list(batches(images))
    for batch in cut:
        run.add(batch)
    return run, cut


def interrupted(
    *sources: str, model: str = MODEL, errors: Iterable[int] = (), path: str = "x.csv", command: Command = COMMAND
) -> None:
    """Simulate a command that is killed when all images of its first batch have rows."""
    with closing(open_state(path, command, CSV, overwrite=True)) as state:
        run, cut = submitted(state, references(*sources))
        deliver(run, 0, cut[0], answers_to(cut[0], model, errors))


def finished(*sources: str, errors: Iterable[int] = (), path: str = "x.csv", command: Command = COMMAND) -> None:
    """Simulate a command that runs to its end."""
    with closing(open_state(path, command, CSV)) as state, closing(OwnFile(path, CSV, state)) as file:
        run, cut = submitted(state, references(*sources))
        for number, batch in enumerate(cut):
            answers = answers_to(batch, errors=errors)
            deliver(run, number, batch, answers)
            file.write(answers.rows(batch))
        run.finish()
        file.finish()


@contextmanager
def resumed(
    checkpoint: str = MODEL, path: str = "x.csv", retry_errors: bool = False, pending: bool = False
) -> Iterator[EarlierRows]:
    """Open the earlier rows of the same command."""
    with closing(open_state(path, COMMAND, CSV, retry_errors=retry_errors)) as state:
        runs = state.runs if pending else ()
        with closing(EarlierRows(state, checkpoint, ROOT, runs, retry_errors)) as earlier:
            yield earlier


def paths_of(earlier: EarlierRows) -> list[str]:
    """Return the paths of the rows that are kept."""
    return [row.path for rows, _ in earlier.batches() for row in rows]
