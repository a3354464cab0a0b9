"""The style check finds forbidden openings, forbidden words and long sentences."""

import subprocess
from pathlib import Path

import pytest

from scripts.lint_style import BASE, check, findings, long_subjects

#: Forbidden words; without a space in their strings, so that the check does not find them in this file.
OWED, STRUCK, SO, MANY = "owed", "struck", "So", "many"
CLEAN = '"""Parse a file."""\n'
GIVES = 'def one() -> int:\n    """Give one."""\n    return 1\n'


@pytest.mark.parametrize(
    ("code", "found"),
    [
        (CLEAN, []),
        (GIVES, ['1: a docstring starts with "Give"']),
        ('class A:\n    """Have it."""\n', ['1: a docstring starts with "Have"']),
        ('"""What this module is about."""\n', []),
        ('def f():\n    """What it returns."""\n', ['1: a docstring starts with "What"']),
        (f"x = 1  # what is {OWED}\n", [f'"{OWED}": write pending']),
        (f'raise ValueError(f"{{x}} is {STRUCK}\\n off")\n', [f'"{STRUCK} off": write remove']),
        (f'{OWED} = {{"{OWED}": 1}}\n', []),
        ('x = "a fowed word"\n', []),
    ],
)
def test_forbidden_openings_and_words_in_code_are_found(code: str, found: list[str]) -> None:
    assert findings("a.py", code) == found


LONG = " ".join(["word"] * 36)


@pytest.mark.parametrize(
    ("text", "found"),
    [
        (f"{LONG}.", ["a sentence of 36 words: word word word word word word word word …"]),
        (f"{LONG[5:]}. {LONG[5:]}.", []),
        (f"- {LONG[:100]}\n- {LONG[:100]}", []),
        (f"# {LONG}\n\n| {LONG} |\n\n```\n{LONG}\n```\n\n    {LONG}", []),
        (f"A `{LONG}` and a [link]({LONG.replace(' ', '/')}).", []),
        (f"{SO}\n{MANY} of `{SO} {MANY}`.", [f'"{SO} {MANY}": write a number']),
    ],
)
def test_forbidden_words_and_long_sentences_in_documents_are_found(text: str, found: list[str]) -> None:
    assert findings("a.md", text) == found


def test_all_programs_and_documents_of_a_checkout_are_searched(tmp_path: Path) -> None:
    for path in ("pigeonhole/text.py", "scripts/demo.py", "docs/guide/archives.md"):
        (tmp_path / path).parent.mkdir(parents=True)
        (tmp_path / path).write_text(f"It is {OWED}." if path.endswith(".md") else GIVES)
    assert sorted(check(tmp_path)) == [
        f'docs/guide/archives.md: "{OWED}": write pending',
        'pigeonhole/text.py: 1: a docstring starts with "Give"',
        'scripts/demo.py: 1: a docstring starts with "Give"',
    ]


def test_without_history_the_subjects_of_commits_are_not_checked(tmp_path: Path) -> None:
    assert long_subjects(tmp_path) is None, f"{tmp_path} has no commit {BASE}"


def test_the_subjects_of_commits_after_the_base_are_checked(tmp_path: Path) -> None:
    git = ["git", "-C", str(tmp_path), "-c", "user.name=A", "-c", "user.email=a@example.org"]
    subprocess.run([*git, "init", "-q"], check=True)
    for subject in ("x" * 80, "y" * 72, "z" * 73):
        subprocess.run([*git, "commit", "-q", "--allow-empty", "-m", subject], check=True)
    (found,) = long_subjects(tmp_path, "HEAD~2") or []
    assert found.endswith(" " + "z" * 73)
