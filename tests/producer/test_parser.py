"""Help texts and usage errors."""

import re
from collections.abc import Callable
from itertools import pairwise

import pytest
from typer.testing import CliRunner, Result

from pigeonhole.errors import ExitCode
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
    assert [line.split()[0] for line in lines if re.match(r" {2,4}\d+  ", line)] == [
        str(code.value) for code in ExitCode
    ]


def test_without_a_command_the_help_is_printed_as_an_error(run: Run) -> None:
    done = run()
    assert (done.exit_code, done.stdout) == (ExitCode.USAGE, "")
    assert done.stderr.startswith("Usage: pigeonhole ")


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
    """Check that no line of a paragraph has room for the next word."""
    for paragraph in run(command, "--help").stdout.partition("\n\n")[2].split("\n\n"):
        lines = paragraph.splitlines()
        if paragraph.startswith((" ", "Arguments:", "Options:", "Example")):
            continue
        for line, following in pairwise(lines):
            assert len(line) + 1 + len(following.split()[0]) > 80, paragraph


@pytest.mark.parametrize(
    ("arguments", "parts"),
    [
        (["clasify"], ("'clasify'", "'classify'?")),
        (["xyzzy"], ("'xyzzy'",)),
        (["--nope"], ("'--nope'",)),
        (["classify", "in", "--overwite"], ("'--overwite'", "--overwrite?")),
        (["classify"], ("'SOURCE'",)),
        (["wait"], ("'JOB'",)),
        (["train"], ("'-o' / '--output'",)),
        (["wait", "a", "b"], ("(b)",)),
        (["classify", "in", "-o"], ("'-o'",)),
        (["classify", "in", "--link", "soft"], ("'--link'", "'soft'", "'symbolic', 'hard'")),
        (["classify", "in", "--top", "0"], ("'--top'", "0 classes", "1 to 1,000")),
        (["status", "--broker", "http://:secret@host"], ("'--broker'", "'http://:***@host'", "redis://, rediss://")),
        (["classify", "in", "--device", "gpu"], ("'--device'", "'gpu'", "auto, cpu, cuda", "cuda:0,cuda:1")),
    ],
)
def test_a_usage_error_is_one_line_with_the_value_and_the_remedy(
    run: Run, arguments: list[str], parts: tuple[str, ...]
) -> None:
    done = run(*arguments)
    assert (done.exit_code, done.stdout) == (ExitCode.USAGE, "")
    assert re.fullmatch(r"pigeonhole: .*\n", done.stderr), done.stderr
    command = "pigeonhole" if arguments[0] not in COMMANDS else f"pigeonhole {arguments[0]}"
    for part in (*parts, f"`{command} --help`"):
        assert part in done.stderr


@pytest.mark.parametrize(("value", "shown"), [("two", "'two' .* a whole number"), ("0", "'?0'? .*1")])
def test_an_invalid_number_is_shown_without_pydantics_message(run: Run, value: str, shown: str) -> None:
    done = run("classify", "in", "--processes", value)
    assert done.exit_code == ExitCode.USAGE
    assert re.fullmatch(rf"pigeonhole: .*'--processes': {shown}.*`pigeonhole classify --help`\n", done.stderr)
    assert "nput should" not in done.stderr  # the beginning of pydantic's message


@pytest.mark.parametrize("option", [["--processes", "2"], ["--device", "cpu"]])
def test_options_of_embedded_workers_are_refused_with_a_broker(run: Run, option: list[str]) -> None:
    done = run("classify", "in", *option, "--broker", "redis://:secret@localhost:1/0")
    assert done.exit_code == ExitCode.USAGE
    for part in (" ".join(option), "redis://:***@localhost:1/0", "`pigeonhole worker`"):
        assert part in done.stderr
