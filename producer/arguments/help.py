"""Formats the help texts for terminals and for the command reference in the documentation.

Option names and types come from our own annotations, because Typer's texts change with its version.
"""

import inspect
import re
from collections.abc import Iterable
from enum import Enum
from pathlib import Path
from typing import Any, TypeAlias, get_args, get_type_hints

from rich.console import Console
from rich.table import Table
from rich.text import Text

#: A command or a parameter; their classes differ between versions of Typer.
Described: TypeAlias = Any
_TYPES = {int: "N", float: "NUMBER", str: "TEXT", Path: "PATH"}
#: Width limits of the text and of its first column, in cells.
_WIDEST, _LONGEST_NAME = 110, 28


def hints_of(command: Described) -> dict[str, object]:
    """Return the annotation of each parameter by name; options that Typer adds have none."""
    return get_type_hints(inspect.unwrap(command.callback), include_extras=True)


def parameter_name(parameter: Described, hint: object = None) -> str:
    """Return a parameter as the help shows it, such as `--model MODEL`."""
    if parameter.param_type_name == "argument":
        name = (parameter.metavar or parameter.name.upper()) + ("…" if parameter.nargs != 1 else "")
        return name if parameter.required else f"[{name}]"
    names = ", ".join([*sorted(parameter.opts, key=len), *parameter.secondary_opts])
    return names if parameter.is_flag else f"{names} {parameter.metavar or _type(hint)}"


def _type(hint: object) -> str:
    """Return the placeholder of a value from its annotation, such as `N` for `Annotated[int | None, …]`."""
    kind = get_args(hint)[0]
    kind = next((part for part in get_args(kind) if part is not type(None)), kind)
    return "|".join(each.value for each in kind) if issubclass(kind, Enum) else _TYPES[kind]


def parameter_help(parameter: Described, hint: object = None) -> str:
    """Return the help of a parameter, with its default and its limits."""
    if hint is None:
        return plain(parameter.help)
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
    added = ", ".join(filter(None, notes))
    return plain(info.help) + (f" [{added}]" if added else "")


def plain(text: str | None) -> str:
    """Return a help text as paragraphs without line breaks and without rich's escapes."""
    paragraphs = re.split(r"\n\s*\n", (text or "").replace("\\[", "["))
    return "\n\n".join(" ".join(paragraph.split()) for paragraph in paragraphs)


def first_sentence(command: Described) -> str:
    """Return the first sentence of a command's help text."""
    return re.split(r"(?<=\.)\s", plain(command.help), maxsplit=1)[0]


def usage(path: str, command: Described) -> str:
    """Return the usage line of a command."""
    arguments = [parameter_name(one) for one in command.params if one.param_type_name == "argument"]
    return " ".join([path, "[OPTIONS]", *arguments])


def command_help(context: Described, groups: "dict[str, list[Described]]") -> str:
    """Return the help of a command for a terminal.

    Args:
        context: Typer's context of the command.
        groups: title → sub-commands; empty for a command without any.
    """
    command = context.command
    console = Console(highlight=False)
    console.width = min(console.width, _WIDEST)
    with console.capture() as capture:
        written = usage(context.command_path, command) + (" COMMAND" if groups else "")
        console.print(Text.assemble(("Usage: ", "bold"), written))
        console.print()
        console.print(Text(plain(command.help)))
        hints = hints_of(command)
        described = [(one, hints.get(one.name)) for one in command.get_params(context)]
        for title, kind in (("Arguments", "argument"), ("Options", "option")):
            rows = [
                (_aligned(one, parameter_name(one, hint)), parameter_help(one, hint))
                for one, hint in described
                if one.param_type_name == kind and not getattr(one, "hidden", False)
            ]
            _print_table(console, title, rows)
        for title, commands in groups.items():
            _print_table(console, title, [(one.name, first_sentence(one)) for one in commands])
        if command.epilog:
            console.print()
            console.print(Text(command.epilog))
    return "\n".join(line.rstrip() for line in capture.get().rstrip("\n").split("\n"))


def _aligned(parameter: Described, name: str) -> str:
    """Indent an option without a short form, so that all long forms start in one column."""
    return f"    {name}" if name.startswith("--") else name


def _print_table(console: Console, title: str, rows: Iterable[tuple[str, str]]) -> None:
    """Print names beside their texts; a long name gets its own line."""
    listed = list(rows)
    if not listed:
        return
    console.print(Text(f"\n{title}:", "bold"))
    width = max((len(name) for name, _ in listed if len(name) <= _LONGEST_NAME), default=_LONGEST_NAME)
    for name, text in listed:
        line = Table.grid(padding=(0, 2, 0, 0))
        line.add_column(width=width + 2, no_wrap=True)
        line.add_column()
        if len(name) > width:
            console.print(Text(f"  {name}", "cyan"))
            name = ""
        line.add_row(Text(f"  {name}", "cyan"), Text(text))
        console.print(line)
