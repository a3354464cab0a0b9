"""The size and the date of image files, and how many of them are not there."""

import os
from collections.abc import Sequence

from pigeonhole.ledger.messages import Row
from pigeonhole.sources.archives import files_of


class FileFacts:
    """Looks up image files; what it can't look up is not known.

    Args:
        folder: where relative paths begin.
    """

    def __init__(self, folder: str) -> None:
        self._folder = os.path.abspath(folder)
        self._archives: dict[str, bool] = {}
        #: Images with a label whose files were looked up, and those of them that are not there.
        self.looked_up = self.missing = 0

    def columns(self, rows: Sequence[Row]) -> tuple[list[int | None], list[int | None]]:
        """Return each file's size in bytes, and its modification time in seconds since the epoch."""
        found = [self._of(row) for row in rows]
        return [size for size, _ in found], [date for _, date in found]

    def _of(self, row: Row) -> tuple[int | None, int | None]:
        if row.error:
            return None, None
        self.looked_up += 1
        path = os.path.join(self._folder, row.path)
        file, *_ = files_of(path)
        if file != path:  # a member's own size and date are not looked up
            self.missing += not self._archives.setdefault(file, os.path.lexists(file))
            return None, None
        try:
            status = os.stat(path)
        except (OSError, ValueError):  # ValueError: a NUL in somebody else's path
            self.missing += 1
            return None, None
        return status.st_size, int(status.st_mtime)
