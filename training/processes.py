"""A pool of processes: results in order, a bounded number of tasks at once, and Ctrl-C handled by the parent alone."""

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

_AHEAD = 4  # tasks submitted for each process: none waits, and results do not pile up
_THREADS = ("OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "OMP_NUM_THREADS")  # read when numpy is loaded


def available() -> int:
    """Return the number of CPU cores that this process may use."""
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
    """Apply a function to each item in processes that are started for it.

    Args:
        work: Function that is called with each item; at the top level of a module, so that it can be pickled.
        items: Arguments of the calls.
        prepare: Function that is called once in each new process; at the top level of a module too.
        arguments: Arguments of `prepare`.
        processes: Number of processes.

    Yields:
        The results of `work`, in the order of the items. Close the generator to end the processes.

    Raises:
        BrokenProcessPool: A process was killed.
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
    if parent is not None:  # a killed parent can't end its processes
        threading.Thread(target=_exit_with_parent, args=(parent.join,), daemon=True).start()


def _exit_with_parent(wait: Callable[[], None]) -> None:
    wait()
    os._exit(1)


@contextmanager
def _child_settings() -> Iterator[None]:
    """Block SIGINT for processes that start in the block, and limit them to one thread each.

    A terminal sends Ctrl-C to every process, and only this one handles it. Here it is delayed until the block ends, so
    that no process is left half started.
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
