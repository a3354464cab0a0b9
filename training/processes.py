"""Work for several processes of our own: results in order, a bounded number of them under way, Ctrl-C answered once."""

import os
import signal
import threading
from collections import deque
from collections.abc import Callable, Generator, Iterable, Iterator
from concurrent.futures import Future, ProcessPoolExecutor
from contextlib import contextmanager
from multiprocessing import get_context, parent_process
from typing import TypeVar

Item = TypeVar("Item")
Result = TypeVar("Result")

_AHEAD = 4  # pieces of work under way for each process, so that none waits and results don't pile up
_THREADS = ("OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "OMP_NUM_THREADS")  # read when numpy is loaded


def available() -> int:
    """Return how many processes may compute at once."""
    if hasattr(os, "sched_getaffinity"):  # macOS has none
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def spread(
    work: Callable[[Item], Result],
    items: Iterable[Item],
    prepare: Callable[..., None],
    arguments: tuple[object, ...],
    processes: int,
) -> Generator[Result, None, None]:
    """Do the work of each item in processes that are started for it.

    Args:
        work: A function of a module.
        items: What it is called with, one after the other.
        prepare: Likewise, called once in each process before.
        arguments: What with.
        processes: How many.

    Yields:
        What `work` returned, in the order of the items. Close the generator to end the processes.

    Raises:
        BrokenProcessPool: One of them was killed.
    """
    # Spawned, not forked: torch's threads don't survive a fork.
    executor = ProcessPoolExecutor(
        processes, mp_context=get_context("spawn"), initializer=_begin, initargs=(prepare, arguments)
    )
    under_way: deque[Future[Result]] = deque()
    try:
        for item in items:
            with _child_settings():  # the first ones start the processes
                under_way.append(executor.submit(work, item))
            if len(under_way) >= _AHEAD * processes:
                yield under_way.popleft().result()
        while under_way:
            yield under_way.popleft().result()
    finally:
        executor.shutdown(cancel_futures=True)


def _begin(prepare: Callable[..., None], arguments: tuple[object, ...]) -> None:
    prepare(*arguments)
    parent = parent_process()
    if parent is not None:  # which may be killed; nothing else would tell
        threading.Thread(target=_exit_with_parent, args=(parent.join,), daemon=True).start()


def _exit_with_parent(wait: Callable[[], None]) -> None:
    wait()
    os._exit(1)


@contextmanager
def _child_settings() -> Iterator[None]:
    """What processes that start meanwhile inherit: deaf to Ctrl-C, and one thread each.

    A terminal's Ctrl-C goes to every process, and only this one shall answer it; here it waits for the end, so that no
    process is left half started.
    """
    pressed: list[int] = []
    main = threading.current_thread() is threading.main_thread()
    handler = signal.signal(signal.SIGINT, lambda number, _: pressed.append(number)) if main else None
    mask = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    threads = {name: os.environ.get(name) for name in _THREADS}
    os.environ.update(dict.fromkeys(_THREADS, "1"))
    try:
        yield
    finally:
        for name, value in threads.items():
            if value is None:
                del os.environ[name]
            else:
                os.environ[name] = value
        signal.pthread_sigmask(signal.SIG_SETMASK, mask)
        if main:
            signal.signal(signal.SIGINT, handler)
        if pressed:
            signal.raise_signal(signal.SIGINT)
