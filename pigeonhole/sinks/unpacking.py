"""Members of archives as files of their own, for what sorts images into folders."""

import errno
import os
import shutil

from pigeonhole.errors import SourceError
from pigeonhole.sources.archives import BROKEN, INSIDE, contents, files_of


def archive_of(path: str) -> str:
    """Give the archive that a row's path lies in; empty where it is a file's own, or nothing is there."""
    if INSIDE not in path or os.path.lexists(path):
        return ""
    return next((file for file in files_of(path) if file != path), "")


class Unpacker:
    """Takes members out of archives: in one go through each, where they are asked for in its order."""

    def __init__(self) -> None:
        self._archive = ""
        self._contents = contents("")

    def unpack(self, archive: str, name: str, to: str) -> None:
        """Write a member to a file.

        Raises:
            OSError: that can't be done, or there is no such member.
        """
        for again in (archive != self._archive, True):  # it may lie before the one that was asked for last
            if again:
                self.close()
                self._archive, self._contents = archive, contents(archive)
            try:
                for found, opened in self._contents:
                    if found.name == name:
                        with opened() as member, open(to, "wb") as file:
                            shutil.copyfileobj(member, file)
                        return
            except SourceError as exc:
                raise OSError(errno.EIO, str(exc)) from exc
            except BROKEN as exc:
                raise OSError(errno.EIO, f"{archive!r} is damaged where it lies: {exc}") from exc
            except RuntimeError as exc:  # what zipfile raises for it
                raise OSError(errno.EIO, f"it is encrypted in {archive!r}") from exc
        raise OSError(errno.ENOENT, f"{archive!r} has no such member")

    def close(self) -> None:
        """Let go of the archive that was read last."""
        self._archive = ""
        self._contents.close()
