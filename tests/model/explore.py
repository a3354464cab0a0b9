"""Every order in which two workers, a sweep and a cancellation can go about one job, with faults in between.

The states form a graph without circles, since each fault and each of the clock's steps can happen only so often. It is
searched depth first; a state that was seen before is not searched again.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace

from pigeonhole.ledger.messages import Answers
from pigeonhole.ledger.pieces import Piece
from tests.model.world import Held, Moment, Running, World


class Violation(AssertionError):
    """An invariant does not hold; the message tells which, and how it came to that."""


@dataclass(frozen=True)
class Budget:
    """How often things may happen, in all.

    Args:
        faults: a worker's process is lost and its parent sees it, or a worker vanishes whole and nobody does; a message
            is lost, or comes twice.
        times: all leases run out, with sweeps meanwhile or without.
        sweeps, cancels: these programs are begun.
    """

    faults: int = 1
    times: int = 1
    sweeps: int = 1
    cancels: int = 1


@dataclass(frozen=True)
class State:
    """Where everybody is at one moment.

    Args:
        moment: what there is.
        workers: what each does, None where it waits for a message; sorted, since it does not matter which does what.
        sweep, cancel: how far these are, None where they have not begun, or are done.
        left: of the budget.
    """

    moment: Moment
    workers: tuple[Running | None, ...]
    sweep: Running | None
    cancel: Running | None
    left: Budget

    def spent(self, what: str) -> "State":
        """Give it with one thing less that may happen."""
        return replace(self, left=replace(self.left, **{what: getattr(self.left, what) - 1}))

    def at_work(self, worker: int, running: Running | None) -> "State":
        """Give it with a worker doing something else."""
        workers = (*self.workers[:worker], running, *self.workers[worker + 1 :])
        return replace(self, workers=tuple(sorted(workers, key=_order)))


#: What can happen, and the state after that.
Event = tuple[str, State]


@dataclass
class Explorer:
    """Searches all states of a world.

    Args:
        world: at its beginning.
        budget: of faults.
        workers: how many.
    """

    world: World
    budget: Budget
    workers: int = 2
    events: int = field(default=0, init=False)
    # A state's number, the one that it was first reached from (with what happened then), and all that follow it.
    _number: dict[State, int] = field(default_factory=dict, init=False)
    _came: list[tuple[int, str]] = field(default_factory=list, init=False)
    _next: list[set[int]] = field(default_factory=list, init=False)
    # What was checked already.
    _ends: set[Moment] = field(default_factory=set, init=False)
    _changes: set[tuple[Held, Held]] = field(default_factory=set, init=False)

    def run(self) -> "Explorer":
        """Search everything.

        Raises:
            Violation: an invariant does not hold.
        """
        todo = [State(self.world.start, (None,) * self.workers, None, None, self.budget)]
        self._reached(todo[0], 0, "")
        while todo:
            state = todo.pop()
            number = self._number[state]
            for name, after in self._events(state):
                if after == state:
                    continue  # a lease that is as new as it can be was renewed
                self.events += 1
                if after not in self._number:
                    self._reached(after, number, name)
                    todo.append(after)
                self._check_step(state.moment.held, after)
                self._next[number].add(self._number[after])
        return self

    @property
    def states(self) -> int:
        """How many there are."""
        return len(self._number)

    def interleavings(self) -> int:
        """Give the number of ways from the beginning to an end, each through other states."""
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
        """Number a state and check it, when it is reached for the first time."""
        self._number[state] = len(self._number)
        self._came.append((number, name))
        self._next.append(set())
        with self._told(state):
            check(self.world, state.moment.held)
            self._check_end(state.moment)

    def _check_step(self, before: Held, state: State) -> None:
        after = state.moment.held
        if (before, after) not in self._changes:
            self._changes.add((before, after))
            with self._told(state):
                check_step(before, after)

    @contextmanager
    def _told(self, state: State) -> Iterator[None]:
        """Say how it came to a violation."""
        try:
            yield
        except Violation as exc:
            raise Violation(f"{exc}, after: {'; '.join(self._path(self._number[state]))}") from None

    def _check_end(self, moment: Moment) -> None:
        """From here on no fault happens; but whoever was at work is gone, and all messages are."""
        moment = replace(moment, messages=())
        if moment in self._ends:
            return
        self._ends.add(moment)
        end = moment
        # Each round may find one more piece whose holder is gone, and split it.
        for _ in range(4 + sum(self.world.sizes)):
            end = self.world.run(self.world.later(end, swept=True), "sweep")
            while end.messages:
                piece, *others = end.messages
                end = self.world.run(replace(end, messages=tuple(others)), "work", piece)
            if end.held.state != "closed":
                break
        check(self.world, end.held)
        check_step(moment.held, end.held)
        _want(end.held.state in ("finished", "cancelled"), "it would never finish")

    def _events(self, state: State) -> Iterator[Event]:
        for worker, running in enumerate(state.workers):
            if running is not None:
                yield from self._of_worker(state, worker, running)
            elif None not in state.workers[:worker]:  # two that are idle are alike
                for piece, without in _messages(state):
                    yield f"a worker claims {piece}", self._worked(without, worker, Running("work", piece))
        if state.sweep or state.left.sweeps:
            begun = state if state.sweep else state.spent("sweeps")
            moment, sweep = self.world.step(state.moment, state.sweep or Running("sweep"))
            yield "the sweep goes on", replace(begun, moment=moment, sweep=sweep)
        if state.cancel or state.left.cancels:
            begun = state if state.cancel else state.spent("cancels")
            moment, cancel = self.world.step(state.moment, state.cancel or Running("cancel"))
            yield "the job is cancelled", replace(begun, moment=moment, cancel=cancel)
        yield from self._of_nobody(state)

    def _of_nobody(self, state: State) -> Iterator[Event]:
        """What may happen to the clock and to messages."""
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
        """What may become of a worker that has a piece in hand, or of its parent that saw it lost."""
        yield f"the {running.program} on {running.piece} goes on", self._worked(state, worker, running)
        if running.program == "work":
            moment = self.world.run(state.moment, "renew", running.piece)
            yield f"the lease of {running.piece} is renewed", replace(state, moment=moment)
            if state.left.faults:
                losing = Running("lose", running.piece)
                yield f"the process with {running.piece} is lost", state.spent("faults").at_work(worker, losing)
                yield f"the worker with {running.piece} vanishes", state.spent("faults").at_work(worker, None)

    def _worked(self, state: State, worker: int, running: Running) -> State:
        moment, after = self.world.step(state.moment, running)
        return replace(state, moment=moment).at_work(worker, after)

    def _path(self, number: int) -> list[str]:
        path = []
        while number:
            number, name = self._came[number]
            path.append(name)
        return path[::-1]


def check(world: World, held: Held) -> None:
    """Raise Violation unless all that must hold at every moment does."""
    over = held.state != "closed"
    waiting, claimed = ({Piece.parse(name.decode()) for name, _ in names} for names in (held.waiting, held.claimed))
    _want(not waiting & claimed, "a piece waits and is claimed")
    done = [image for key, _ in held.rows for image in _images(world, world.piece(key.decode()))]
    _want(len(done) == len(set(done)), "an image has two rows")
    pending = [image for piece in waiting | claimed for image in _images(world, piece)]
    _want(len(pending) == len(set(pending)), "an image is pending twice")
    _want(not set(done) & set(pending), "an image is done and pending")
    everything = {(number, at) for number, size in enumerate(world.sizes) for at in range(size)}
    _want(held.state == "cancelled" or set(done) | set(pending) == everything, "an image is neither done nor pending")
    answers = [Answers.decode(data) for _, data in held.rows]
    digests = [world.piece(key.decode()).digest for key, _ in held.rows]
    _want([each.batch for each in answers] == digests, "a row is of other references")
    _want(held.counter(b"done") == len(done) == sum(map(len, answers)), "the counter of rows is wrong")
    _want(held.counter(b"errors") == sum(len(each.errors) for each in answers), "the counter of errors is wrong")
    _want(not (over and pending), f"it is {held.state} and has pending images")
    _want(over or bool(pending), "it has no pending image and is not finished")
    _want(over != bool(held.active), "its being listed as active is wrong")
    _want(held.expiring == (held.keys if over else frozenset()), "the wrong keys expire")


def check_step(before: Held, after: Held) -> None:
    """Raise Violation where something that was final has changed."""
    _want(before.rows <= after.rows, "a row was changed or lost")
    if before.state != "closed":
        _want(before.state == after.state and before.rows == after.rows, "a job that was over went on")


def _images(world: World, piece: Piece) -> list[tuple[int, int]]:
    """Return the images of a piece, as (batch, position)."""
    stop = world.sizes[piece.number] if piece.stop is None else piece.stop
    return [(piece.number, at) for at in range(piece.start, stop)]


def _messages(state: State) -> Iterator[tuple[Piece, State]]:
    """Give each message that waits, and the state without it."""
    messages = state.moment.messages
    for at, piece in enumerate(messages):
        if piece not in messages[:at]:
            yield piece, replace(state, moment=replace(state.moment, messages=messages[:at] + messages[at + 1 :]))


def _want(condition: bool, wrong: str) -> None:
    if not condition:
        raise Violation(wrong)


def _order(running: Running | None) -> tuple[str, str, int]:
    return ("", "", 0) if running is None else (running.program, str(running.piece), len(running.answers))
