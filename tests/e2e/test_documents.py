"""The commands that the README and the guide show run, in their order, and print what the pages show."""

import re
from collections.abc import Iterator, Mapping
from pathlib import Path

import pytest

from pigeonhole.settings import Settings
from scripts.outputs.__main__ import PAGES
from scripts.outputs.folder import prepare
from scripts.outputs.page import comparable, parse, shortened
from scripts.outputs.run import NOT_RUN, run
from tests.conftest import starting_workers

#: The only page that `make test` runs; `make slow-test` runs the others, which take minutes.
FAST = "README.md"
#: Pages that share one worker: to start one for each command takes most of the time. The other pages start their own.
SHARED_WORKER = {"bad-input.md", "gpu.md", "report.md", "results.md"}
#: Commands whose output is not compared → why it differs from the page's.
NOT_COMPARED = {
    r"photos\.csv": "the photos of these tests are noise",
    r"hands|--data mnist": "the models and data sets of these tests are small",
    r"corrections\.csv|new\.csv": "is about the photos too",
    r"^env -u .* doctor": "names the programs and folders of this machine",
    r"log\.jsonl": "any batch may be the first",
}


@pytest.fixture(scope="module")
def shared_worker(redis_url: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Mapping[str, str]]:
    """Start a worker for several pages, and yield the settings of commands that use it."""
    settings = Settings(broker_url=redis_url, prefix="pages")
    with starting_workers(settings, tmp_path_factory.mktemp("worker")) as start:
        start()
        yield settings.to_environment()


@pytest.mark.timeout(600)  # some ten commands, one after the other
@pytest.mark.parametrize(
    "page", [pytest.param(page, id=page.name, marks=[pytest.mark.slow] * (page.name != FAST)) for page in PAGES]
)
def test_the_commands_of_a_page_run_in_their_order_and_print_what_it_shows(
    page: Path, tmp_path: Path, shared_worker: Mapping[str, str]
) -> None:
    steps = parse(page.read_text(encoding="utf-8")).steps
    prepare(tmp_path, real=False)
    # Each process takes a second of processor time to start.
    result = run(steps, tmp_path, shared_worker if page.name in SHARED_WORKER else {"PIGEONHOLE_PROCESSES": "1"})
    assert result.code == 0, result.last
    for number, printed in result.printed.items():
        shown = steps[number].output
        if shown is not None and not any(re.search(pattern, steps[number].code) for pattern in NOT_COMPARED):
            now = shortened(shown.lines, printed)
            assert comparable(now) == comparable(shown.lines), f"{steps[number].code}: run `make outputs`"


@pytest.mark.parametrize("pattern", [*NOT_RUN, *NOT_COMPARED])
def test_a_command_is_left_out_only_where_a_page_has_one(pattern: str) -> None:
    steps = [step for page in PAGES for step in parse(page.read_text(encoding="utf-8")).steps]
    assert any(re.search(pattern, step.code) for step in steps)


def test_a_block_without_a_language_says_where_its_text_is_from() -> None:
    unknown = {page.name: parse(page.read_text(encoding="utf-8")).unknown for page in PAGES}
    assert not {name: lines for name, lines in unknown.items() if lines}, "see scripts/outputs/page.py"
