"""Copy members out of archives, for `--sort-into`."""

import errno
import os
import shutil

from pigeonhole.errors import SourceError
from pigeonhole.sources.archives import BROKEN, INSIDE, contents, files_of


def archive_of(path: str) -> str:
    """Return the archive in the path of a row; empty if the path is a file's, or nothing is there."""
    if INSIDE not in path or os.path.lexists(path):
        return ""
    return next((file for file in files_of(path) if file != path), "")


class Unpacker:
    """Copies members of archives; requests in the order of an archive take one pass through it."""

    def __init__(self) -> None:
        self._archive = ""
        self._contents = contents("")

    def unpack(self, archive: str, name: str, to: str) -> None:
        """Write a member to a file; raise OSError if it can't be read, or there is none."""
        for restart in (archive != self._archive, True):  # the member may precede the last one
            if restart:
                self.close()
                self._archive, self._contents = archive, contents(archive)
            try:
                for member, opened in self._contents:
                    if member.name == name:
                        with opened() as content, open(to, "wb") as file:
                            shutil.copyfileobj(content, file)
                        return
            except SourceError as exc:
                raise OSError(errno.EIO, str(exc)) from exc
            except BROKEN as exc:
                raise OSError(errno.EIO, f"{archive!r} is damaged where it lies: {exc}") from exc
            except RuntimeError as exc:  # raised by zipfile
                raise OSError(errno.EIO, f"it is encrypted in {archive!r}") from exc
        raise OSError(errno.ENOENT, f"{archive!r} has no such member")

    def close(self) -> None:
        """Close the current archive."""
        self._archive = ""
        self._contents.close()
