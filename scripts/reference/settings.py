"""docs/reference/settings.md: the environment variables, from the fields of `Settings`."""

from dataclasses import fields

from pigeonhole.settings import ENV_PREFIX, Settings
from scripts.reference.markdown import table

HEAD = """# Settings

```sh
export PIGEONHOLE_BROKER_URL=redis://localhost:6379/0
export PIGEONHOLE_IMAGE_ROOT=/data
pigeonhole classify photos/ -o results.csv
```

Every setting is an environment variable. The commands and the workers read them once, when they start. Some options of
[commands](commands.md) set the same value for one run. `make docs` writes this page.
"""
FOOT = """\
A misspelt variable such as `PIGEONHOLE_BROKER_ULR` is refused, with the name that was probably meant. Other unknown
variables that begin with `PIGEONHOLE_` are ignored: Kubernetes sets such variables for a Service `pigeonhole-redis`.
"""


def written() -> str:
    """Return the page."""
    rows = [(f"`{ENV_PREFIX}{f.name.upper()}`", _shown(f.default), f.metadata["doc"]) for f in fields(Settings)]
    return "\n".join([HEAD, table(("variable", "default", "meaning"), rows), FOOT])


def _shown(value: object) -> str:
    return f"`{value}`" if value != "" else ""
