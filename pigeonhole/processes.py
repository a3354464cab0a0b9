"""A process that ends with the one that started it. Imports next to nothing: the supervisor starts with it."""

import ctypes
import os
import signal
import sys

_PR_SET_PDEATHSIG = 1


def end_with(parent: int) -> None:
    """On Linux have the kernel kill this process when its parent ends, however that ends; elsewhere nothing does.

    The kernel goes by the *thread* that started this process: it must be one that lives as long as its process does,
    such as the main thread.

    Args:
        parent: the id of the process that started this one. If that has ended already, this ends now.
    """
    if sys.platform != "linux":
        return
    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != parent:  # it ended before the kernel was asked
        os.kill(os.getpid(), signal.SIGKILL)
