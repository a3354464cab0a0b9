"""The findings of `pigeonhole doctor`, and their text."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass

from pigeonhole.errors import BrokerRefuses, PigeonholeError
from pigeonhole.text import printable

#: The most names in a list.
_MOST = 5


@dataclass(frozen=True)
class Finding:
    """The result of one check.

    Args:
        name: name of the check.
        ok: True if it passed, False if not, None if that is unknown.
        saw: text about the state that was found.
        do: text about what to do; empty if there is nothing to do.
    """

    name: str
    ok: bool | None
    saw: str
    do: str = ""

    def lines(self) -> tuple[str, list[str]]:
        """Return the result in a word, and the lines after it: one, and a second if there is something to do."""
        word = {True: "ok", False: "wrong", None: "?"}[self.ok]
        first = f"{self.name:12}{printable(self.saw)}"
        return f"{word:6}", [first, f"{'':18}→ {printable(self.do)}"] if self.do else [first]


def run_check(name: str, check: Callable[[], Finding]) -> Finding:
    """Return the finding of a check, or one about the error that it raised."""
    try:
        return check()
    except BrokerRefuses as exc:
        return Finding(name, None, f"not permitted: {exc}", "deploy/redis_users.py writes rules that permit it")
    except PigeonholeError as exc:
        return Finding(name, False, str(exc))


def size(number: float) -> str:
    """Format a number of bytes, such as `1.5 kB`."""
    unit, *larger = "bytes", "kB", "MB", "GB", "TB"
    while number >= 1000 and larger:
        number, unit = number / 1000, larger.pop(0)
    return f"{number:.0f} {unit}" if unit == "bytes" or number >= 10 else f"{number:.1f} {unit}"


def listed(names: Iterable[str]) -> str:
    """Return the first names as a list, with the number of the others."""
    every = list(names)
    more = f" and {len(every) - _MOST} more" if len(every) > _MOST else ""
    return ", ".join(every[:_MOST]) + more
