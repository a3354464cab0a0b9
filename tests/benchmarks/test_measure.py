"""Systems take turns in a benchmark; the tables show their rates and the number of different labels."""

from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

import pytest
from PIL import Image

from benchmarks import report, tables
from benchmarks.common import images, measure
from benchmarks.common.measure import Clock, Entry, Images, Measured
from benchmarks.peers.bare_loop import cut
from benchmarks.systems import Scale
from pigeonhole.version import install_hint

THREE = Images("/images", ("/images/a", "/images/b", "/images/c"))
ONE = Images("/images", ("/images/a",))


class Stub:
    """A system that records its calls."""

    def __init__(self, name: str, labels: Sequence[str], log: list[str]) -> None:
        self.name, self.labels, self.log = name, labels, log

    def start(self) -> None:
        self.log.append(f"start {self.name}")

    def run(self, images: Images, clock: Clock) -> Sequence[str]:
        self.log.append(f"run {self.name} {len(images)}")
        return self.labels[: len(images)]

    def stop(self) -> None:
        self.log.append(f"stop {self.name}")


def entry(name: str, labels: Sequence[str], log: list[str], **more: object) -> Entry:
    system: Callable[[], Stub] = lambda: Stub(name, labels, log)  # noqa: E731  # shorter than a function
    return Entry(name, system, THREE, ONE, **more)  # type: ignore[arg-type]  # the callers pass valid fields


def silent(line: str) -> None: ...


def measured(name: str, rates: list[float], labels: Sequence[str], **more: object) -> Measured:
    found = entry(name, labels, [], **more)
    return Measured(found, rates, list(rates), dict(zip(THREE.names(), labels, strict=False)))


def test_systems_take_turns_and_each_is_warmed_up_and_stopped_before_the_next() -> None:
    log: list[str] = []
    measure.alternate([entry("A", "123", log), entry("B", "123", log)], 2, silent)
    turn = [f"{step}" for name in "AB" for step in (f"start {name}", f"run {name} 1", f"run {name} 3", f"stop {name}")]
    assert log == turn * 2


def test_a_system_whose_package_is_missing_is_skipped_with_a_message() -> None:
    messages: list[str] = []
    there = measure.alternate(
        [entry("A", "123", []), entry("B", "123", [], needs="no_such_package")], 1, messages.append
    )
    assert [each.entry.name for each in there] == ["A"]
    assert messages[0].startswith("B: skipped")
    assert "no_such_package" in messages[0]
    assert messages[0].endswith(install_hint("bench"))


def test_the_imagenet_benchmark_is_skipped_if_a_package_is_missing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("benchmarks.systems.IMAGENET_NEEDS", ("no_such_package",))
    assert report.measure_all(tmp_path, tmp_path, Scale(), ["imagenet"]).sections == []
    printed = capsys.readouterr().out
    assert printed.startswith("imagenet: skipped")
    assert "no_such_package" in printed
    assert printed.endswith(f"{install_hint('bench')}\n")


def test_photos_have_the_requested_size_and_differ(tmp_path: Path) -> None:
    files = images.photos(tmp_path / "photos", (50, 38), 3)
    pixels = [Image.open(file) for file in files]
    assert [image.size for image in pixels] == [(50, 38)] * 3
    assert len({image.tobytes() for image in pixels}) == 3


def test_a_system_that_loses_an_image_is_an_error_and_is_stopped() -> None:
    log: list[str] = []
    with pytest.raises(RuntimeError, match="A returned 2 labels for 3 images"):
        measure.alternate([entry("A", "12", log)], 1, silent)
    assert log[-1] == "stop A"


def test_the_rate_is_the_median() -> None:
    assert measured("A", [100.0, 900.0, 300.0], "123").rate == 300.0


def test_images_in_different_folders_are_matched_by_name() -> None:
    others = [entry("A", "123", []), replace(entry("B", "124", []), images=Images("/few", ("/few/a", "/few/b")))]
    assert measure.differing(*measure.alternate(others, 1, silent)) == (0, 2)


def test_labels_are_compared_only_for_images_of_both_systems() -> None:
    ours, theirs = measured("A", [1.0], "123"), measured("B", [1.0], "19")
    assert measure.differing(ours, theirs) == (1, 2)


def test_the_table_has_the_ratio_and_the_target_ratio() -> None:
    rows = tables.systems(
        [
            measured("Pigeonhole", [2000.0, 1000.0, 3000.0], "123"),
            measured("bare loop", [2105.0], "123", wanted=(0.9, 0.97)),
            measured("slow", [500.0], "124", wanted=(2.5, 5)),
            measured("other", [500.0], "777", comparable=False),
        ]
    ).splitlines()[2:]
    assert rows == [
        "| Pigeonhole | 2,000 | 1,000 | 3,000 | 3 |  |  |  |",
        "| bare loop | 2,105 | 2,105 | 2,105 | 3 | 0.95x | ≥ 0.9x, go for 0.97x | 0 of 3 |",
        "| slow | 500 | 500 | 500 | 3 | 4.0x | ≥ 2.5x, go for 5x | 1 of 3 |",
        "| other | 500 | 500 | 500 | 3 | 4.0x |  | another network |",
    ]


def test_a_system_that_cannot_start_early_is_reported_with_its_start_up_time() -> None:
    late = measured("late", [1000.0], "123")
    late.whole = [100.0]
    text = tables.not_ready([measured("Pigeonhole", [2000.0], "123"), late])
    assert "late can't get ready" in text
    assert "it classifies 100 images/s" in text
    assert "is 20.0x" in text


@pytest.mark.parametrize("count", [0, 1, 2048, 8_000, 40_000])
def test_the_bare_loop_divides_images_evenly_between_its_processes(count: int) -> None:
    batches = cut([str(number) for number in range(count)])
    assert [path for batch in batches for path in batch] == [str(number) for number in range(count)]
    assert len(batches) % 2 == 0
    assert max(map(len, batches)) <= 2048
    assert abs(sum(map(len, batches[::2])) - sum(map(len, batches[1::2]))) <= len(batches) // 2
