"""What the kernel says of a process's memory."""

from pathlib import Path


def peak(pid: int) -> int:
    """Give a process's peak of resident memory in bytes, 0 where it is gone.

    rusage would count that of whoever started it too, from before it ran its own program.
    """
    try:
        lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    except (FileNotFoundError, ProcessLookupError):
        return 0
    return next((int(line.split()[1]) * 1024 for line in lines if line.startswith("VmHWM")), 0)
