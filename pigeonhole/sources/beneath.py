"""Open a file only if it lies beneath a folder, even for a hostile path or links that are replaced meanwhile.

Linux resolves a path within a folder in one step (`openat2`, since 5.6). Without it (macOS, older kernels, some
sandboxes), the file is opened first, and then its real path is checked. Neither way reads a byte from outside.
"""

import ctypes
import errno
import fcntl
import os
import sys
from functools import cache

# O_NONBLOCK: a FIFO without a writer would block for ever. O_NOCTTY: a terminal must not become the controlling one.
_READ = os.O_RDONLY | os.O_NONBLOCK | os.O_NOCTTY | os.O_CLOEXEC

# From <linux/openat2.h>; the number is the same on all architectures that have Python wheels.
_OPENAT2 = 437
_NO_MAGIC_LINKS = 0x02
_NO_SYMLINKS = 0x04
_BENEATH = 0x08

#: The number of attempts: a concurrent rename anywhere makes the kernel give up on `..` with EAGAIN.
_ATTEMPTS = 100


class LeadsOutside(Exception):
    """Raised when a path leads outside of its folder."""


class _OpenHow(ctypes.Structure):
    _fields_ = (("flags", ctypes.c_uint64), ("mode", ctypes.c_uint64), ("resolve", ctypes.c_uint64))


def open_beneath(root: str, reference: str) -> int:
    """Open a file for reading.

    All links are followed if their final target lies beneath the root.

    Args:
        root: the absolute path of the root folder.
        reference: the path of the file relative to the root, without NUL bytes.

    Returns:
        A file descriptor, which the caller closes.

    Raises:
        LeadsOutside: the path leads outside the root, whether the file exists or not.
        OSError: the file can't be opened.
    """
    if root == "/":
        return os.open(root + reference, _READ)  # every file lies beneath `/`
    return _open_resolved(root, reference) if has_openat2() else _open_and_check(root, reference)


@cache
def has_openat2() -> bool:
    """Return whether this system allows `openat2`; tried once per process with the root folder."""
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
    # The path leaves the root and may come back, for instance by an absolute link. So it is resolved here, and the real
    # path is opened without following links, which may have been replaced meanwhile.
    real_root = os.path.realpath(root)
    real = os.path.realpath(os.path.join(real_root, reference))
    if not _is_beneath(real, real_root):
        raise LeadsOutside(reference)
    return _openat2(real_root, os.path.relpath(real, real_root), _BENEATH | _NO_SYMLINKS)


def _openat2(root: str, path: str, resolve: int) -> int:
    # The root is opened each time, for 2 µs, since it may have been mounted again.
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


def _open_and_check(root: str, reference: str) -> int:
    path, real_root = os.path.join(root, reference), os.path.realpath(root)
    try:
        handle = os.open(path, _READ)
    except OSError as exc:
        # The error must not reveal whether a file outside exists.
        if not _is_beneath(os.path.realpath(path), real_root):
            raise LeadsOutside(reference) from exc
        raise
    try:
        # The file is open, so replaced links do not matter any more.
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
