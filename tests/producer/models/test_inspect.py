"""`inspect --image`: the network's input as a file, the normalisation, and the result."""

import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from pigeonhole.errors import ExitCode
from pigeonhole.imaging import decode
from pigeonhole.imaging.preprocess import prepare
from pigeonhole.imaging.preprocessing import Preprocessing
from pigeonhole.models.networks import registry as networks
from tests.training.conftest import TOP, encoded, png, save_fresh
from tests.training.synthetic.test_scenes import SAMPLES, grey, page
from tests.training.test_cli import run

SEVEN = grey(page(SAMPLES[7], side=70))
DIGIT = Preprocessing("digit", 28, 28, 1)


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_inspect_saves_the_networks_input_and_prints_the_result(here: Path) -> None:
    (here / "page.png").write_bytes(png(Image.fromarray(SEVEN)))
    result = run("inspect", "digits", "--image", "page.png")
    assert result.exit_code == ExitCode.OK, result.output
    lines = dict(line.split(maxsplit=1) for line in result.stdout.splitlines())
    for name, parts in (
        ("image", ("page.png", "140 x 140")),
        ("paper", ("235 of 255", "dark ink")),
        ("removed", ("nothing",)),
        ("digit", ("columns ",)),
        ("input", ("page-seen.png", "28 x 28")),
        ("result", ("7, confidence ", "marked for review")),
    ):
        for part in parts:
            assert part in lines[name]
    saved = np.asarray(Image.open("page-seen.png"))
    assert np.array_equal(saved, prepare(Path("page.png").read_bytes(), DIGIT, 100_000)[:, :, 0])


def test_an_image_in_the_form_of_mnist_is_not_changed(here: Path) -> None:
    result = run("inspect", "digits", "--image", TOP / "samples" / "003b50.png", "-o", "out.png")
    assert "MNIST" in result.stdout
    assert Image.open("out.png").tobytes() == Image.open(TOP / "samples" / "003b50.png").tobytes()


def test_the_box_is_in_pixels_of_the_upright_full_size_image(here: Path) -> None:
    large = Image.fromarray(SEVEN).resize((2800, 2800), Image.Resampling.BICUBIC).crop((0, 0, 2800, 2600))
    exif = Image.Exif()
    exif[0x0112] = 6  # rotated by 90 degrees
    rotated = large.transpose(Image.Transpose.ROTATE_90)
    (here / "photo.jpg").write_bytes(encoded(rotated, "JPEG", exif=exif.tobytes()))
    result = run("inspect", "digits", "--image", "photo.jpg", "--json")
    assert result.exit_code == 0, result.output
    values = json.loads(result.stdout)
    assert values["size"] == [2800, 2600]
    assert values["normalisation"]["decoded"] == [1400, 1300]
    rows, columns = np.nonzero(np.asarray(large) < 140)
    wanted = [columns.min(), rows.min(), columns.max(), rows.max()]
    assert np.abs(np.array(values["normalisation"]["box"]) - wanted).max() < 30
    assert (values["label"], values["seen"]) == ("7", "photo-seen.png")
    assert decode.upright_size(Path("photo.jpg").read_bytes(), 10**8) == (2800, 2600)


def test_inspect_saves_the_stretched_image_for_a_network_that_stretches(here: Path) -> None:
    arguments = networks.complete("classic", {})
    network = networks.build("classic", arguments, 10).eval()
    stretch = Preprocessing("stretch", 28, 28, 1)
    save_fresh(here / "s.safetensors", network, network="classic", arguments=arguments, preprocessing=stretch)
    (here / "page.png").write_bytes(png(Image.fromarray(SEVEN)))
    result = run("inspect", "s.safetensors", "--image", "page.png")
    assert "stretched" in result.stdout
    stretched = Image.fromarray(SEVEN).resize((28, 28), Image.Resampling.BILINEAR)
    assert Image.open("page-seen.png").tobytes() == stretched.tobytes()


def test_ink_of_the_papers_luminance_and_white_ink_on_transparency_are_found() -> None:
    share = (235.0 - SEVEN) / 195.0  # of ink in each pixel, from 0 to 1
    wanted = prepare(png(Image.fromarray(SEVEN)), DIGIT, 100_000)
    red, green = np.array([255.0, 0.0, 0.0]), np.array([0.0, 130.0, 0.0])
    coloured = grey(red + (green - red) * share[:, :, None])
    white = np.dstack([np.full((*SEVEN.shape, 3), 255, np.uint8), grey(255 * share)])
    for picture in (coloured, white):
        pixels = prepare(png(Image.fromarray(picture)), DIGIT, 100_000)
        assert np.corrcoef(pixels.ravel(), wanted.ravel())[0, 1] > 0.98


def test_another_image_is_overwritten_only_with_overwrite(here: Path) -> None:
    (here / "page.png").write_bytes(png(Image.fromarray(SEVEN)))
    (here / "page-seen.png").write_bytes(other := png(Image.fromarray(SEVEN)))
    line = ("inspect", "digits", "--image", "page.png")
    refused = run(*line)
    assert refused.exit_code == ExitCode.USAGE
    assert "'page-seen.png'" in refused.stderr
    assert "--overwrite" in refused.stderr
    assert (here / "page-seen.png").read_bytes() == other
    assert [run(*line, "--overwrite").exit_code, run(*line).exit_code] == [0, 0]


def test_the_inspected_image_is_never_overwritten(here: Path) -> None:
    content = png(Image.fromarray(SEVEN))
    (here / "page.png").write_bytes(content)
    (here / "link.png").symlink_to("page.png")
    result = run("inspect", "digits", "--image", "page.png", "-o", "link.png")
    assert result.exit_code == ExitCode.USAGE
    assert "link.png" in result.stderr
    assert "-o" in result.stderr
    assert (here / "page.png").read_bytes() == content


@pytest.mark.parametrize(
    ("arguments", "parts"),
    [
        (("--image", "none.png"), ("none.png: ", "No such file or directory")),
        (("--image", "text.png"), ("text.png: not-an-image: ", "b'no image'")),
        (("--image", "white.png"), ("white.png: blank: ",)),
        (("-o", "x.png"), ("-o", "--image FILE")),
        (("--image", "page.png", "-o", "no/x.png"), ("no/x.png: ", "No such file or directory", "-o")),
        (("--image", "page.png", "-o", "text.png/x.png"), ("text.png/x.png: ", "Not a directory", "-o")),
    ],
)
def test_a_failed_inspection_prints_one_line_with_the_value_and_the_remedy(
    here: Path, arguments: tuple[str, ...], parts: tuple[str, ...]
) -> None:
    (here / "text.png").write_text("no image")
    (here / "white.png").write_bytes(png(Image.new("L", (40, 40), 255)))
    (here / "page.png").write_bytes(png(Image.fromarray(SEVEN)))
    result = run("inspect", "digits", *arguments)
    assert result.exit_code == ExitCode.USAGE
    assert len(result.stderr.splitlines()) == 1
    for part in ("pigeonhole: ", *parts):
        assert part in result.stderr
