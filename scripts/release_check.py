"""`make release-check`: build a wheel and a source archive of the last commit, check them, and try the wheel.

The tools come into an environment of their own, so that no other target needs them. `dist/` gets the files.
"""

import csv
import os
import re
import shutil
import subprocess
import sys
import tempfile
import tomllib
import venv
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
DIST = ROOT / "dist"
#: build calls setuptools as pip does; twine checks the metadata and the README as the package index does.
TOOLS = ("build>=1.2", "twine>=6")
SAMPLES = "samples-labels.csv"


def main() -> None:
    """Check the release, and print each step."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    changes = (ROOT / "CHANGELOG.md").read_text(encoding="utf-8")
    check_changelog(changes, project["version"])
    with tempfile.TemporaryDirectory(prefix="release-check-") as folder:
        work = Path(folder)
        _export(work / "source")
        shutil.rmtree(DIST, ignore_errors=True)
        tools = _environment(work / "tools", *TOOLS)
        _run(tools, "-m", "build", "--outdir", str(DIST), str(work / "source"))
        wheel, archive = sorted(DIST.iterdir(), key=lambda path: path.suffix != ".whl")
        _run(tools, "-m", "twine", "check", "--strict", str(wheel), str(archive))
        for file in (wheel, archive):
            print(f"release-check: {file.relative_to(ROOT)}, {file.stat().st_size:,} bytes", flush=True)
        user = _environment(work / "user", f"{wheel}[local]")
        _try(user, work, project["version"])
    print(f"release-check: {project['name']} {project['version']} is ready")


def check_changelog(changes: str, version: str) -> None:
    """Exit unless the first section of the changelog is the one of the version."""
    first = re.findall(r"^## (.*)$", changes, re.MULTILINE)[0]
    if first != version:
        sys.exit(f"release-check: CHANGELOG.md begins with {first!r}, and pyproject.toml has version {version}")


def _export(folder: Path) -> None:
    """Write the files of the last commit; changes that are not committed are not released."""
    changed = _output("git", "-C", str(ROOT), "status", "--porcelain", "--untracked-files=no")
    if changed:
        sys.exit(f"release-check: commit these changes first:\n{changed}")
    folder.mkdir()
    packed = subprocess.run(["git", "-C", str(ROOT), "archive", "HEAD"], capture_output=True, check=True).stdout
    subprocess.run(["tar", "-x", "-C", str(folder)], input=packed, check=True)


def _environment(folder: Path, *packages: str) -> Path:
    """Create an environment with some packages from the package index, and return its Python."""
    print(f"release-check: installing {', '.join(packages)}", flush=True)
    venv.create(folder, with_pip=True)
    python = folder / "bin" / "python"
    _run(python, "-m", "pip", "install", "-q", "--disable-pip-version-check", *packages)
    return python


def _try(python: Path, work: Path, version: str) -> None:
    """Run the installed program as a user would, in a folder without the checkout."""
    program = python.parent / "pigeonhole"
    shown = _output(str(program), "--version", cwd=work)
    if shown != f"pigeonhole {version}":
        sys.exit(f"release-check: `pigeonhole --version` prints {shown!r}, not 'pigeonhole {version}'")
    with (ROOT / SAMPLES).open(newline="", encoding="utf-8") as file:
        sample = next(row for row in csv.DictReader(file) if row["label"])
    shutil.copy(ROOT / sample["path"], work / "image.png")
    _output(str(program), "classify", "image.png", "-o", "rows.csv", cwd=work)
    with (work / "rows.csv").open(newline="", encoding="utf-8") as file:
        (row,) = csv.DictReader(file)
    if row["label"] != sample["label"]:
        sys.exit(f"release-check: {sample['path']} is read as {row['label']!r}, not {sample['label']!r}")
    print(f"release-check: {shown}; {sample['path']} is a {row['label']}, by {row['model']}", flush=True)


def _run(python: Path, *arguments: str) -> None:
    if subprocess.run([python, *arguments], check=False).returncode:
        sys.exit(f"release-check: this failed: {python.name} {' '.join(arguments)}")


def _output(*command: str, cwd: Path = ROOT) -> str:
    """Return what a command prints; exit if it fails. Settings of this shell do not reach it."""
    environment = {name: value for name, value in os.environ.items() if not name.startswith(("PIGEONHOLE", "PYTHON"))}
    done = subprocess.run(command, cwd=cwd, env=environment, capture_output=True, text=True, check=False)
    if done.returncode:
        sys.exit(f"release-check: this failed: {' '.join(command)}\n{done.stderr}")
    return done.stdout.strip()


if __name__ == "__main__":
    main()
