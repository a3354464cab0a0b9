"""Starts the process of each GPU and watches it; runs in the worker's parent, which does not import torch."""

import atexit
import json
import os
import shutil
import socket
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

from pigeonhole.models.runtimes.choice import Choice
from worker.devices.protocol import SOCKETS

_SERVER = (sys.executable, "-P", "-m", "worker.devices.server")


class DeviceProcesses:
    """One process for each GPU; pool processes find their sockets in the variable `SOCKETS`.

    Args:
        choice: Runtime, devices and precision.
        model: The model file.
    """

    def __init__(self, choice: Choice, model: Path) -> None:
        self._processes: list[tuple[str, subprocess.Popen[bytes]]] = []
        if choice.devices == ("cpu",):
            return
        self._folder = tempfile.mkdtemp(prefix="pigeonhole-gpu-", dir="/tmp")  # a socket's path must be short
        atexit.register(self.close)
        sockets = [f"{self._folder}/{number}" for number in range(len(choice.devices))]
        for device, path in zip(choice.devices, sockets, strict=True):
            with socket.socket(socket.AF_UNIX) as listener:
                # It listens before the model is loaded: pool processes connect and wait.
                listener.bind(path)
                listener.listen(socket.SOMAXCONN)
                process = subprocess.Popen(_SERVER, stdin=subprocess.PIPE, pass_fds=[listener.fileno()])
                about = {"listener": listener.fileno(), "device": device, "precision": choice.precision}
            assert process.stdin is not None
            process.stdin.write(json.dumps(about | {"model": str(model)}).encode() + b"\n")
            process.stdin.flush()
            self._processes.append((device, process))
        os.environ[SOCKETS] = os.pathsep.join(sockets)

    def close(self) -> None:
        """End the processes and remove their sockets."""
        for _device, process in self._processes:
            process.communicate()  # closes its standard input
        self._processes = []
        shutil.rmtree(self._folder, ignore_errors=True)

    @property
    def ended(self) -> Sequence[str]:
        """Return a message for each process that has ended."""
        return [
            f"the process that runs the network on {device} ended with exit code {process.returncode}"
            for device, process in self._processes
            if process.poll() is not None
        ]
