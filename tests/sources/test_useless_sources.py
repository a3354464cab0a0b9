"""SOURCEs without images, unreadable ones, and the folder of `--sort-into`."""

from collections.abc import Callable
from contextlib import AbstractContextManager
from pathlib import Path

import pytest

from pigeonhole.errors import SourceError
from pigeonhole.sources.expand import expand
from pigeonhole.sources.folders import EXTENSIONS
from pigeonhole.sources.reference import Root
from tests.messages import check_message
from tests.sources.conftest import touch
from tests.sources.refusals import refused

AsNobody = Callable[[Path], AbstractContextManager[None]]


@pytest.mark.parametrize(
    ("source", "parts"),
    [
        ("no-such", ["'no-such'", "No such file or directory"]),
        ("no-such/a.png", ["'no-such/a.png'", "No such file or directory"]),
        ("a.png/b.png", ["'a.png/b.png'", "Not a directory"]),
        ("", ["''", "No such file or directory"]),
        ("round", ["'round'", "Too many levels of symbolic links"]),
        ("nowhere", ["'nowhere'", "No such file or directory"]),
        ("caf\udce9", ["'caf\\udce9'", "No such file or directory"]),
        ("no-such/*.png", ["'no-such/*.png'", "no image"]),
        ("*.gif", ["'*.gif'", "no image"]),
        ("empty/*", ["'empty/*'", "no image"]),
        ("*/", ["'*/'", "no image"]),
        ("@no-such", ["'@no-such'", "No such file or directory"]),
        ("@empty", ["'@empty'", "Is a directory"]),
        ("@blank", ["'@blank'", "empty"]),
    ],
)
def test_a_useless_source_is_refused_at_once(folder: Path, source: str, parts: list[str]) -> None:
    touch("a.png", "empty/sub/notes.txt", "empty/.hidden.png")
    Path("blank").write_bytes(b"\n\n\n")
    (folder / "round").symlink_to("round")
    (folder / "nowhere").symlink_to("no-such")
    check_message(refused(source), *parts)
    check_message(refused("a.png", source), *parts)


def test_a_folder_without_images_is_refused_with_the_known_extensions(folder: Path) -> None:
    touch("empty/notes.txt")
    check_message(refused("empty"), "'empty'", "no image", *(f" {extension}" for extension in EXTENSIONS))


def test_an_unreadable_folder_is_refused(folder: Path, as_nobody: AsNobody) -> None:
    touch("in/secret/a.png")
    (folder / "in/secret").chmod(0)
    with as_nobody(folder):
        for source in ("in", "in/*/*.png"):
            check_message(refused(source), "'in/secret/'", "Permission denied")
        check_message(refused("in/secret/a.png"), "'in/secret/a.png'", "Permission denied")
    (folder / "in/secret").chmod(0o755)


def test_a_folder_that_is_removed_during_the_walk_raises_an_error(folder: Path) -> None:
    touch("in/a.png", "in/sub/b.png")
    references = expand(["in"], Root("/"))
    assert next(references).path == "a.png"
    (folder / "in/sub/b.png").unlink()
    (folder / "in/sub").rmdir()
    with pytest.raises(SourceError, match=r"'in/sub/'.*: No such file or directory$"):
        list(references)


@pytest.mark.parametrize(
    "source",
    ["photos/*", "photos/**", "photos/**/*.png", "*", "phot*/*", "photos", "linked/*", "@list", "absolute/*"],
)
def test_images_in_the_sort_into_folder_are_left_out(folder: Path, source: str) -> None:
    touch("photos/a.png", "photos/sorted/7/a.png", "photos/sorted/_review/3/b.png", "photos/sorted.png")
    Path("linked").symlink_to("photos")
    Path("photos/way").symlink_to("sorted")
    Path("list").write_text("photos/sorted/7/a.png\nphotos/a.png\nphotos/way/7/a.png\nphotos/sorted.png\n")
    warnings: list[str] = []
    absolute = source.startswith("absolute")
    named = source.replace("absolute", str(folder / "photos"))
    sources = [named] if source != "*" else ["photos*"]
    found = list(expand(sources, Root("/"), sort_into="photos/sorted", warn=warnings.append))
    top = f"{folder}/photos/" if absolute else "linked/" if source == "linked/*" else "photos/"
    assert sorted({reference.shown + reference.path for reference in found}) == [f"{top}a.png", f"{top}sorted.png"]
    (warning,) = warnings
    check_message(warning, "'photos/sorted'", "left out")


def test_an_empty_sort_into_folder_leaves_no_image_out(folder: Path) -> None:
    touch("photos/a.png")
    warnings: list[str] = []
    for where in ("photos/sorted", "elsewhere"):
        assert len(list(expand(["photos/*"], Root("/"), sort_into=where, warn=warnings.append))) == 1
    assert warnings == []
