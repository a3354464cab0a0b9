import errno
import json
import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
from typer.testing import CliRunner, Result

from pigeonhole.errors import TrainingError
from pigeonhole.models.checkpoint import describe
from tests.training.conftest import TOP
from training.cli import app
from training.loop import resume

QUICK = (
    "--epochs",
    "4",
    "--batch-size",
    "64",
    "--validation",
    "0.2",
    "--device",
    "cpu",
    "--no-synthetic",
    "--seed",
    "3",
)

# A training that is killed as soon as the state after its second epoch is written.
KILLED = """
import os, signal
from training import cli
from training.loop import resume
written = resume.write
def write(path, identity, state):
    written(path, identity, state)
    if len(state["epochs"]) == 2:
        os.kill(os.getpid(), signal.SIGKILL)
resume.write = write
cli.app()
"""


def run(data: Path, output: Path, *options: object) -> Result:
    arguments = ["train", "--data", data, "-o", output, *QUICK, *options]
    return CliRunner().invoke(app, [str(argument) for argument in arguments], env={"COLUMNS": "120"})


def log(output: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in output.with_suffix(".log.jsonl").read_text().splitlines()]


@pytest.fixture(scope="module")
def whole(tiny_mnist: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("whole") / "whole.safetensors"
    result = run(tiny_mnist, path)
    assert result.exit_code == 0, result.output
    return path


@pytest.fixture(scope="module")
def killed(tiny_mnist: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Kill a training after two epochs, and return the path of its checkpoint."""
    path = tmp_path_factory.mktemp("killed") / "mine.safetensors"
    done = subprocess.run(
        [sys.executable, "-c", KILLED, "train", "--data", str(tiny_mnist), "-o", str(path), *QUICK],
        cwd=TOP,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == -signal.SIGKILL, done.stderr
    return path


@pytest.fixture
def interrupted(killed: Path, tmp_path: Path) -> Path:
    """Copy the files of the killed training for one test, and return the path of its checkpoint."""
    for file in killed.parent.iterdir():
        (tmp_path / file.name).write_bytes(file.read_bytes())
    return tmp_path / killed.name


def test_a_killed_training_resumes_to_the_same_weights_and_its_log_is_complete(
    tiny_mnist: Path, whole: Path, interrupted: Path
) -> None:
    state = interrupted.with_name("mine.safetensors.resume")
    assert sorted(file.name for file in interrupted.parent.iterdir()) == ["mine.log.jsonl", state.name]
    result = run(tiny_mnist, interrupted, "--resume")
    assert result.exit_code == 0, result.output
    assert f"Resuming after epoch 2, from {state}." in result.stderr
    assert [line.split()[1] for line in result.stderr.splitlines() if line.startswith("epoch ")] == ["3/4", "4/4"]
    assert describe(interrupted).digest == describe(whole).digest
    assert not state.exists()
    # The kill came after the state was written, and before the line of the second epoch.
    assert [line["event"] for line in log(interrupted)] == ["order", "epoch", "resume", "epoch", "epoch", "end"]


def test_the_log_has_the_same_configuration_epochs_and_result_as_the_checkpoint(whole: Path) -> None:
    start, *epochs, end = log(whole)
    described = describe(whole)
    trained = described.trained
    assert start["event"] == "order"
    for key in ("dataset", "data_digest", "recipe", "seed", "versions", "commit", "device", "threads"):
        assert start[key] == trained[key]
    assert (start["network"], start["recipe"]["epochs"], start["recipe"]["synthetic"]) == ("digits", 4, 0)
    assert [epoch["event"] for epoch in epochs] == ["epoch"] * 4
    for logged, recorded in zip(epochs, trained["epochs"], strict=True):
        assert {key: logged[key] for key in recorded} == recorded
    assert end["event"] == "end"
    assert (end["digest"], end["measured"]) == (described.digest, described.measured)
    assert end["times"] == trained["times"]
    assert set(end["times"]) == {"data", "pool", "epochs"}
    assert sorted(file.name for file in whole.parent.iterdir()) == ["whole.log.jsonl", "whole.safetensors"]


def test_the_state_of_another_training_is_refused_and_the_error_names_the_differences(
    tiny_mnist: Path, interrupted: Path
) -> None:
    for options, *parts in (
        (["--epochs", 5], "epochs was 4 and is 5"),
        (["--seed", 4, "--batch-size", 48], "seed was 3 and is 4", "batch_size was 64 and is 48"),
        (["--network", "classic"], "network was digits and is classic"),
        (["--validation", 0.3], "validation was 0.2 and is 0.3"),
    ):
        result = run(tiny_mnist, interrupted, "--resume", *options)
        assert result.exit_code == 2, result.output
        assert f"{interrupted}.resume" in result.stderr
        assert [part for part in parts if part not in result.stderr] == []
        assert "--overwrite" in result.stderr
        assert Path(f"{interrupted}.resume").exists()


def test_a_state_for_other_data_is_refused(tiny_mnist: Path, interrupted: Path, tmp_path: Path) -> None:
    raw = tmp_path / "data" / "MNIST" / "raw"
    raw.mkdir(parents=True)
    for file in (tiny_mnist / "MNIST" / "raw").iterdir():
        content = bytearray(file.read_bytes())
        if file.name == "train-images-idx3-ubyte":
            content[-400] ^= 128
        (raw / file.name).write_bytes(content)
    result = run(tmp_path / "data", interrupted, "--resume")
    assert result.exit_code == 2, result.output
    assert "data_digest was " in result.stderr


def test_a_state_for_another_pool_is_refused(
    tiny_mnist: Path, interrupted: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("training.datasets.mnist.digest", lambda split: f"digest of {len(split)}")
    state = Path(f"{interrupted}.resume")
    content = torch.load(state, weights_only=True)
    content["order"]["data_digest"] = "digest of 600"
    content["state"]["pool_digest"] = "another"
    torch.save(content, state)
    result = run(tiny_mnist, interrupted, "--resume")
    assert result.exit_code == 2, result.output
    assert f"{state}: " in result.stderr
    assert "synthetic images" in result.stderr
    assert "--overwrite" in result.stderr
    assert state.exists()


def test_an_existing_state_is_replaced_only_with_overwrite(tiny_mnist: Path, whole: Path, interrupted: Path) -> None:
    refused = run(tiny_mnist, interrupted)
    assert refused.exit_code == 2, refused.output
    assert f"{interrupted}.resume" in refused.stderr
    assert "--resume" in refused.stderr.replace(f"{interrupted}.resume", "")
    assert "--overwrite" in refused.stderr
    assert Path(f"{interrupted}.resume").exists()
    result = run(tiny_mnist, interrupted, "--overwrite")
    assert result.exit_code == 0, result.output
    assert describe(interrupted).digest == describe(whole).digest
    assert [line["event"] for line in log(interrupted)] == ["order", *["epoch"] * 4, "end"]
    assert not Path(f"{interrupted}.resume").exists()


def test_a_checkpoint_is_replaced_only_by_the_command_that_made_it(
    tiny_mnist: Path, whole: Path, tmp_path: Path
) -> None:
    path = tmp_path / "whole.safetensors"
    path.write_bytes(whole.read_bytes())
    digest = describe(path).digest
    for other in (["--seed", "9"], ["--epochs", "1"], ["--batch-size", "32"], ["--name", "other"]):
        refused = run(tiny_mnist, path, *other)
        assert refused.exit_code == 2, refused.output
        assert f"'{path}'" in refused.stderr
        assert "--overwrite" in refused.stderr
        assert describe(path).digest == digest
    assert [file.name for file in tmp_path.iterdir()] == ["whole.safetensors"]
    assert run(tiny_mnist, path).exit_code == 0, "the same command may replace its checkpoint"
    assert run(tiny_mnist, path, "--epochs", "1", "--overwrite").exit_code == 0
    assert describe(path).digest != digest


@pytest.mark.parametrize("name", ["new.safetensors", "new.log.jsonl"])
@pytest.mark.parametrize("empty", [False, True])
def test_a_foreign_file_is_replaced_only_if_it_is_empty(
    tiny_mnist: Path, tmp_path: Path, name: str, empty: bool
) -> None:
    (tmp_path / name).write_bytes(b"" if empty else b"my thesis")
    done = run(tiny_mnist, tmp_path / "new.safetensors", "--epochs", "1")
    assert done.exit_code == (0 if empty else 2), done.output
    if not empty:
        assert (tmp_path / name).read_bytes() == b"my thesis"
        assert "--overwrite" in done.stderr


def test_resuming_without_a_state_starts_from_the_beginning(tiny_mnist: Path, whole: Path, tmp_path: Path) -> None:
    path = tmp_path / "new.safetensors"
    result = run(tiny_mnist, path, "--resume")
    assert result.exit_code == 0, result.output
    assert f"{path}.resume" in result.stderr
    assert "from the beginning" in result.stderr
    assert describe(path).digest == describe(whole).digest


def test_a_full_disk_keeps_the_earlier_state_and_the_error_names_the_remedy(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "x.resume"
    resume.write(path, {}, {"epochs": [1]})

    def full(file: int) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(TrainingError, match=r"x\.resume.*No space left on device"):
        resume.write(path, {}, {"epochs": [1, 2]})
    assert resume.read(path, {})["epochs"] == [1]
    assert [file.name for file in tmp_path.iterdir()] == ["x.resume"]


class Bomb:
    def __reduce__(self) -> tuple[object, tuple[str]]:
        return os.mkdir, ("exploded",)


def test_a_state_that_is_damaged_or_contains_code_is_refused_and_not_executed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    path = tmp_path / "x.resume"
    resume.write(path, {"seed": 1}, {"epochs": [], "weights": torch.zeros(3)})
    content = path.read_bytes()
    assert torch.equal(resume.read(path, {"seed": 1})["weights"], torch.zeros(3))
    torch.save({"version": 1, "order": {}, "state": Bomb()}, tmp_path / "bomb")
    torch.save([1], tmp_path / "list")
    for damaged in (b"", b"text", content[:-100], (tmp_path / "bomb").read_bytes(), (tmp_path / "list").read_bytes()):
        path.write_bytes(damaged)
        with pytest.raises(TrainingError, match=r"x\.resume.*--overwrite"):
            resume.read(path, {"seed": 1})
    assert not (tmp_path / "exploded").exists()


def test_a_log_with_an_incomplete_last_line_continues_after_the_last_complete_line(
    tiny_mnist: Path, interrupted: Path
) -> None:
    with interrupted.with_suffix(".log.jsonl").open("ab") as file:
        file.write(b'{"event": "epo')
    assert run(tiny_mnist, interrupted, "--resume").exit_code == 0
    assert [line["event"] for line in log(interrupted)][-4:] == ["resume", "epoch", "epoch", "end"]
