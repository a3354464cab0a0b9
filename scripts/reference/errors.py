"""docs/reference/errors.md: error kinds of rows, exit codes, and exceptions, from pigeonhole/errors.py."""

import inspect
import re

from pigeonhole import errors
from pigeonhole.errors import ErrorKind, ExitCode, PigeonholeError
from scripts.reference.markdown import table

HEAD = """# Errors

```console
$ pigeonhole classify samples/empty.png -o results.csv || echo "exit code $?"
…
exit code 3
$ cut -d, -f1,6 results.csv
path,error
samples/empty.png,empty: the file has no bytes
```

An image that can't be classified becomes an error row, and costs no other image its row. A command that can't do what
you asked prints one line on standard error, and its exit code says why. A Python program gets an exception. `make docs`
writes this page.
"""
KINDS = """## Error rows

The `error` of a row is `kind: message`. Programs should use the kind; messages may change.
[Bad input](../guide/bad-input.md) has the limits, and how damaged files are handled.
"""
CODES = """## Exit codes

Every command uses these codes.
"""
EXCEPTIONS = """## Exceptions

All of them are importable from `pigeonhole`, and derive from `PigeonholeError`:

```python
from pigeonhole import BrokerUnreachable, Client

try:
    with Client("redis://localhost:6379/0") as client:
        rows = list(client.classify("photos/"))
except BrokerUnreachable as exc:
    print(f"try again later: {exc}")
```
"""


def written() -> str:
    """Return the page."""
    kinds = table(("kind", "meaning"), [(f"`{kind}`", kind.meaning) for kind in ErrorKind])
    codes = table(("exit code", "meaning"), [(str(code.value), meaning) for code, meaning in exit_codes()])
    return "\n".join([HEAD, KINDS, kinds, CODES, codes, EXCEPTIONS, _exceptions()])


def exit_codes() -> list[tuple[ExitCode, str]]:
    """Return each exit code with its meaning: the comment beside it."""
    found = re.findall(r"^ +(\w+) = \d+  # (.+)$", inspect.getsource(ExitCode), re.MULTILINE)
    meanings = dict(found)
    return [(code, meanings[code.name]) for code in ExitCode]


def _exceptions() -> str:
    kinds = [kind for kind in vars(errors).values() if inspect.isclass(kind) and issubclass(kind, PigeonholeError)]
    rows = [
        (f"`{kind.__name__}`", f"`{kind.__mro__[1].__name__}`", str(kind.exit_code.value), _raised_when(kind))
        for kind in kinds
    ]
    return table(("exception", "derives from", "exit code", "raised when"), rows)


def _raised_when(kind: type[PigeonholeError]) -> str:
    """Return the first paragraph of an exception's docstring, without its opening."""
    text = " ".join(inspect.cleandoc(kind.__doc__ or "").split("\n\n")[0].split())
    return re.sub(r"^Raised when ", "", text)
