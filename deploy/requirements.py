"""Write what each image needs from outside, one requirements file each: python requirements.py FOLDER.

Read off pyproject.toml, so that images and `pip install` agree, and so that dependencies can be installed before
the source is there (and stay in the build cache when it changes).
"""

import re
import sys
import tomllib
from collections.abc import Iterable, Iterator
from pathlib import Path


def main() -> None:
    """Write base.txt, build.txt and one file for each extra."""
    folder = Path(sys.argv[1])
    folder.mkdir(parents=True)
    content = tomllib.loads(Path("pyproject.toml").read_text(encoding="utf-8"))
    project = content["project"]
    lists: dict[str, list[str]] = {
        **project["optional-dependencies"],
        "base": project["dependencies"],
        "build": content["build-system"]["requires"],
    }
    for name, requirements in lists.items():
        lines = sorted(set(_resolved(requirements, project["name"], lists)))
        (folder / f"{name}.txt").write_text("".join(f"{line}\n" for line in lines), encoding="utf-8")


def _resolved(requirements: Iterable[str], project: str, lists: dict[str, list[str]]) -> Iterator[str]:
    """Replace `project[extra]` by what that extra lists."""
    for requirement in requirements:
        own = re.fullmatch(rf"{re.escape(project)}\[(.+)\]", requirement)
        if own is None:
            yield requirement
            continue
        for extra in own[1].split(","):
            yield from _resolved(lists[extra.strip()], project, lists)


if __name__ == "__main__":
    main()
