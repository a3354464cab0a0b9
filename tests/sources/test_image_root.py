"""References are relative to the image root, and SOURCEs outside it are refused."""

from pathlib import Path

from pigeonhole.sources.expand import expand
from pigeonhole.sources.reference import Root
from tests.messages import check_message
from tests.sources.conftest import pairs, touch
from tests.sources.refusals import refused


def test_references_are_relative_to_the_root(folder: Path) -> None:
    touch("in/a.png", "in/sub/b.png")
    assert pairs(expand(["in"], Root(str(folder)))) == [("in/a.png", "in/a.png"), ("in/sub/b.png", "in/sub/b.png")]
    assert pairs(expand(["in"], Root(f"{folder}/in"))) == [("in/a.png", "a.png"), ("in/sub/b.png", "sub/b.png")]
    assert pairs(expand(["in/*"], Root(f"{folder}/in/"))) == [("in/a.png", "a.png"), ("in/sub/b.png", "sub/b.png")]
    assert pairs(expand(["in/sub/b.png"], Root(f"{folder}/in"))) == [("in/sub/b.png", "sub/b.png")]


def test_a_source_outside_the_root_is_refused_with_the_setting(folder: Path) -> None:
    touch("in/a.png", "out/b.png")
    for source in ("out", "out/b.png", "in/../out", "out/*", ".", f"{folder}/in2/../out"):
        (folder / "in2").mkdir(exist_ok=True)
        check_message(refused(source, root=f"{folder}/in"), f"'{folder}/in'", "PIGEONHOLE_IMAGE_ROOT", "workers")
    assert refused("out", root=f"{folder}/in").startswith("'out' ")


def test_a_listed_path_outside_the_root_stays_absolute_and_the_worker_refuses_it(folder: Path) -> None:
    touch("in/a.png", "out/b.png")
    Path("list").write_text("in/a.png\nout/b.png\nin/../out/b.png\n/etc/passwd\n")
    assert pairs(expand(["@list"], Root(f"{folder}/in"))) == [
        ("in/a.png", "a.png"),
        ("out/b.png", f"{folder}/out/b.png"),
        ("in/../out/b.png", f"{folder}/out/b.png"),
        ("/etc/passwd", "/etc/passwd"),
    ]


def test_a_root_whose_name_is_a_prefix_of_the_folder_does_not_contain_it(folder: Path) -> None:
    touch("in2/a.png", "in/b.png")
    check_message(refused("in2", root=f"{folder}/in"), "'in2'", "outside", f"'{folder}/in'")


def test_a_root_that_is_a_link_contains_the_files_of_its_target(folder: Path) -> None:
    touch("real/in/a.png")
    (folder / "link").symlink_to("real")
    for root in (f"{folder}/link", f"{folder}/real"):
        for source in ("real/in", "link/in", "link/in/*", "real/in/a.png", "link/../real/in"):
            assert [rooted for _, rooted in pairs(expand([source], Root(root)))] == ["in/a.png"]


def test_a_link_from_outside_into_the_root_is_resolved(folder: Path) -> None:
    touch("root/in/a.png")
    (folder / "photos").symlink_to("root/in")
    (folder / "one.png").symlink_to("root/in/a.png")
    for source, path in {"photos": "photos/a.png", "photos/": "photos/a.png", "one.png": "one.png"}.items():
        assert pairs(expand([source], Root(f"{folder}/root"))) == [(path, "in/a.png")]


def test_a_link_inside_the_root_is_not_resolved(folder: Path) -> None:
    touch("root/in/a.png", "out/b.png")
    (folder / "root/link").symlink_to("in")
    (folder / "root/lost").symlink_to("../out")
    assert pairs(expand(["root/link"], Root(f"{folder}/root"))) == [("root/link/a.png", "link/a.png")]
    # The worker decides, since the root may be mounted elsewhere on its side.
    assert pairs(expand(["root/lost"], Root(f"{folder}/root"))) == [("root/lost/b.png", "lost/b.png")]


def test_dots_after_a_link_are_relative_to_its_target(folder: Path) -> None:
    touch("real/deep/x.png", "real/a.png", "a.png")
    (folder / "link").symlink_to("real/deep")
    assert pairs(expand(["link/../a.png"], Root("/"))) == [("link/../a.png", f"{folder}/real/a.png"[1:])]
    assert pairs(expand(["link/../a*.png"], Root("/"))) == [("link/../a.png", f"{folder}/real/a.png"[1:])]
    assert pairs(expand(["link/.."], Root("/")))[0] == ("link/../a.png", f"{folder}/real/a.png"[1:])
