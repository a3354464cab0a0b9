"""Processes that load something once and then do tasks, for systems without a queue."""

import multiprocessing
from collections.abc import Callable
from multiprocessing.connection import Connection
from typing import Any

#: Runs once in each process, and returns the function that does its tasks.
Make = Callable[..., Callable[[Any], Any]]


class Processes:
    """Spawned processes, each with its own pipe.

    Args:
        count: the number of processes.
        make: a function at the top of a module, which is called in each process and returns the function for tasks.
        arguments: the arguments of `make`.
    """

    def __init__(self, count: int, make: Make, *arguments: object) -> None:
        context = multiprocessing.get_context("spawn")  # as in Pigeonhole, because torch hangs after a fork
        self._pipes: list[Connection] = []
        self._processes = []
        for _ in range(count):
            ours, theirs = context.Pipe()
            process = context.Process(target=_serve, args=(theirs, make, arguments), daemon=True)
            process.start()
            theirs.close()
            self._pipes.append(ours)
            self._processes.append(process)
        for pipe in self._pipes:
            pipe.recv()

    def ask(self, tasks: list[Any]) -> list[Any]:
        """Send one task to each process, and wait for all results; raise EOFError if a process has ended."""
        for pipe, task in zip(self._pipes, tasks, strict=True):
            pipe.send(task)
        return [pipe.recv() for pipe in self._pipes]

    def stop(self) -> None:
        """End the processes."""
        for pipe in self._pipes:
            pipe.close()
        for process in self._processes:
            process.join()


def _serve(pipe: Connection, make: Make, arguments: tuple[object, ...]) -> None:
    work = make(*arguments)
    pipe.send("ready")
    while True:
        try:
            task = pipe.recv()
        except EOFError:
            return
        pipe.send(work(task))
