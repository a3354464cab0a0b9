"""Write docs/reference/commands.md from the help texts, for `make docs`; a test compares them."""

from collections.abc import Iterator
from typing import Any

import typer

from producer.arguments.help import Described, first_sentence, hints_of, parameter_help, parameter_name, plain, usage
from producer.arguments.parser import GROUPS
from producer.cli import app

HEAD = """# Commands

```sh
pigeonhole classify --help
```

This page has the help text of every command; `make docs` writes it. The environment variables for all of them are under
[Settings](settings.md).

To complete commands, options, jobs, models and networks with the Tab key in Bash, zsh or fish, run this once in that
shell, then start a new shell:

```sh
pigeonhole --install-completion
```

The command adds a script to the shell's configuration. `pigeonhole --show-completion` prints the script instead.
"""


def written() -> str:
    """Return the text of the page."""
    program: Any = typer.main.get_command(app)
    parts = [HEAD, "## pigeonhole", plain(program.help), *_parameters(program)]
    for title, names in GROUPS.items():
        lines = [f"- [`pigeonhole {one}`](#pigeonhole-{one}): {first_sentence(program.commands[one])}" for one in names]
        parts += [f"{title}:", "\n".join(lines)]
    parts.append(_fenced(program.epilog, ""))
    for names in GROUPS.values():
        for name in names:
            parts += _section(name, program.commands[name])
    return "\n\n".join(part.strip() for part in parts if part) + "\n"


def _section(name: str, command: Described) -> Iterator[str]:
    yield f"## pigeonhole {name}"
    yield _fenced(usage(f"pigeonhole {name}", command), "")
    yield plain(command.help)
    yield from _parameters(command)
    example, _, others = (command.epilog or "").partition("   ")
    yield _fenced(example.removeprefix("Example: "), "sh")
    yield others


def _parameters(command: Described) -> Iterator[str]:
    """Yield the table of a command's arguments and options, without those that Typer adds to all commands."""
    hints = hints_of(command)
    rows = [
        f"| `{_cell(parameter_name(one, hints[one.name]))}` | {_cell(parameter_help(one, hints[one.name]))} |"
        for one in command.params
        if one.name in hints
    ]
    if rows:
        yield "\n".join(["| | |", "| --- | --- |", *rows])


def _fenced(text: str, language: str) -> str:
    return f"```{language}\n{text}\n```" if text else ""


def _cell(text: str) -> str:
    return text.replace("|", r"\|")
