"""Files that folders and archives hold beside images, counted by extension."""

import os
from collections import Counter

from pigeonhole.text import counted

#: Extensions that are counted one by one, and those that a message shows; the others are counted together.
_MOST, _SHOWN = 100, 5
_LONGEST = 10


class Skipped(Counter[str]):
    """The number of files for each extension in lower case (`.txt`); "" is for names without one."""

    def add(self, name: str) -> None:
        """Count a file by its name."""
        extension = os.path.splitext(name)[1].lower()
        is_one = extension[1:].isalnum() and len(extension) <= _LONGEST
        self[extension if is_one and (extension in self or len(self) < _MOST) else ""] += 1

    def text(self) -> str:
        """Return a message such as `3 files skipped (2 .txt, 1 without extension)`; empty if there is none."""
        if not self:
            return ""
        shown = self.most_common(_SHOWN)
        kinds = [f"{count:,} {extension or 'without extension'}" for extension, count in shown]
        if others := self.total() - sum(count for _, count in shown):
            kinds.append(f"{others:,} others")
        return f"{counted(self.total(), 'file')} skipped ({', '.join(kinds)})"
