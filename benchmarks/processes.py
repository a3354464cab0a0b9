"""Processes that hold something and work with it when they are asked: for systems that have no queue."""

import multiprocessing
from collections.abc import Callable
from multiprocessing.connection import Connection
from typing import Any

#: Makes what a process holds: a function of what it is asked.
Make = Callable[..., Callable[[Any], Any]]


class Processes:
    """Some spawned processes, each with a pipe of its own.

    Args:
        count: how many.
        make: a function at the top of its module, called in each of them.
        arguments: of that function.
    """

    def __init__(self, count: int, make: Make, *arguments: object) -> None:
        context = multiprocessing.get_context("spawn")  # as Pigeonhole's own: a fork of torch hangs
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
        """Give each process one task, and wait for all of their answers; EOFError where one has ended."""
        for pipe, task in zip(self._pipes, tasks, strict=True):
            pipe.send(task)
        return [pipe.recv() for pipe in self._pipes]

    def stop(self) -> None:
        """End them."""
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
