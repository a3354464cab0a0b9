"""The memory of a process, by the kernel."""

from pathlib import Path


def peak(pid: int) -> int:
    """Return a process's peak of resident memory, in bytes; 0 if it has ended.

    `getrusage` would include the memory of the parent process, from before the child ran its own program.
    """
    try:
        lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    except (FileNotFoundError, ProcessLookupError):
        return 0
    return next((int(line.split()[1]) * 1024 for line in lines if line.startswith("VmHWM")), 0)
