"""Write the dependencies in pyproject.toml as requirements files for Docker images: python requirements.py FOLDER.

With these files, an image installs the dependencies before the source is copied, so that they stay in the build cache
when the source changes.
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
    """Yield requirements, with `project[extra]` replaced by the requirements of that extra."""
    for requirement in requirements:
        own = re.fullmatch(rf"{re.escape(project)}\[(.+)\]", requirement)
        if own is None:
            yield requirement
            continue
        for extra in own[1].split(","):
            yield from _resolved(lists[extra.strip()], project, lists)


if __name__ == "__main__":
    main()
