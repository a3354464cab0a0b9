"""Outages of a real Redis, and the notices that they cause."""

from collections.abc import Callable, Iterator

from pigeonhole.errors import BrokerUnreachable
from pigeonhole.ledger.ledger import Ledger
from pigeonhole.ledger.pieces import Piece
from pigeonhole.ledger.wire.messages import Batch
from pigeonhole.settings import Settings
from pigeonhole.sources.reference import Reference
from tests.jobs.references import references
from tests.ledger.conftest import answers_for


class Shown:
    """Records notices, and calls a function when an outage begins."""

    def __init__(self, then: Callable[[], object] = lambda: None) -> None:
        self.reported: list[str] = []
        self._then = then

    def away(self, exc: BrokerUnreachable) -> None:
        self.reported.append(str(exc))
        self._then()

    def back(self) -> None:
        self.reported.append("back")

    def held(self, why: str) -> None:
        self.reported.append(why)


def with_event(count: int, at: int, event: Callable[[], object]) -> Iterator[Reference]:
    """Yield references, and call a function in the middle."""
    for number, reference in enumerate(references(count)):
        if number == at:
            event()
        yield reference
    if at == count:
        event()


def complete(settings: Settings, job: str, images: int) -> bool:
    """Return whether all images are on record once, and no others."""
    ledger = Ledger(settings)
    status = ledger.status(job)
    listed = [path for piece in ledger.pending(job) for path in references_of(ledger, job, piece).shown()]
    expected = [f"in/{number}.png" for number in range(images)]
    return (status.submitting, status.images, listed) == (False, images, expected)


def references_of(ledger: Ledger, job: str, piece: Piece) -> Batch:
    batch = ledger.claim(job, piece)
    assert batch is not None
    return batch


def do_all(ledger: Ledger, job: str) -> None:
    """Answer all pending pieces as a worker would."""
    for piece in ledger.pending(job):
        batch = ledger.claim(job, piece)
        assert batch is not None
        ledger.commit(job, piece, answers_for(batch))
