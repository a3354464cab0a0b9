"""The ledger's Lua scripts, one file each in `lua/`. Redis runs each of them atomically."""

from functools import cache
from importlib.resources import files


@cache
def on_job(name: str) -> str:
    """Return a script about one job, behind `lua/prelude.lua`, which documents its keys and first two arguments."""
    return script("prelude") + script(name)


@cache
def script(name: str) -> str:
    """Return the text of `lua/NAME.lua`."""
    return (files(__package__) / "lua" / f"{name}.lua").read_text("utf-8")
