"""Check that a rewording does not change code: `python scripts/same_code.py BASE [--renames FILE]`.

It compares the syntax trees of all Python files at a commit and in the working tree, without docstrings, comments and
texts of strings. FILE has a line `old new` for each renamed name.
"""

import argparse
import ast
import subprocess
from collections.abc import Iterator, Mapping
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent


class _Plain(ast.NodeTransformer):
    """Removes the parts of a syntax tree that a rewording may change.

    Args:
        renames: old name → new name.
    """

    def __init__(self, renames: Mapping[str, str]) -> None:
        self._renames = renames

    def generic_visit(self, node: ast.AST) -> ast.AST:
        for field in ("name", "id", "attr", "arg", "asname", "module"):
            value = getattr(node, field, None)
            if isinstance(value, str):
                setattr(node, field, ".".join(self._renames.get(part, part) for part in value.split(".")))
        if isinstance(node, ast.Global | ast.Nonlocal):
            node.names = [self._renames.get(name, name) for name in node.names]
        if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef):
            node.body = [part for part in node.body if not _is_docstring(part)] or [ast.Pass()]
        return super().generic_visit(node)

    def visit_Constant(self, node: ast.Constant) -> ast.AST:
        return ast.Constant("" if isinstance(node.value, str) else node.value)

    def visit_JoinedStr(self, node: ast.JoinedStr) -> ast.AST:
        values = [self.visit(value) for value in node.values if isinstance(value, ast.FormattedValue)]
        return ast.JoinedStr(values) if values else ast.Constant("")


def _is_docstring(node: ast.stmt) -> bool:
    return isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant) and isinstance(node.value.value, str)


def plain(code: str, renames: Mapping[str, str] | None = None) -> str:
    """Return the syntax tree of a program as text, without the parts that a rewording may change."""
    return ast.dump(_Plain(renames or {}).visit(ast.parse(code)), indent=1)


def changed(base: str, renames: Mapping[str, str]) -> Iterator[str]:
    """Yield the files whose code differs from a commit, each with the first difference.

    Args:
        base: the commit.
        renames: old name → new name.
    """
    for path in _git("diff", "--name-only", "--diff-filter=d", base, "--", "*.py").splitlines():
        try:
            before = _git("show", f"{base}:{path}")
        except subprocess.CalledProcessError:
            yield f"{path}: new or moved"
            continue
        old = plain(before, renames).splitlines()
        new = plain((ROOT / path).read_text(encoding="utf-8")).splitlines()
        for one, other in zip(old, new, strict=False):
            if one != other:
                yield f"{path}: {one.strip()} → {other.strip()}"
                break
        else:
            if len(old) != len(new):
                yield f"{path}: {len(old)} → {len(new)} nodes"


def _git(*words: str) -> str:
    return subprocess.run(["git", "-C", str(ROOT), *words], capture_output=True, text=True, check=True).stdout


def main() -> int:
    """Print the files with changed code, and return the exit code."""
    parser = argparse.ArgumentParser(prog="scripts/same_code.py", description=__doc__.partition("\n")[0])
    parser.add_argument("base", help="the commit to compare with")
    parser.add_argument("--renames", type=Path, help="a file with a line `old new` for each new name")
    options = parser.parse_args()
    lines = options.renames.read_text(encoding="utf-8").splitlines() if options.renames else []
    found = list(changed(options.base, dict(line.split() for line in lines if line.strip())))
    print(*found or ["the code is the same"], sep="\n")
    return 1 if found else 0


if __name__ == "__main__":
    raise SystemExit(main())
