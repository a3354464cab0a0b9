"""A TCP proxy that fails on demand: it cuts connections, refuses new ones, or stalls without closing."""

import random
import socket
import threading
from contextlib import suppress


class _Connection:
    """One connection; bytes flow in a direction while its event is set."""

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
            # Not `close`: a thread is reading, and would continue with the next file that gets the same descriptor.
            with suppress(OSError):  # closed by the other side already
                end.shutdown(socket.SHUT_RDWR)
        self.to_server.set()
        self.to_client.set()

    def _pump(self, source: socket.socket, sink: socket.socket, flowing: threading.Event) -> None:
        """Forward bytes from one end until either end is closed or cut."""
        with suppress(OSError):  # cut: the other end is closed below
            while flowing.wait() and (data := source.recv(65536)):
                flowing.wait()  # the stall may have begun while we waited for these bytes
                sink.sendall(data)
        self.cut()
        source.close()  # only this pump closes the end that it reads from


class Proxy:
    """Forwards connections to a server on loopback until a fault is injected.

    Args:
        port: the port of the server.
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
        """Cut all open connections and return their number; new ones are served."""
        with self._lock:
            connections, self._connections = self._connections, []
        for connection in connections:
            connection.cut()
        return len(connections)

    def stall(self, new: bool, to_server: bool = True) -> None:
        """Stop forwarding without closing connections.

        Args:
            new: also stall new connections, which are accepted.
            to_server: also stall bytes to the server; otherwise requests arrive, and only replies are missing.
        """
        with self._lock:
            self._stalls_new = new
            for connection in self._connections:
                connection.to_client.clear()
                if to_server:
                    connection.to_server.clear()

    def flow(self) -> None:
        """Forward again, including the bytes that were held back."""
        with self._lock:
            self._stalls_new = False
            for connection in self._connections:
                connection.to_server.set()
                connection.to_client.set()

    def refuse(self) -> None:
        """Cut all connections and refuse new ones, as a machine without a server does."""
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
        """Close the proxy and its connections."""
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
                client.close()  # the server is down, so the proxy looks down, too
                continue
            with self._lock:
                self._connections = [other for other in self._connections if other.client.fileno() >= 0]
                self._connections.append(connection)
                if self._stalls_new:
                    connection.to_server.clear()
                    connection.to_client.clear()
            connection.start()


def free_port() -> int:
    """Return a port on which nobody listens.

    The port is below those of outgoing connections (from 32,768 up on Linux). Otherwise a client that retries while
    nobody listens would at some time connect to itself and occupy the port.
    """
    # Not seeded: two test runs at the same time must not try ports in the same order.
    for port in random.SystemRandom().sample(range(20_000, 32_000), 100):
        with suppress(OSError), socket.create_server(("127.0.0.1", port)):
            return port
    raise OSError("no port is free between 20,000 and 32,000")
