import pytest

from scripts.release_check import check_changelog

CHANGES = "# Changelog\n\n## {}\n\nText.\n\n## 0.2.0\n"


def test_a_changelog_that_starts_with_the_version_is_accepted() -> None:
    check_changelog(CHANGES.format("0.3.0"), "0.3.0")


@pytest.mark.parametrize("title", ["Unreleased", "0.2.1"])
def test_a_changelog_that_starts_with_another_title_is_refused(title: str) -> None:
    with pytest.raises(SystemExit, match=f"{title}.*0.3.0"):
        check_changelog(CHANGES.format(title), "0.3.0")
