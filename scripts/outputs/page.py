"""Read a page's commands with the outputs that it shows, and write new outputs in their place.

In a block of `console`, the lines after `$ COMMAND` are its output. Another output is in a block without a language,
after a comment that a reader does not see:

    <!-- output -->                 the output of the last command or program above
    <!-- output of: COMMAND -->     the output of COMMAND, which is run at this place
    <!-- not recorded: REASON -->   text that is not written by `make outputs`

`<!-- picture of: FILE -->` stands before a picture that a command above writes to FILE. In an output, a line `…` stands
for lines that are left out; within a line, `…` stands for any text.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass, field

CUT = "…"
_FENCE = re.compile(r"^ *```(\w*)$")
_NOTE = re.compile(r"^<!-- (output|output of|not recorded)(?:: (.*))? -->$")
_PICTURE = re.compile(r"^<!-- picture of: (.*) -->\n+!\[[^]]*\]\((.*)\)$", re.MULTILINE)
#: Lines that belong to the command before them: those of a loop.
_WITHIN = re.compile(r"\s|done\b|fi\b|esac\b")
#: What differs between two runs or machines: ids and names of temporary files, versions, times and sizes, the least
#: probabilities, and the number of cores.
_VOLATILE = re.compile(
    r"\d{8}-\d{6}-[0-9a-f]{6}|(?<=\.pigeonhole-doctor-)[0-9a-f]+|\d+\.\d+\.\d+|\d\.\de-\d\d"
    r"|\d[\d,.]* (?:ms|s|GB|MB|images/s(?:; start-up took [\d.]+ s)?)\b|\d+(?= process(?:es)?\b)"
)
#: Probabilities, whose last digits depend on the processor.
_EXACT = re.compile(r"\b[01]\.\d{5,}")


@dataclass
class Output:
    """An output that a page shows.

    Args:
        place: Number of its first line in the page, from 0.
        lines: Its lines.
    """

    place: int
    lines: list[str] = field(default_factory=list)


@dataclass
class Step:
    """A command or a program of a page.

    Args:
        code: Text of the command or program.
        language: `sh`, `console` or `python`.
        output: Output that the page shows; None if it shows none.
    """

    code: str
    language: str
    output: Output | None = None


@dataclass
class Page:
    """A page's steps, in their order.

    Args:
        steps: Commands and programs.
        pictures: File that a command writes → the picture in the docs, relative to the page.
        left: Reasons for which blocks are not recorded.
        unknown: Numbers of the lines, from 1, that begin a block without a language and without a comment.
    """

    steps: list[Step] = field(default_factory=list)
    pictures: dict[str, str] = field(default_factory=dict)
    left: list[str] = field(default_factory=list)
    unknown: list[int] = field(default_factory=list)


def parse(text: str) -> Page:
    """Return the steps of a page's text."""
    page = Page(pictures=dict(_PICTURE.findall(text)))
    lines = text.splitlines()
    place = 0
    while place < len(lines):
        fence = _FENCE.match(lines[place])
        if fence:
            end = next(end for end in range(place + 1, len(lines)) if lines[end].strip() == "```")
            block, indent = lines[place + 1 : end], len(lines[place]) - len(lines[place].lstrip())
            _add_block(page, fence[1], [line[indent:] for line in block], place + 1, lines[place - 1])
            place = end
        place += 1
    return page


def _add_block(page: Page, language: str, block: list[str], place: int, above: str) -> None:
    if language == "python":
        page.steps.append(Step("\n".join(block), language))
    elif language == "sh":
        page.steps += [Step(code, language) for code in _commands(block)]
    elif language == "console":
        _add_console(page, block, place)
    elif language == "":
        note = _NOTE.match(above)
        if note is None:
            page.unknown.append(place)
        elif note[1] == "not recorded":
            page.left.append(note[2])
        else:
            if note[1] == "output of":
                page.steps.append(Step(note[2], "sh"))
            page.steps[-1].output = Output(place, block)


def _commands(block: Sequence[str]) -> list[str]:
    """Return the commands of a block of shell; a loop is one command."""
    commands: list[str] = []
    for line in block:
        if commands and (_WITHIN.match(line) or commands[-1].endswith("\\")):
            commands[-1] += f"\n{line}"
        elif line:
            commands.append(line)
    return [command.replace("\\\n", "") for command in commands]


def _add_console(page: Page, block: Sequence[str], place: int) -> None:
    for number, line in enumerate(block):
        last = page.steps[-1] if page.steps else None
        if line.startswith("$ "):
            page.steps.append(Step(line[2:], "console"))
        elif last is not None and last.output is None and last.code.endswith("\\"):
            last.code = last.code[:-1] + line
        elif last is not None:
            last.output = last.output or Output(place + number)
            last.output.lines.append(line)


def shortened(shown: Sequence[str], printed: Sequence[str]) -> list[str]:
    """Return a new output, shortened where the page shortens the old one.

    Args:
        shown: Lines that the page shows: `…` stands for lines that are left out, or for a part of a line.
        printed: Lines of the new output.
    """
    lines = list(printed)
    if CUT in shown:
        before = shown.index(CUT)
        after = len(shown) - before - 1
        if len(lines) > before + after:
            lines = [*lines[:before], CUT, *lines[len(lines) - after :]]
    cut = [line for line in shown if CUT in line and line != CUT]
    return [next((old for old in cut if _stands_for(old, line)), line) for line in lines]


def _stands_for(cut: str, line: str) -> bool:
    return re.fullmatch(".*".join(map(re.escape, cut.split(CUT))), line) is not None


def written(text: str, outputs: Sequence[tuple[Output, Sequence[str]]]) -> str:
    """Return a page's text with new outputs.

    Args:
        text: Text of the page.
        outputs: Pairs of an output that the page shows and its new lines.
    """
    lines = text.splitlines()
    for old, new in sorted(outputs, key=lambda pair: pair[0].place, reverse=True):
        lines[old.place : old.place + len(old.lines)] = new
    return "\n".join(lines) + "\n"


def comparable(lines: Sequence[str]) -> list[str]:
    """Return the lines of an output without what differs between two runs, such as times and ids."""
    rounded = [_EXACT.sub(lambda found: f"{float(found[0]):.3f}", line) for line in lines]
    return [" ".join(_VOLATILE.sub("#", line).split()) for line in rounded]
