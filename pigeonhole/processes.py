"""A way to end a process with its parent. The supervisor process imports it first, so it imports little itself."""

import ctypes
import os
import signal
import sys

_PR_SET_PDEATHSIG = 1


def end_with(parent: int) -> None:
    """Ask Linux to kill this process when its parent ends, for any reason; on other systems, do nothing.

    Linux watches the *thread* that started this process, so that thread must live as long as the parent, such as its
    main thread.

    Args:
        parent: the id of the process that started this one. If it has ended already, this process ends now.
    """
    if sys.platform != "linux":
        return
    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != parent:  # the parent ended before the call of prctl
        os.kill(os.getpid(), signal.SIGKILL)
