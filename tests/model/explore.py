"""Explore all interleavings of two workers, a sweep and a cancellation on one job, with faults.

The states form an acyclic graph, since the number of faults and of clock steps is limited. It is searched depth first,
and each state once.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace

from pigeonhole.ledger.pieces import Piece
from pigeonhole.ledger.wire.messages import Answers
from tests.model.world import Held, Moment, Running, World

OVER = ("finished", "cancelled", "deleted")
#: Seconds by which the clock steps: longer than all timeouts, except for the expiry of finished jobs.
STEP = 1000.0


class Violation(AssertionError):
    """Raised when an invariant does not hold; the message names it and the events that led to it."""


@dataclass(frozen=True)
class Budget:
    """The largest number of events of each kind.

    Args:
        faults: losses of a worker process that its parent notices, losses of a whole worker, lost messages and
            duplicated messages.
        times: expiries of all leases, with or without sweeps meanwhile.
        sweeps, cancels, deletes: starts of these programs.
        steps: steps of Redis' clock, back or forward.
        saves: writes of Redis' content to disk.
        losses: losses of all that Redis has not written since the last save, or else since the beginning.
        submits: repeated submissions after a loss, if the job is open.
    """

    faults: int = 1
    times: int = 1
    sweeps: int = 1
    cancels: int = 1
    deletes: int = 0
    steps: int = 0
    saves: int = 0
    losses: int = 0
    submits: int = 0


@dataclass(frozen=True)
class State:
    """The state of the job and of all programs at one moment.

    Args:
        moment: the content of Redis, the messages and the time.
        workers: the program of each worker, None if it waits for a message; sorted, since workers are alike.
        sweep, cancel, submit: the progress of these programs; None: not started, or done.
        left: the rest of the budget.
        saved: the content that Redis has written to disk; None: that of the beginning.
    """

    moment: Moment
    workers: tuple[Running | None, ...]
    sweep: Running | None
    cancel: Running | None
    submit: Running | None
    left: Budget
    saved: Held | None = None

    def spent(self, what: str) -> "State":
        """Return the state with one event of a kind less in the budget."""
        return replace(self, left=replace(self.left, **{what: getattr(self.left, what) - 1}))

    def at_work(self, worker: int, running: Running | None) -> "State":
        """Return the state with another program for a worker."""
        workers = (*self.workers[:worker], running, *self.workers[worker + 1 :])
        return replace(self, workers=tuple(sorted(workers, key=_order)))


#: An event, and the state after it.
Event = tuple[str, State]


@dataclass
class Explorer:
    """Explores all states of a world.

    Args:
        world: the world at its beginning.
        budget: the budget of events.
        workers: the number of workers.
    """

    world: World
    budget: Budget
    workers: int = 2
    events: int = field(default=0, init=False)
    # For each state: its number, the state and event from which it was first reached, and its successors.
    _number: dict[State, int] = field(default_factory=dict, init=False)
    _origin: list[tuple[int, str]] = field(default_factory=list, init=False)
    _next: list[set[int]] = field(default_factory=list, init=False)
    # The moments that were checked already.
    _ends: set[Moment] = field(default_factory=set, init=False)
    _changes: set[tuple[Held, Held]] = field(default_factory=set, init=False)

    def run(self) -> "Explorer":
        """Explore all states.

        Raises:
            Violation: an invariant does not hold.
        """
        todo = [State(self.world.start, (None,) * self.workers, None, None, None, self.budget)]
        self._reached(todo[0], 0, "")
        while todo:
            state = todo.pop()
            number = self._number[state]
            for name, after in self._events(state):
                if after == state:
                    continue  # the newest possible lease was renewed
                self.events += 1
                if after not in self._number:
                    self._reached(after, number, name)
                    todo.append(after)
                if after.left.losses == state.left.losses:
                    self._check_step(state.moment.held, after)
                self._next[number].add(self._number[after])
        return self

    @property
    def states(self) -> int:
        """Return the number of states."""
        return len(self._number)

    def interleavings(self) -> int:
        """Return the number of different paths from the beginning to an end."""
        ways: dict[int, int] = {}
        todo = [0]
        while todo:
            unknown = [after for after in self._next[todo[-1]] if after not in ways]
            if not unknown:
                state = todo.pop()
                ways[state] = sum(ways[after] for after in self._next[state]) or 1
            todo += unknown
        return ways[0]

    def _reached(self, state: State, number: int, name: str) -> None:
        """Number and check a state that is reached for the first time."""
        self._number[state] = len(self._number)
        self._origin.append((number, name))
        self._next.append(set())
        with self._with_events(state):
            check(self.world, state.moment.held)
            self._check_end(state.moment)

    def _check_step(self, before: Held, state: State) -> None:
        after = state.moment.held
        if (before, after) not in self._changes:
            self._changes.add((before, after))
            with self._with_events(state):
                check_step(before, after)

    @contextmanager
    def _with_events(self, state: State) -> Iterator[None]:
        """Return a violation with the events that led to it."""
        try:
            yield
        except Violation as exc:
            raise Violation(f"{exc}, after: {'; '.join(self._path(self._number[state]))}") from None

    def _check_end(self, moment: Moment) -> None:
        """Check that the job finishes without further faults, after all programs and messages were lost."""
        moment = replace(moment, messages=())
        if moment in self._ends:
            return
        self._ends.add(moment)
        end = moment
        if end.held.state == "open":
            end = self.world.run(end, "submit")
            check(self.world, end.held)
        # Each round may split another piece of a lost worker; the first one corrects times in the future.
        for _ in range(5 + sum(self.world.sizes)):
            end = self.world.run(self.world.later(end, swept=True), "sweep")
            while end.messages:
                piece, *others = end.messages
                end = self.world.run(replace(end, messages=tuple(others)), "work", piece)
            if end.held.state != "closed":
                break
        check(self.world, end.held)
        check_step(moment.held, end.held)
        _require(end.held.state in OVER, "it would never finish")

    def _events(self, state: State) -> Iterator[Event]:
        for worker, running in enumerate(state.workers):
            if running is not None:
                yield from self._of_worker(state, worker, running)
            elif None not in state.workers[:worker]:  # idle workers are alike
                for piece, without in _messages(state):
                    yield f"a worker claims {piece}", self._worked(without, worker, Running("work", piece))
        if state.sweep or state.left.sweeps:
            begun = state if state.sweep else state.spent("sweeps")
            moment, sweep = self.world.step(state.moment, state.sweep or Running("sweep"))
            yield "the sweep continues", replace(begun, moment=moment, sweep=sweep)
        if state.cancel or state.left.cancels:
            begun = state if state.cancel else state.spent("cancels")
            moment, cancel = self.world.step(state.moment, state.cancel or Running("cancel"))
            yield (
                f"the job is {state.cancel.program if state.cancel else 'cancel'}ed",
                replace(begun, moment=moment, cancel=cancel),
            )
        if state.left.deletes and state.cancel is None:
            moment, cancel = self.world.step(state.moment, Running("delete"))
            yield "the job is deleted", replace(state.spent("deletes"), moment=moment, cancel=cancel)
        if state.submit or (state.left.submits and state.moment.held.state == "open"):
            begun = state if state.submit else state.spent("submits")
            moment, submit = self.world.step(state.moment, state.submit or Running("submit"))
            yield "the submission continues", replace(begun, moment=moment, submit=submit)
        yield from self._of_time_and_messages(state)
        yield from self._of_redis(state)

    def _of_redis(self, state: State) -> Iterator[Event]:
        """Yield the events of Redis: steps of its clock, saves and losses."""
        if state.left.steps:
            for step in (STEP, -STEP):
                moment = replace(state.moment, now=state.moment.now + step)
                yield f"the clock steps by {step:.0f} s", replace(state.spent("steps"), moment=moment)
        if state.left.saves and state.left.losses:
            yield "Redis writes to disk", replace(state.spent("saves"), saved=state.moment.held)
        if state.left.losses:
            for held in [state.saved] if state.saved else [self.world.start.held, *self.world.earlier]:
                moment = replace(state.moment, held=held)
                yield "Redis loses writes", replace(state.spent("losses"), moment=moment)

    def _of_time_and_messages(self, state: State) -> Iterator[Event]:
        """Yield the events of time and messages."""
        if state.left.times:
            for swept in (True, False):
                later = self.world.later(state.moment, swept)
                yield f"leases run out {'' if swept else 'un'}swept", replace(state.spent("times"), moment=later)
        if state.left.faults:
            for piece, without in _messages(state):
                yield f"the message of {piece} is lost", without.spent("faults")
                twice = replace(state.moment, messages=tuple(sorted((*state.moment.messages, piece), key=str)))
                yield f"the message of {piece} comes twice", replace(state.spent("faults"), moment=twice)

    def _of_worker(self, state: State, worker: int, running: Running) -> Iterator[Event]:
        """Yield the events of a worker with a piece, or of its parent after it was lost."""
        yield f"the {running.program} on {running.piece} continues", self._worked(state, worker, running)
        if running.program == "work":
            moment = self.world.run(state.moment, "renew", running.piece)
            yield f"the lease of {running.piece} is renewed", replace(state, moment=moment)
            if state.left.faults:
                losing = Running("lose", running.piece)
                yield f"the process with {running.piece} is lost", state.spent("faults").at_work(worker, losing)
                yield f"the worker with {running.piece} is lost", state.spent("faults").at_work(worker, None)

    def _worked(self, state: State, worker: int, running: Running) -> State:
        moment, after = self.world.step(state.moment, running)
        return replace(state, moment=moment).at_work(worker, after)

    def _path(self, number: int) -> list[str]:
        path = []
        while number:
            number, name = self._origin[number]
            path.append(name)
        return path[::-1]


def check(world: World, held: Held) -> None:
    """Raise Violation unless all invariants hold in a state."""
    over = held.state in OVER
    digests = {int(number): digest.decode() for number, digest in held.digests}
    _require(digests == {number: batch.digest for number, batch in held.batches.items()}, "a digest is wrong")
    waiting, claimed = ({Piece.parse(name.decode()) for name, _ in names} for names in (held.waiting, held.claimed))
    _require(not waiting & claimed, "a piece waits and is claimed")
    _require({_number(key) for key, _ in held.rows} <= {*digests}, "a row has no references")
    pieces = {Piece.parse_key(key.decode(), digests[_number(key)]): Answers.decode(data) for key, data in held.rows}
    done = [image for piece in pieces for image in _images(held, piece)]
    _require(len(done) == len(set(done)), "an image has two rows")
    _require(
        {piece.digest for piece in waiting | claimed} <= {*digests.values()}, "a pending piece is of other references"
    )
    pending = [image for piece in waiting | claimed for image in _images(held, piece)]
    _require(len(pending) == len(set(pending)), "an image is pending twice")
    _require(not set(done) & set(pending), "an image is done and pending")
    everything = {(number, at) for number, batch in held.batches.items() for at in range(len(batch))}
    _require(
        held.state == "cancelled" or set(done) | set(pending) == everything, "an image is neither done nor pending"
    )
    for piece, answers in pieces.items():
        names = tuple(piece.of(held.batches[piece.number]).shown())
        _require(answers.batch == piece.digest and answers.labels in ((), names), "a row is of other references")
    _require(held.counter(b"done") == len(done) == sum(map(len, pieces.values())), "the counter of rows is wrong")
    _require(
        held.counter(b"errors") == sum(len(each.errors) for each in pieces.values()), "the counter of errors is wrong"
    )
    complete = held.state in ("closed", "finished")
    _require(not complete or len(everything) == sum(world.sizes), "it was closed too early")
    _require(not (over and pending), f"it is {held.state} and has pending images")
    _require(held.state != "closed" or bool(pending), "it has no pending image and is not finished")
    _require(held.state == "deleted" or over != bool(held.active), "the list of active jobs is wrong")
    _require(held.state != "deleted" or not held.keys, "it is deleted and has keys")
    _require(held.expiring == (held.keys if over else frozenset()), "the wrong keys expire")


def check_step(before: Held, after: Held) -> None:
    """Raise Violation if a step has changed something final."""
    if after.state == "deleted":
        return
    _require(before.rows <= after.rows, "a row was changed or lost")
    if before.state in OVER:
        _require(before.state == after.state and before.rows == after.rows, "a job that was over continued")


def _number(key: bytes) -> int:
    return int(key.partition(b":")[0])


def _images(held: Held, piece: Piece) -> list[tuple[int, int]]:
    """Return the images of a piece, as (batch, position)."""
    stop = len(held.batches[piece.number]) if piece.stop is None else piece.stop
    return [(piece.number, at) for at in range(piece.start, stop)]


def _messages(state: State) -> Iterator[tuple[Piece, State]]:
    """Yield each waiting message, with the state without it."""
    messages = state.moment.messages
    for at, piece in enumerate(messages):
        if piece not in messages[:at]:
            yield piece, replace(state, moment=replace(state.moment, messages=messages[:at] + messages[at + 1 :]))


def _require(condition: bool, wrong: str) -> None:
    if not condition:
        raise Violation(wrong)


def _order(running: Running | None) -> tuple[str, str, int]:
    return ("", "", 0) if running is None else (running.program, str(running.piece), len(running.answers))
