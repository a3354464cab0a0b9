"""A command that is run repeatedly while its images, its volume, its Redis and its FILE change.

It is killed at every change. Then it runs to its end without changes: FILE must have one row for each existing image,
with the label of the image's current content.
"""

import os
import random
import shutil
import signal
import subprocess
import time
from collections import Counter, deque
from collections.abc import Callable, Mapping
from contextlib import suppress
from pathlib import Path

from tests.chaos.run import ERROR_ROWS, TIMEOUT, WORKERS, Outcome, start_command
from tests.faults.rows import Difference, FileRow, read
from tests.faults.site import SAMPLES, Site

#: The number of events of each kind in a run.
PLAN = {
    "commands killed": 3,
    "images rewritten": 6,
    "images renamed": 4,
    "images added": 3,
    "volumes exchanged": 3,
    "second commands": 3,
    "other commands on FILE": 2,
    "Redis loses writes": 3,
}
#: The smallest and largest number of seconds between two changes.
GAP = (0.3, 2.5)
#: The exit codes of a second command while the first one runs, and of another command that would replace its FILE.
BUSY, REFUSED = 1, 2


class Volumes:
    """Two volumes with the same names and different images, one of which is mounted; folders without rights to mount.

    Args:
        folder: the folder of the volumes.
        at: the mount point.
    """

    def __init__(self, folder: Path, at: Path) -> None:
        self._at = at
        self._mounted = os.geteuid() == 0 and shutil.which("mkfs.ext4") is not None
        self._places = [folder / "volume-a", folder / "volume-b"]
        for place in self._places:
            if self._mounted:
                with place.open("wb") as image:
                    image.truncate(64 << 20)
                subprocess.run(["mkfs.ext4", "-q", "-N", "20000", str(place)], check=True)
            else:
                place.mkdir()
        at.mkdir(exist_ok=True) if self._mounted else at.symlink_to(self._places[0])
        self.current = 0
        self._mount()

    def exchange(self) -> None:
        """Mount the other volume."""
        self._unmount()
        self.current = 1 - self.current
        self._mount()

    def close(self) -> None:
        """Unmount the volume."""
        self._unmount()

    def _mount(self) -> None:
        if self._mounted:
            subprocess.run(["mount", "-o", "loop", str(self._places[self.current]), str(self._at)], check=True)
        else:
            self._at.symlink_to(self._places[self.current])

    def _unmount(self) -> None:
        if self._mounted:
            subprocess.run(["umount", "-l", str(self._at)], check=True)
        else:
            self._at.unlink(missing_ok=True)


