"""Looks up the sizes and dates of image files, and counts the missing ones."""

import os
from collections.abc import Sequence

from pigeonhole.ledger.wire.messages import Row
from pigeonhole.sources.members.archives import files_of


class FileFacts:
    """Looks up image files.

    Args:
        folder: the folder that relative paths start from.
    """

    def __init__(self, folder: str) -> None:
        self._folder = os.path.abspath(folder)
        self._archives: dict[str, bool] = {}
        #: The number of labelled images that were looked up, and of those that are missing.
        self.looked_up = self.missing = 0

    def columns(self, rows: Sequence[Row]) -> tuple[list[int | None], list[int | None]]:
        """Return the size of each file in bytes, and its modification time in seconds since the epoch.

        Both are None for an error row, an archive member and a missing file.
        """
        found = [self._of(row) for row in rows]
        return [size for size, _ in found], [date for _, date in found]

    def _of(self, row: Row) -> tuple[int | None, int | None]:
        if row.error:
            return None, None
        self.looked_up += 1
        path = os.path.join(self._folder, row.path)
        file, *_ = files_of(path)
        if file != path:  # an archive member: only the archive is looked up
            self.missing += not self._archives.setdefault(file, os.path.lexists(file))
            return None, None
        try:
            status = os.stat(path)
        except (OSError, ValueError):  # ValueError: a path from a CSV file may contain NUL
            self.missing += 1
            return None, None
        return status.st_size, int(status.st_mtime)
