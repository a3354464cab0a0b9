"""Count the files in folders and archives that are no images, by extension."""

import os
from collections import Counter

from pigeonhole.text import counted

#: The number of extensions that are counted separately, and that a message shows; all others are counted together.
_MOST, _SHOWN = 100, 5
_LONGEST = 10


class Skipped(Counter[str]):
    """The number of skipped files by extension in lower case (`.txt`); "" stands for no extension and for rare ones."""

    def add(self, name: str) -> None:
        """Count a file by its name."""
        extension = os.path.splitext(name)[1].lower()
        is_one = extension[1:].isalnum() and len(extension) <= _LONGEST
        self[extension if is_one and (extension in self or len(self) < _MOST) else ""] += 1

    def text(self) -> str:
        """Return a message such as `3 files skipped (2 .txt, 1 without extension)`; empty if there are none."""
        if not self:
            return ""
        shown = self.most_common(_SHOWN)
        kinds = [f"{count:,} {extension or 'without extension'}" for extension, count in shown]
        if others := self.total() - sum(count for _, count in shown):
            kinds.append(f"{others:,} others")
        return f"{counted(self.total(), 'file')} skipped ({', '.join(kinds)})"
