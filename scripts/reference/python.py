"""docs/reference/python.md: the public names of `import pigeonhole`, with their docstrings."""

import ast
import inspect
import re
import textwrap
from collections.abc import Iterator
from enum import Enum

import pigeonhole

HEAD = """# Python

```python
from pigeonhole import Client

with Client() as client:
    for row in client.classify("photos/"):
        print(row.path, row.label, row.confidence)
```

These are all public names of `import pigeonhole`. The exceptions are under [Errors](errors.md#exceptions); the
[guide](../guide/python.md) explains how to use the client. `make docs` writes this page.
"""
_WIDEST = 110


def written() -> str:
    """Return the page."""
    named = {name: getattr(pigeonhole, name) for name in pigeonhole.__all__}
    classes = [kind for kind in named.values() if inspect.isclass(kind) and not issubclass(kind, Exception)]
    parts = [HEAD.strip()]
    for kind in sorted(classes, key=lambda kind: (kind.__name__ != "Client", kind.__name__)):
        parts += _class(kind)
    parts += ["## `__version__`", "The version of Pigeonhole, such as `0.3.0`."]
    return "\n\n".join(parts) + "\n"


def _class(kind: type) -> Iterator[str]:
    """Yield the paragraphs of a class: its fields or members, its docstring, and its public methods."""
    (tree,) = ast.parse(textwrap.dedent(inspect.getsource(kind))).body
    assert isinstance(tree, ast.ClassDef)
    functions = {node.name: node for node in tree.body if isinstance(node, ast.FunctionDef)}
    yield f"## `{kind.__name__}`"
    shown = _values(kind, tree)
    if kind is pigeonhole.Client:
        shown = [_signature(kind.__name__, functions["__init__"])]
    if shown:
        yield _code("\n".join(shown))
    # Only the client creates a Rows.
    yield from _paragraphs(kind.__doc__, omitted=() if shown else ("Args",))
    for name, node in functions.items():
        if not name.startswith("_"):
            is_property = any(ast.unparse(one) == "property" for one in node.decorator_list)
            yield f"### `{kind.__name__}.{name}`"
            yield _code(f"{name}: {_text(node.returns)}" if is_property else _signature(name, node))
            yield from _paragraphs(ast.get_docstring(node))


def _values(kind: type, tree: ast.ClassDef) -> list[str]:
    """Return the members of an enumeration, or the public fields of another class."""
    if issubclass(kind, Enum):
        return [f'{member.name} = "{member.value}"' for member in kind]  # quoted as ruff formats the page
    fields = [node for node in tree.body if isinstance(node, ast.AnnAssign)]
    return [
        f"{_text(node.target)}: {_text(node.annotation)}{_default(node.value)}"
        for node in fields
        if not _text(node.target).startswith("_")
    ]


def _default(value: ast.expr | None) -> str:
    """Return how a field's default is shown; one that a factory makes is not."""
    return "" if value is None or isinstance(value, ast.Call) else f" = {_text(value)}"


def _text(node: ast.expr | None) -> str:
    return "None" if node is None else ast.unparse(node).strip("'")


def _signature(name: str, node: ast.FunctionDef) -> str:
    """Return how a function is called, one line for each argument if one line is too long for all."""
    node.args.args = [one for one in node.args.args if one.arg not in ("self", "cls")]
    returns = "" if node.name == "__init__" else f" -> {_text(node.returns)}"
    all_arguments = ast.unparse(node.args).replace("=", " = ")
    line = f"{name}({all_arguments}){returns}"
    if len(line) <= _WIDEST:
        return line
    arguments = re.split(r", (?=\w+:|\*)", all_arguments)
    return "\n".join([f"{name}(", *(f"    {one}," for one in arguments), f"){returns}"])


def _paragraphs(doc: str | None, omitted: tuple[str, ...] = ()) -> Iterator[str]:
    """Yield a docstring's paragraphs in Markdown: examples as code, and sections such as Args as lists.

    Args:
        doc: the docstring.
        omitted: titles of sections to leave out.
    """
    for paragraph in inspect.cleandoc(doc or "").split("\n\n"):
        title, _, entries = paragraph.partition(":\n")
        if title in omitted:
            continue
        if title in ("Args", "Attributes", "Raises"):
            yield f"{title}:\n\n{_entries(textwrap.dedent(entries))}"
        elif title == "Returns":
            yield f"Returns: {' '.join(entries.split())}"
        elif re.search(r"^    |^\w+ = ", paragraph, re.MULTILINE):
            yield _code(paragraph)
        else:
            yield paragraph


def _entries(text: str) -> str:
    """Return the entries of a section as a list; a line that is indented continues the entry before it."""
    joined = re.sub(r"\n\s+", " ", text.strip())
    return "\n".join(re.sub(r"^([\w, ]+): ", r"- `\1`: ", line) for line in joined.split("\n"))


def _code(text: str) -> str:
    return f"```python\n{text}\n```"
