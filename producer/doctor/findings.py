"""What `pigeonhole doctor` finds, and how it is said."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass

from pigeonhole.errors import BrokerRefuses, PigeonholeError
from pigeonhole.text import printable

#: So many names are told at the most.
_MOST = 5


@dataclass(frozen=True)
class Finding:
    """What one check found.

    Args:
        name: of what was looked at.
        ok: whether it is well; None: that can't be told.
        saw: what there is, in words.
        do: what to do about it.
    """

    name: str
    ok: bool | None
    saw: str
    do: str = ""

    def lines(self) -> tuple[str, list[str]]:
        """Give how it is in a word, and what follows: one line, and a second where there is something to do."""
        word = {True: "ok", False: "wrong", None: "?"}[self.ok]
        first = f"{self.name:12}{printable(self.saw)}"
        return f"{word:6}", [first, f"{'':18}→ {printable(self.do)}"] if self.do else [first]


def found(name: str, check: Callable[[], Finding]) -> Finding:
    """Give what a check finds, or why it can't be made."""
    try:
        return check()
    except BrokerRefuses as exc:
        return Finding(name, None, f"may not be asked: {exc}", "deploy/redis_users.py writes rules that allow it")
    except PigeonholeError as exc:
        return Finding(name, False, str(exc))


def size(number: float) -> str:
    """Give a number of bytes in words."""
    unit, *larger = "bytes", "kB", "MB", "GB", "TB"
    while number >= 1000 and larger:
        number, unit = number / 1000, larger.pop(0)
    return f"{number:.0f} {unit}" if unit == "bytes" or number >= 10 else f"{number:.1f} {unit}"


def some(names: Iterable[str]) -> str:
    """Give names, the first few of them where they are many."""
    listed = list(names)
    more = f" and {len(listed) - _MOST} more" if len(listed) > _MOST else ""
    return ", ".join(listed[:_MOST]) + more
