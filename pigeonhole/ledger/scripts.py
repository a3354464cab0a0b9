"""The ledger's atomic steps: Lua scripts, one file each in `lua/`, which Redis runs whole or not at all."""

from functools import cache
from importlib.resources import files


@cache
def on_job(name: str) -> str:
    """Return a script on one job; see `lua/prelude.lua` for its keys and its first two arguments."""
    return script("prelude") + script(name)


@cache
def script(name: str) -> str:
    """Return the text of `lua/NAME.lua`."""
    return (files(__package__) / "lua" / f"{name}.lua").read_text("utf-8")
