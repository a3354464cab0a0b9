"""`make outputs` reads a page's commands, runs them, and writes what they print in place of what the page shows."""

from pathlib import Path

import pytest

from scripts.outputs.__main__ import record
from scripts.outputs.page import comparable, parse, shortened, written

PAGE = """\
# Page

```sh
cd .
for name in one two; do
    echo $name
done
echo long \\
    line
```

<!-- output -->
```
old
```

```console
$ pwd
old
$ echo first; echo second; echo third
…
old
$ echo '0 of 9 images, 0 errors, 0 to review, 1 worker (starting)'; echo '0 of 9 images not found'
old
$ docker ps
CONTAINER
```

<!-- output of: printf 'a\\nb\\n' >letters; cat letters -->
```
old
```

<!-- not recorded: an example -->
```
example
```

<!-- picture of: letters -->
![Letters](letters.png)

```python
print("not shown")
```
"""


#: Prints progress, which is not recorded, and a line like it.
PROGRESS = "echo '0 of 9 images, 0 errors, 0 to review, 1 worker (starting)'; echo '0 of 9 images not found'"


def test_the_commands_of_all_blocks_are_steps_in_their_order() -> None:
    assert [step.code for step in parse(PAGE).steps] == [
        *("cd .", "for name in one two; do\n    echo $name\ndone", "echo long     line"),
        *("pwd", "echo first; echo second; echo third", PROGRESS, "docker ps"),
        *("printf 'a\\nb\\n' >letters; cat letters", 'print("not shown")'),
    ]


def test_an_output_belongs_to_the_command_before_it_or_in_its_comment() -> None:
    shown = {step.code: step.output.lines for step in parse(PAGE).steps if step.output}
    assert shown == {
        "echo long     line": ["old"],
        "pwd": ["old"],
        "echo first; echo second; echo third": ["…", "old"],
        PROGRESS: ["old"],
        "docker ps": ["CONTAINER"],
        "printf 'a\\nb\\n' >letters; cat letters": ["old"],
    }


def test_a_block_without_a_comment_is_found() -> None:
    assert parse("text\n```\noutput\n```\n").unknown == [2]
    assert parse(PAGE).unknown == []


@pytest.mark.parametrize(
    ("shown", "new"),
    [
        (["a"], ["1", "2", "3", "4"]),
        (["a", "…"], ["1", "…"]),
        (["…", "a"], ["…", "4"]),
        (["a", "…", "b"], ["1", "…", "4"]),
        (["a", "b", "…", "c", "d"], ["1", "2", "3", "4"]),
    ],
)
def test_as_many_lines_stay_before_and_after_an_ellipsis(shown: list[str], new: list[str]) -> None:
    assert shortened(shown, ["1", "2", "3", "4"]) == new


def test_a_line_with_an_ellipsis_stays_as_long_as_it_stands_for_the_new_one() -> None:
    shown = ["redis …/redis-server, 6.2"]
    assert shortened(shown, ["redis /usr/bin/redis-server, 6.2"]) == shown
    assert shortened(shown, ["redis /usr/bin/redis-server, 7.0"]) == ["redis /usr/bin/redis-server, 7.0"]


def test_new_outputs_may_have_other_numbers_of_lines() -> None:
    text = "```console\n$ a\n1\n2\n$ b\n3\n```\nend\n"
    first, second = (step.output for step in parse(text).steps)
    assert first is not None
    assert second is not None
    assert written(text, [(first, ["new"]), (second, [])]) == "```console\n$ a\nnew\n$ b\n```\nend\n"


@pytest.mark.parametrize(
    ("line", "other", "alike"),
    [
        ("203 images in 0.3 s (616 images/s)", "203 images in 12.3 s (1,616 images/s)", True),
        ("203 images in 0.3 s", "204 images in 0.3 s", False),
        ("job 20261130-043811-f33478: 2 processes", "job 20261201-000000-000000: 8 processes", True),
        ("photo.png,0.753548", "photo.png,0.753549", True),
        ("photo.png,0.753548", "photo.png,0.763548", False),
        ("wrong  labels", "wrong labels", True),
        ("digits@abb3dab59bde", "digits@000000000000", False),
    ],
)
def test_only_what_differs_between_two_runs_is_not_compared(line: str, other: str, alike: bool) -> None:
    assert (comparable([line]) == comparable([other])) is alike


def test_a_page_gets_the_outputs_and_pictures_of_its_commands(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    page = tmp_path / "page.md"
    page.write_text(PAGE)
    assert record(page, tmp_path / "run", real=False)
    new = {step.code: step.output.lines for step in parse(page.read_text()).steps if step.output}
    assert new == {
        "echo long     line": ["long line"],
        "pwd": ["/srv/photos"],
        "echo first; echo second; echo third": ["…", "third"],
        PROGRESS: ["0 of 9 images not found"],
        "docker ps": ["CONTAINER"],
        "printf 'a\\nb\\n' >letters; cat letters": ["a", "b"],
    }
    assert (tmp_path / "letters.png").read_text() == "a\nb\n"
    printed = capsys.readouterr().out
    assert "docker ps: needs Docker" in printed
    assert "an example" in printed


def test_a_page_stays_as_it_is_if_a_command_fails(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    page = tmp_path / "page.md"
    page.write_text("```console\n$ echo new\nold\n$ pigeonhole classify absent\n$ echo last\n```\n")
    before = page.read_text()
    assert not record(page, tmp_path / "run", real=False)
    assert page.read_text() == before
    error = capsys.readouterr().err
    assert "exit code 2" in error
    assert "$ pigeonhole classify absent" in error
    assert "'absent'" in error
