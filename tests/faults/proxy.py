"""A TCP proxy that fails on demand: it cuts connections, refuses new ones, or stalls without closing."""

import random
import socket
import threading
from contextlib import suppress


class _Connection:
    """One connection: bytes flow in a direction while its event is set."""

    def __init__(self, client: socket.socket, server: socket.socket) -> None:
        self.client, self.server = client, server
        self.to_server, self.to_client = threading.Event(), threading.Event()
        self.to_server.set()
        self.to_client.set()

    def start(self) -> None:
        for ends in ((self.client, self.server, self.to_server), (self.server, self.client, self.to_client)):
            threading.Thread(target=self._pump, args=ends, name="proxy", daemon=True).start()

    def cut(self) -> None:
        for end in (self.client, self.server):
            # Not `close`: a thread is reading from it, and would go on with whoever gets its number next.
            with suppress(OSError):  # the other side was faster
                end.shutdown(socket.SHUT_RDWR)
        self.to_server.set()
        self.to_client.set()

    def _pump(self, source: socket.socket, sink: socket.socket, flowing: threading.Event) -> None:
        """Pass on what comes from one end, until one of the two is closed or cut."""
        with suppress(OSError):  # cut: the other end learns it below
            while flowing.wait() and (data := source.recv(65536)):
                flowing.wait()  # it may have stalled while we waited for these
                sink.sendall(data)
        self.cut()
        source.close()  # each pump closes the end that it reads from, and nobody else does


class Proxy:
    """Passes connections on to a server on loopback, until it is told otherwise.

    Args:
        port: the server's.
    """

    def __init__(self, port: int) -> None:
        self._target = ("127.0.0.1", port)
        self._lock = threading.Lock()
        self._connections: list[_Connection] = []
        self._stalls_new = False
        self.port = free_port()
        self.url = f"redis://127.0.0.1:{self.port}/0"
        self.accept()

    def cut(self) -> int:
        """Cut all connections that are open, and give their number; new ones are served."""
        with self._lock:
            connections, self._connections = self._connections, []
        for connection in connections:
            connection.cut()
        return len(connections)

    def stall(self, new: bool, to_server: bool = True) -> None:
        """Pass nothing on, and close nothing.

        Args:
            new: connections that are made from now on as well: they are let in, and hear nothing.
            to_server: not in that direction either; else what is sent arrives, and only its answer doesn't.
        """
        with self._lock:
            self._stalls_new = new
            for connection in self._connections:
                connection.to_client.clear()
                if to_server:
                    connection.to_server.clear()

    def flow(self) -> None:
        """Pass on what was held back, and all that comes."""
        with self._lock:
            self._stalls_new = False
            for connection in self._connections:
                connection.to_server.set()
                connection.to_client.set()

    def refuse(self) -> None:
        """Cut all connections and refuse new ones, as a machine does where no server is."""
        self._listener.shutdown(socket.SHUT_RDWR)  # wakes the thread that accepts
        self._listener.close()
        self._thread.join()
        self.cut()

    def accept(self) -> None:
        """Serve connections, again after `refuse`."""
        self._listener = socket.create_server(("127.0.0.1", self.port))
        self._thread = threading.Thread(target=self._serve, args=(self._listener,), name="proxy", daemon=True)
        self._thread.start()

    def close(self) -> None:
        """End it."""
        self.refuse()

    def _serve(self, listener: socket.socket) -> None:
        while True:
            try:
                client, _ = listener.accept()
            except OSError:
                return  # `refuse` has closed it
            try:
                connection = _Connection(client, socket.create_connection(self._target))
            except OSError:
                client.close()  # whoever is not there behind us is not there
                continue
            with self._lock:
                self._connections = [other for other in self._connections if other.client.fileno() >= 0]
                self._connections.append(connection)
                if self._stalls_new:
                    connection.to_server.clear()
                    connection.to_client.clear()
            connection.start()


def free_port() -> int:
    """Give a port that nobody listens on now.

    It is none that the system gives to those who connect (from 32,768 up on Linux): while nobody listens, a client
    that tries again and again would some day be connected with itself, and the port be taken.
    """
    # Without a seed of anybody's: two that run at once shall not look in the same order.
    for port in random.SystemRandom().sample(range(20_000, 32_000), 100):
        with suppress(OSError), socket.create_server(("127.0.0.1", port)):
            return port
    raise OSError("no port is free between 20,000 and 32,000")
