"""Part of `make docs`: writes docs/commands.md from the help texts; a test compares them.

How an option is spelled comes from our own annotations: the terminal's version changes with Typer's.
"""

import inspect
import re
from collections.abc import Iterator
from enum import Enum
from pathlib import Path
from typing import Any, TypeAlias, get_args, get_type_hints

import typer

from producer.cli import app

REFERENCE = Path(__file__).resolve().parent.parent / "docs" / "commands.md"
HEAD = """# Commands

What `pigeonhole COMMAND --help` says, of every command; `make docs` writes this page. What can be set in the
environment, for all of them, is in the [README](../README.md#settings).

Bash, zsh and fish complete commands and options, from the next shell on, after this one line, in whichever of them it
is run:

```sh
pigeonhole --install-completion
```

It adds a script to that shell's own files; `pigeonhole --show-completion` prints the script instead.
"""
#: A command or a parameter, whose classes' homes change with Typer's versions.
Described: TypeAlias = Any
_TYPES = {int: "INTEGER", float: "NUMBER", str: "TEXT", Path: "PATH"}


def written() -> str:
    """Give the page."""
    program: Any = typer.main.get_command(app)
    names = "\n".join(
        f"- [`pigeonhole {name}`](#pigeonhole-{name}): {_first(command)}" for name, command in program.commands.items()
    )
    parts = [HEAD, "## pigeonhole", _plain(program.help), *_parameters(program), names, _plain(program.epilog)]
    for name, command in program.commands.items():
        parts += _section(name, command)
    return "\n\n".join(part.strip() for part in parts if part) + "\n"


def _section(name: str, command: Described) -> Iterator[str]:
    arguments = [_named(parameter) for parameter in command.params if parameter.param_type_name == "argument"]
    yield f"## pigeonhole {name}"
    yield _fenced(" ".join(["pigeonhole", name, "[OPTIONS]", *arguments]), "")
    yield _plain(command.help)
    yield from _parameters(command)
    example, _, others = (command.epilog or "").partition("   ")
    yield _fenced(example.removeprefix("Example: "), "sh")
    yield others


def _parameters(command: Described) -> Iterator[str]:
    """Give the table of a command's arguments and options; those that Typer adds to all are left out."""
    hints = get_type_hints(inspect.unwrap(command.callback), include_extras=True)
    rows = [
        f"| `{_cell(_named(parameter, hints[parameter.name]))}` | {_cell(_about(parameter, hints[parameter.name]))} |"
        for parameter in command.params
        if parameter.name in hints
    ]
    if rows:
        yield "\n".join(["| | |", "| --- | --- |", *rows])


def _named(parameter: Described, hint: object = None) -> str:
    """Give how a parameter is written."""
    if parameter.param_type_name == "argument":
        name = (parameter.metavar or parameter.name.upper()) + ("…" if parameter.nargs != 1 else "")
        return name if parameter.required else f"[{name}]"
    names = ", ".join([*parameter.opts, *parameter.secondary_opts])
    return names if parameter.is_flag else f"{names} {parameter.metavar or _type(hint)}"


def _type(hint: object) -> str:
    """Give what stands for a value, from an annotation such as `Annotated[int | None, …]`."""
    kind = get_args(hint)[0]
    kind = next((part for part in get_args(kind) if part is not type(None)), kind)
    return "|".join(each.value for each in kind) if issubclass(kind, Enum) else _TYPES[kind]


def _about(parameter: Described, hint: object) -> str:
    """Give a parameter's help, and which values it takes."""
    (info,) = get_args(hint)[1:]
    default = getattr(parameter.default, "value", parameter.default)
    has_default = default is not None and not isinstance(default, bool) and default != ""
    notes = [
        "required" if parameter.required and parameter.param_type_name == "option" else "",
        f"default: {default}" if has_default else "",
        f"at least {info.min}" if info.min is not None else "",
        f"at most {info.max}" if info.max is not None else "",
        f"environment: {info.envvar}" if info.envvar else "",
    ]
    said = ", ".join(filter(None, notes))
    return _plain(info.help) + (f" [{said}]" if said else "")


def _first(command: Described) -> str:
    """Give the first sentence of a help text."""
    return re.split(r"(?<=\.)\s", _plain(command.help), maxsplit=1)[0]


def _plain(text: str | None) -> str:
    """Give a help text as Markdown: paragraphs, without the marks that only the terminal's version needs."""
    paragraphs = re.split(r"\n\s*\n", (text or "").replace("\\[", "["))
    return "\n\n".join(" ".join(paragraph.split()) for paragraph in paragraphs)


def _fenced(text: str, language: str) -> str:
    return f"```{language}\n{text}\n```" if text else ""


def _cell(text: str) -> str:
    return text.replace("|", r"\|")


if __name__ == "__main__":
    REFERENCE.write_text(written())