class Changes:
    """Changes the images and the FILE of one command.

    Args:
        site: the site, with running workers.
        samples: the undisturbed row of each sample by its name, without errors.
        draw: the random generator.
        images: the number of images on each volume.
    """

    def __init__(self, site: Site, samples: Mapping[str, FileRow], draw: random.Random, images: int) -> None:
        self.injected: Counter[str] = Counter()
        self.failures: list[str] = []
        self._site, self._samples, self._draw = site, samples, draw
        self._names = sorted(samples)
        site.images.rmdir()
        self._volumes = Volumes(site.folder, site.images)
        self._contents: list[dict[str, str]] = [{}, {}]
        for _ in self._contents:
            for number in range(images):
                self._write(f"{number:05}.png")
            self._volumes.exchange()
        self._size = 0
        kinds = [kind for kind, times in PLAN.items() for _ in range(times)]
        draw.shuffle(kinds)
        self._plan = deque(kinds)
        self._command = self._start()

    def run(self) -> Difference:
        """Inject all changes, and compare the rows of the last run with the images at the end."""
        actions: dict[str, Callable[[], None]] = {
            "commands killed": lambda: None,
            "images rewritten": lambda: self._write(self._any()),
            "images renamed": self._rename,
            "images added": lambda: self._write(f"{self._draw.randrange(10**5):05}-new.png"),
            "volumes exchanged": self._volumes.exchange,
            "second commands": self._second,
            "other commands on FILE": self._other,
            "Redis loses writes": self._lose_writes,
        }
        while self._plan:
            self._size = self._site.redis.size()
            time.sleep(self._draw.uniform(*GAP))
            kind = self._plan.popleft()
            # Half of the changes happen while the command runs, the others between two runs.
            if kind not in ("second commands", "other commands on FILE", "Redis loses writes"):
                self._kill(self._command)
            actions[kind]()
            self.injected[kind] += 1
            if self._command.poll() is not None:
                self._check(self._command.returncode)
                self._command = self._start()
        self._kill(self._command)
        end = self._start()
        self._check(end.wait(timeout=TIMEOUT))
        return self._difference(read(self._site.folder / "rows.csv"))

    def close(self) -> None:
        """End the command, and unmount the volume."""
        self._kill(self._command)
        self._volumes.close()

    def _difference(self, rows: list[FileRow]) -> Difference:
        contents = {f"images/{name}": sample for name, sample in self._contents[self._volumes.current].items()}
        counts = Counter(row.path for row in rows if row.path in contents)  # a deleted image keeps its row
        changed = [
            row for row in rows if row.path in contents and not row.same_result(self._samples[contents[row.path]])
        ]
        for row in changed[:3]:
            self.failures.append(f"{row.path} has the content of {contents[row.path]}, and its row is {row[1:]}")
        return Difference(
            lost=len(contents.keys() - counts.keys()),
            duplicated=sum(times > 1 for times in counts.values()),
            changed=sum(not row.error for row in changed),
            failed=sum(bool(row.error) for row in changed),
        )

    def _any(self) -> str:
        return self._draw.choice(sorted(self._contents[self._volumes.current]))

    def _write(self, name: str) -> None:
        """Write the content of a random sample to an image, into the same file if it exists."""
        sample = self._draw.choice(self._names)
        (self._site.images / name).write_bytes((SAMPLES / sample).read_bytes())
        self._contents[self._volumes.current][name] = sample

    def _rename(self) -> None:
        name = self._any()
        contents = self._contents[self._volumes.current]
        # Append at the end, or overwrite one.
        new = f"9{name}" if self._draw.random() < 0.5 else self._any()
        os.rename(self._site.images / name, self._site.images / new)
        contents[new] = contents.pop(name)

    def _second(self) -> None:
        """Start the same command again while the first one runs or has just ended."""
        code = self._start().wait(timeout=TIMEOUT)
        if code not in (0, ERROR_ROWS, BUSY):
            self.failures.append(f"a second command ended with {code}: {self._last_output()}")

    def _other(self) -> None:
        for other in (("classify", str(SAMPLES)), ("wait", "20260101-000000-abcdef")):
            code = start_command(self._site, *other, "-o", "rows.csv", "-q").wait(timeout=TIMEOUT)
            if code not in (BUSY, REFUSED):
                self.failures.append(f"another command replaced FILE: it ended with {code}")

    def _lose_writes(self) -> None:
        """Kill Redis, and truncate its file to the last change, or further than the command has seen."""
        self._site.redis.kill()
        size = self._site.redis.size()
        self.injected["bytes that Redis lost"] += self._site.redis.truncate(
            self._draw.randint(min(self._size, size), size)
        )
        self._site.redis.start()

    def _start(self) -> "subprocess.Popen[bytes]":
        return start_command(self._site, "classify", "images", "-o", "rows.csv", "-q")

    def _check(self, code: int) -> None:
        if code not in (0, ERROR_ROWS, -signal.SIGKILL):
            self.failures.append(f"the command ended with {code}: {self._last_output()}")

    def _last_output(self) -> str:
        return " / ".join(self._site.log("producer").read_text().splitlines()[-3:])

    @staticmethod
    def _kill(command: "subprocess.Popen[bytes]") -> None:
        with suppress(ProcessLookupError):
            command.kill()
        command.wait()


def changing(site: Site, rows: Mapping[str, FileRow], seed: int, images: int) -> Outcome:
    """Run a command to its end while its images, volume, Redis and FILE change."""
    started = time.monotonic()
    samples = {name: row for name, row in rows.items() if not row.error}
    for name in WORKERS:
        site.start_worker(name)
    changes = Changes(site, samples, random.Random(seed), images)
    try:
        wrong = changes.run()
    finally:
        changes.close()
        site.close()
    return Outcome(seed, changes.injected, wrong, [], changes.failures, time.monotonic() - started)
