"""Help texts and usage errors."""

import re
from collections.abc import Callable
from itertools import pairwise

import pytest
from typer.testing import CliRunner, Result

from producer.arguments.parser import GROUPS
from producer.cli import app

Run = Callable[..., Result]


@pytest.fixture
def run(monkeypatch: pytest.MonkeyPatch) -> Run:
    monkeypatch.setenv("COLUMNS", "80")
    return lambda *arguments: CliRunner().invoke(app, [*arguments], prog_name="pigeonhole", catch_exceptions=False)


COMMANDS = [name for names in GROUPS.values() for name in names]


def test_the_program_lists_its_commands_by_group_and_each_exit_code_on_its_own_line(run: Run) -> None:
    lines = run("--help").stdout.splitlines()
    titles = [line for line in lines if re.fullmatch(r"[A-Z][a-z ]+:", line)]
    assert titles == ["Options:", "Classify:", "Jobs:", "Models:", "Operate:", "Exit codes:"]
    assert "    4  Redis can't be reached" in lines


def test_without_a_command_the_help_is_printed_as_an_error(run: Run) -> None:
    done = run()
    assert (done.exit_code, done.stdout) == (2, "")
    assert done.stderr.startswith("Usage: pigeonhole [OPTIONS] COMMAND\n")


@pytest.mark.parametrize("command", COMMANDS)
@pytest.mark.parametrize("width", ["60", "80", "120"])
def test_a_help_text_fits_the_terminal_and_names_no_type_of_python(
    run: Run, command: str, width: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", width)
    text = run(command, "--help").stdout
    assert not re.search(r"<\w+[ >]", text)
    assert max(map(len, text.splitlines())) <= int(width)
    assert "-h, --help" in text


@pytest.mark.parametrize("command", COMMANDS)
def test_a_paragraph_is_wrapped_once(run: Run, command: str) -> None:
    """Check that each line of a paragraph is filled: the next word would not fit."""
    for paragraph in run(command, "--help").stdout.partition("\n\n")[2].split("\n\n"):
        lines = paragraph.splitlines()
        if paragraph.startswith((" ", "Arguments:", "Options:", "Example")):
            continue
        for line, following in pairwise(lines):
            assert len(line) + 1 + len(following.split()[0]) > 80, paragraph


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["clasify"], "no such command 'clasify'. Did you mean 'classify'? See `pigeonhole --help`"),
        (["xyzzy"], "no such command 'xyzzy'. See `pigeonhole --help`"),
        (["--nope"], "no such option '--nope'. See `pigeonhole --help`"),
        (
            ["classify", "in", "--overwite"],
            "no such option '--overwite'. Did you mean --overwrite? See `pigeonhole classify --help`",
        ),
        (["classify"], "missing argument 'SOURCE'. See `pigeonhole classify --help`"),
        (["wait"], "missing argument 'JOB'. See `pigeonhole wait --help`"),
        (["train"], "missing option '-o' / '--output'. See `pigeonhole train --help`"),
        (["wait", "a", "b"], "got unexpected extra argument(s) (b). See `pigeonhole wait --help`"),
        (["classify", "in", "-o"], "option '-o' requires an argument. See `pigeonhole classify --help`"),
        (
            ["classify", "in", "--link", "soft"],
            "invalid value for '--link': 'soft' is not one of 'symbolic', 'hard'. See `pigeonhole classify --help`",
        ),
        (
            ["classify", "in", "--top", "0"],
            "invalid value for '--top': a row can't carry 0 classes: choose a number from 1 to 1,000. See `pigeonhole "
            "classify --help`",
        ),
        (
            ["status", "--broker", "http://:secret@host"],
            "invalid value for '--broker': 'http://:***@host' can't be used: give a redis://, rediss:// or unix:// "
            "URL. See `pigeonhole status --help`",
        ),
        (
            ["classify", "in", "--device", "gpu"],
            "invalid value for '--device': 'gpu' can't be used: give auto, cpu, cuda, or CUDA devices such as "
            "cuda:0,cuda:1. See `pigeonhole classify --help`",
        ),
    ],
)
def test_a_usage_error_is_one_line_with_the_value_and_the_remedy(run: Run, arguments: list[str], message: str) -> None:
    done = run(*arguments)
    assert (done.exit_code, done.stdout) == (2, "")
    assert done.stderr == f"pigeonhole: {message}\n"


@pytest.mark.parametrize(("value", "shown"), [("two", "'two' .* a whole number"), ("0", "'?0'? .*1")])
def test_an_invalid_number_is_shown_without_pydantics_message(run: Run, value: str, shown: str) -> None:
    done = run("classify", "in", "--processes", value)
    assert done.exit_code == 2
    line = rf"pigeonhole: invalid value for '--processes': {shown}\. See `pigeonhole classify --help`\n"
    assert re.fullmatch(line, done.stderr), done.stderr
    assert "nput should" not in done.stderr


@pytest.mark.parametrize("option", [["--processes", "2"], ["--device", "cpu"]])
def test_options_of_embedded_workers_are_refused_with_a_broker(run: Run, option: list[str]) -> None:
    done = run("classify", "in", *option, "--broker", "redis://:secret@localhost:1/0")
    assert done.exit_code == 2
    assert done.stderr.startswith(f"pigeonhole: {' '.join(option)} is for workers that this command starts itself")
    assert "redis://:***@localhost:1/0." in done.stderr
    assert "`pigeonhole worker`" in done.stderr
