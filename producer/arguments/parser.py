"""The parser of the command line: grouped help, and usage errors in our own format."""

import sys
from collections.abc import Mapping, Sequence
from typing import NoReturn

import typer
from typer.core import TyperCommand, TyperGroup

from pigeonhole.errors import ExitCode
from pigeonhole.text import printable
from producer.arguments.help import Described, command_help
from producer.command import notify

#: The base class of Typer's usage errors; Typer does not export it.
_UsageError: Described = typer.BadParameter.__base__
#: Title → its commands, in the order of the help.
GROUPS: Mapping[str, Sequence[str]] = {
    "Classify": ("classify", "submit", "wait", "results", "report"),
    "Jobs": ("status", "resume", "cancel", "delete"),
    "Models": ("train", "evaluate", "import", "export", "inspect"),
    "Operate": ("worker", "doctor"),
}


class Command(TyperCommand):
    """A command with our own help format."""

    def parse_args(self, ctx: Described, args: list[str]) -> list[str]:
        """Parse the arguments of a command; an error names the command."""
        try:
            return super().parse_args(ctx, args)
        except _UsageError as exc:
            exc.ctx = exc.ctx or ctx
            raise

    def format_help(self, ctx: Described, formatter: Described) -> None:
        """Write the help text."""
        formatter.write(command_help(ctx, {}))


class Program(TyperGroup):
    """The program: its help groups the commands, and a usage error is one line."""

    def list_commands(self, ctx: Described) -> list[str]:
        """Return the names of the commands, group by group."""
        grouped = [name for names in GROUPS.values() for name in names if name in self.commands]
        return [*grouped, *(name for name in self.commands if name not in grouped)]

    def format_help(self, ctx: Described, formatter: Described) -> None:
        """Write the help text."""
        groups = {
            title: [self.commands[name] for name in names if name in self.commands] for title, names in GROUPS.items()
        }
        formatter.write(command_help(ctx, groups))

    def main(  # type: ignore[override]  # always exits
        self, args: Sequence[str] | None = None, prog_name: str | None = None, **extra: Described
    ) -> NoReturn:
        """Run a command line and exit."""
        try:
            code = super().main(args, prog_name, **extra | {"standalone_mode": False})
        except _UsageError as exc:
            notify(f"pigeonhole: {printable(usage_error(exc))}")
            sys.exit(ExitCode.USAGE)
        except typer.Abort:
            sys.exit(ExitCode.FAILED)
        sys.exit(code or ExitCode.OK)


def usage_error(exc: Described) -> str:
    """Return the message of a usage error, with what to do."""
    guesses = getattr(exc, "possibilities", None)
    if hasattr(exc, "possibilities"):
        name = exc.option_name
        message = f"no such option {name!r}" + (f". Did you mean {' or '.join(sorted(guesses))}?" if guesses else "")
    else:
        message = _without_pydantic(exc).rstrip(".")
        message = message[:1].lower() + message[1:]
    end = "" if message.endswith("?") else "."
    path = exc.ctx.command_path if exc.ctx else "pigeonhole"
    return f"{message}{end} See `{path} --help`"


def _without_pydantic(exc: Described) -> str:
    """Return a message in our words; Pydantic, which checks values for Typer, does not name the value."""
    message: str = exc.format_message().replace("Value error, ", "")
    wrong: list[dict[str, object]] = getattr(exc.__cause__, "errors", list)()
    if wrong:
        message = message.replace("Input should be", f"{wrong[0]['input']!r} must be").partition(", unable to")[0]
    for theirs, ours in (("a valid integer range", "a whole number"), ("a valid integer", "a whole number")):
        message = message.replace(theirs, ours)
    return message.replace("a valid number", "a number")
