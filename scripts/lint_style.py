"""`make lint-style`: find violations of the language rules in CONTRIBUTING.md."""

import ast
import io
import re
import subprocess
import tokenize
from collections.abc import Iterable, Iterator
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
BASE = "8a7f445"  # subjects of commits are checked after this one
MOST_WORDS, LONGEST_SUBJECT = 35, 72

_OPENING = re.compile(r"(Give|Have|Tell|Say|Let|Make\s+what)\b")
_FUNCTION_OPENING = re.compile(r"(What|How|Whether|Where|Which|Who)\b")
#: Forbidden pattern → the words to write. Blanks are written as \s, because a string with a blank is checked as prose.
_WORDS = {
    r"owed": "pending",
    r"str(?:ike|uck|ikes)\s+off": "remove",
    r"bur(?:y|ied|ies|ial)": "dead letter",
    r"deserted": "abandoned",
    r"keepers?": "supervisor process",
    r"patiently|despairs?": "retry",
    r"(?:put|set|lies?|left)\s+aside": "resume state",
    r"goes\s+on": "resumes, continues",
    r"none\s+of\s+these": "out-of-distribution",
    r"strangers?": "out-of-distribution image",
    r"sureness": "review score",
    r"calming|lessened": "augmentation decay",
    r"what\s+is\s+named|what\s+comes\s+then|whoever": "name the thing",
    r"so\s+many": "a number",
}
_GLOSSARY = [(re.compile(rf"\b(?:{pattern})\b", re.IGNORECASE), word) for pattern, word in _WORDS.items()]


def findings(path: str, text: str) -> list[str]:
    """Return the violations in a Python or Markdown file, one line each."""
    if path.endswith(".md"):
        paragraphs = _paragraphs(text)
        return [*_glossary(paragraphs), *_long_sentences(paragraphs)]
    return [*_openings(text), *_glossary(_prose(text))]


def _openings(code: str) -> Iterator[str]:
    """Yield a finding for each docstring with a forbidden first word."""
    for node in ast.walk(ast.parse(code)):
        if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef):
            doc = ast.get_docstring(node) or ""
            is_function = not isinstance(node, ast.Module | ast.ClassDef)
            if _OPENING.match(doc) or (is_function and _FUNCTION_OPENING.match(doc)):
                yield f'{getattr(node, "lineno", 1)}: a docstring starts with "{doc.split()[0]}"'


def _prose(code: str) -> Iterator[str]:
    """Yield the comments of a program, and its strings with a blank: docstrings and messages."""
    for token in tokenize.generate_tokens(io.StringIO(code).readline):
        if token.type == tokenize.COMMENT:
            yield token.string
    for node in ast.walk(ast.parse(code)):
        if isinstance(node, ast.Constant) and isinstance(node.value, str) and " " in node.value:
            yield node.value


def _paragraphs(text: str) -> list[str]:
    """Return the paragraphs and list items of a document, without code, tables and headings."""
    text = re.sub(r"^( *)(```|~~~).*?^\1\2", "", text, flags=re.MULTILINE | re.DOTALL)
    text = re.sub(r"`[^`]*`|\]\([^)]*\)|<!--.*?-->", "code", text, flags=re.DOTALL)
    parts = re.split(r"\n\s*\n|\n(?=\s*(?:[-*]|\d+\.) )|^[|#].*$", text, flags=re.MULTILINE)
    return [part for part in parts if part.strip() and not part.startswith("    ")]


def _glossary(parts: Iterable[str]) -> Iterator[str]:
    for part in parts:
        for pattern, word in _GLOSSARY:
            yield from (f'"{found}": write {word}' for found in pattern.findall(" ".join(part.split())))


def _long_sentences(paragraphs: list[str]) -> Iterator[str]:
    for paragraph in paragraphs:
        for sentence in re.split(r"(?<=[.!?])[)\"*]*\s+", " ".join(paragraph.split())):
            words = [word for word in sentence.split() if any(map(str.isalnum, word))]
            if len(words) > MOST_WORDS:
                yield f"a sentence of {len(words)} words: {' '.join(words[:8])} …"


def long_subjects(root: Path, base: str = BASE) -> list[str] | None:
    """Return the commits after `base` whose subjects are too long; None if git does not have that commit."""
    log = ["git", "-C", str(root), "log", "--format=%h %s", f"{base}..HEAD"]
    done = subprocess.run(log, capture_output=True, text=True, check=False)
    if done.returncode:
        return None
    return [line for line in done.stdout.splitlines() if len(line.partition(" ")[2]) > LONGEST_SUBJECT]


def check(root: Path) -> Iterator[str]:
    """Yield the errors in a checkout."""
    folders = ("pigeonhole", "producer", "worker", "training", "tests", "scripts", "benchmarks", "deploy", "docs")
    files = [*root.glob("*.md"), *(file for name in folders for file in sorted((root / name).rglob("*.*")))]
    for file in files:
        if file.suffix in (".py", ".md"):
            path = str(file.relative_to(root))
            yield from (f"{path}: {line}" for line in findings(path, file.read_text(encoding="utf-8")))


def main() -> int:
    """Print the errors, and return the exit code."""
    wrong = list(check(ROOT))
    subjects = long_subjects(ROOT)
    if subjects is None:
        print(f"lint-style: commit subjects are not checked, because this checkout does not have the commit {BASE}")
    wrong += [f"a subject of more than {LONGEST_SUBJECT} characters: {line}" for line in subjects or []]
    print(*wrong or ["lint-style: no findings"], sep="\n")
    return 1 if wrong else 0


if __name__ == "__main__":
    raise SystemExit(main())
