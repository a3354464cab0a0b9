"""Open a file that lies beneath a folder, whatever its path says and even if links are swapped meanwhile.

Linux resolves a path and refuses to leave the folder in one step (`openat2`, since 5.6). Where that is not to be had
(macOS, an older kernel, a sandbox that doesn't let it through), the file is opened and the system asked where it
lies: no byte from outside is read either way, though the second opens what it then refuses.
"""

import ctypes
import errno
import fcntl
import os
import sys
from functools import cache

# O_NONBLOCK: a FIFO nobody writes to would hold the worker for ever. O_NOCTTY: a terminal must not become ours.
_READ = os.O_RDONLY | os.O_NONBLOCK | os.O_NOCTTY | os.O_CLOEXEC

# <linux/openat2.h>; the number is the same on every machine that Python's wheels are made for.
_OPENAT2 = 437
_NO_MAGIC_LINKS = 0x02
_NO_SYMLINKS = 0x04
_BENEATH = 0x08

#: The kernel gives up on a `..` when anything is renamed anywhere at that moment; the next attempt mostly succeeds.
_ATTEMPTS = 100


class LeadsOutside(Exception):
    """Raised when a path does not end beneath its folder."""


class _OpenHow(ctypes.Structure):
    _fields_ = (("flags", ctypes.c_uint64), ("mode", ctypes.c_uint64), ("resolve", ctypes.c_uint64))


def open_beneath(root: str, reference: str) -> int:
    """Open a file for reading.

    Links are followed, upward and absolute ones too, as long as the file that they lead to lies beneath the root.

    Args:
        root: an absolute path.
        reference: relative to the root, without NUL bytes.

    Returns:
        A file descriptor, which the caller closes.

    Raises:
        LeadsOutside: it lies outside the root, or would if it were there.
        OSError: it can't be opened.
    """
    if root == "/":
        return os.open(root + reference, _READ)  # nothing lies outside
    return _open_resolved(root, reference) if has_openat2() else _open_and_ask(root, reference)


@cache
def has_openat2() -> bool:
    """Return whether this system allows `openat2`: asked once in a process, of a folder that can always be opened."""
    if not sys.platform.startswith("linux"):
        return False
    try:
        os.close(_openat2("/", ".", _BENEATH))
    except OSError:  # ENOSYS: an old kernel; EPERM, or anything else: a sandbox
        return False
    return True


def _open_resolved(root: str, reference: str) -> int:
    try:
        return _openat2(root, reference, _BENEATH | _NO_MAGIC_LINKS)
    except OSError as exc:
        if exc.errno != errno.EXDEV:
            raise
    # The path leaves the root, if only to come back: an absolute link does. So it is resolved here, and what comes
    # out is opened by its real name; a link that was swapped in since then is not followed.
    real_root = os.path.realpath(root)
    real = os.path.realpath(os.path.join(real_root, reference))
    if not _is_beneath(real, real_root):
        raise LeadsOutside(reference)
    return _openat2(real_root, os.path.relpath(real, real_root), _BENEATH | _NO_SYMLINKS)


def _openat2(root: str, path: str, resolve: int) -> int:
    # The root is opened each time: one that is unmounted and mounted again is not missed, for 2 µs.
    folder = os.open(root, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
    how = _OpenHow(_READ, 0, resolve)
    try:
        for _ in range(_ATTEMPTS):
            handle: int = _syscall()(_OPENAT2, folder, os.fsencode(path), ctypes.byref(how), ctypes.sizeof(how))
            if handle >= 0:
                return handle
            code = ctypes.get_errno()
            if code != errno.EAGAIN:
                break
    finally:
        os.close(folder)
    raise OSError(code, os.strerror(code), path)


@cache
def _syscall() -> "ctypes._FuncPointer":
    function = ctypes.CDLL(None, use_errno=True).syscall
    function.argtypes = (ctypes.c_long, ctypes.c_int, ctypes.c_char_p, ctypes.c_void_p, ctypes.c_size_t)
    function.restype = ctypes.c_long
    return function


def _open_and_ask(root: str, reference: str) -> int:
    path, real_root = os.path.join(root, reference), os.path.realpath(root)
    try:
        handle = os.open(path, _READ)
    except OSError as exc:
        # What lies outside is not to be asked for: neither whether it is there nor what it is.
        if not _is_beneath(os.path.realpath(path), real_root):
            raise LeadsOutside(reference) from exc
        raise
    try:
        # Links can't be swapped any more behind this check.
        if not _is_beneath(_path_of(handle), real_root):
            raise LeadsOutside(reference)
    except BaseException:
        os.close(handle)
        raise
    return handle


def _is_beneath(path: str, folder: str) -> bool:
    return path == folder or path.startswith(folder.rstrip("/") + "/")


def _path_of(handle: int) -> str:
    if sys.platform == "darwin":
        return os.fsdecode(fcntl.fcntl(handle, fcntl.F_GETPATH, bytes(1024)).rstrip(b"\0"))
    return os.readlink(f"/proc/self/fd/{handle}")
