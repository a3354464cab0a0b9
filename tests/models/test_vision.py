"""torchvision's networks are built by name, and get its weights from torch's cache."""

import json
import re
import subprocess
import sys
from pathlib import Path
from urllib.error import URLError

import pytest
import torch
from torchvision.models import get_model, get_model_weights

from pigeonhole.errors import CheckpointError, TrainingError
from pigeonhole.imaging.preprocessing import Preprocessing
from pigeonhole.models import checkpoint
from pigeonhole.models.networks import registry as networks
from pigeonhole.models.networks import vision
from pigeonhole.version import install_hint
from tests.training.conftest import save_fresh
from training.loop import initial_weights
from training.recipes import defaults

NAME = "shufflenet_v2_x0_5"  # the smallest network, with 1.4 million parameters
SEEN = Preprocessing("stretch", 64, 64, 3)


def pixels(channels: int = 3) -> torch.Tensor:
    return torch.randint(0, 256, (2, 64, 64, channels), dtype=torch.uint8, generator=torch.Generator().manual_seed(1))


def network(seen: Preprocessing = SEEN, pretrained: bool = False, classes: int = 5) -> vision.Vision:
    torch.manual_seed(3)
    told = vision.normalisation(NAME) if pretrained else {}
    made = networks.build(NAME, networks.complete(NAME, told, seen), classes)
    assert isinstance(made, vision.Vision)
    return made.eval()


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Return the path of the weights in torch's cache, which is a temporary folder; downloads fail."""
    monkeypatch.setattr(torch.hub, "_hub_dir", str(tmp_path / "hub"))

    def refuse(*_args: object, **_options: object) -> None:
        raise URLError("Name or service not known")

    monkeypatch.setattr("torch.hub.urlopen", refuse)
    (tmp_path / "hub" / "checkpoints").mkdir(parents=True)
    return tmp_path / "hub" / "checkpoints" / Path(get_model_weights(NAME).DEFAULT.url).name


@pytest.fixture
def saved(tmp_path: Path) -> Path:
    path = tmp_path / "theirs.safetensors"
    arguments = networks.complete(NAME, {}, SEEN)
    save_fresh(path, network(classes=10), network=NAME, arguments=arguments, preprocessing=SEEN)
    return path


def test_a_network_of_torchvisions_goes_by_its_own_name_and_takes_colour_or_grey() -> None:
    assert network()(pixels()).shape == (2, 5)
    grey = Preprocessing("stretch", 64, 64, 1)
    assert networks.complete(NAME, {}, grey)["mean"] == [0.5]
    assert torch.allclose(network(grey)(pixels(1)), network()(pixels(1).expand(-1, -1, -1, 3)))
    arguments = networks.complete(NAME, {}, SEEN)
    assert arguments == json.loads(json.dumps(arguments))


def test_a_saved_one_returns_the_same_logits_and_is_not_folded(saved: Path) -> None:
    described, loaded = checkpoint.load(saved)
    assert described.network == NAME
    assert torch.equal(loaded(pixels()), network(classes=10)(pixels()))
    folded = loaded.folded()
    assert torch.equal(folded(pixels()), loaded(pixels()))


def test_an_unknown_name_lists_ours_and_says_that_torchvisions_go() -> None:
    with pytest.raises(TrainingError, match=r"'resnet'; this version knows classic, .* and torchvision's .*resnet18"):
        networks.complete("resnet", {}, SEEN)
    with pytest.raises(TrainingError, match="Unknown network 'fasterrcnn_resnet50_fpn'"):
        networks.complete("fasterrcnn_resnet50_fpn", {}, SEEN)


def test_a_picture_that_a_network_can_not_take_is_an_error_before_training() -> None:
    small = Preprocessing("stretch", 28, 28, 3)
    with pytest.raises(TrainingError, match=r"can't take images of 28 x 28 .* made for 224 x 224"):
        defaults.for_folder("alexnet", 100, small, mirrored=True)


def test_pretrained_takes_the_file_in_torchs_cache_and_begins_the_head_afresh(cache: Path) -> None:
    theirs = get_model(NAME, weights=None)
    torch.save(theirs.state_dict(), cache)
    made = network(pretrained=True)
    head = made.network.state_dict()["fc.weight"].clone()
    vision.transfer(vision.pretrained(NAME), made)
    state = made.network.state_dict()
    changed = {key for key, value in theirs.state_dict().items() if not torch.equal(state[key], value)}
    assert changed == {"fc.weight", "fc.bias"}
    assert torch.equal(state["fc.weight"], head)
    assert made.pixels.shift.flatten().tolist() == pytest.approx([-0.485 / 0.229, -0.456 / 0.224, -0.406 / 0.225])


def test_weights_that_can_not_be_had_are_an_error_that_says_where_the_file_is_looked_for(cache: Path) -> None:
    with pytest.raises(TrainingError) as raised:
        vision.pretrained(NAME)
    assert f"torchvision's weights for {NAME!r} are not available (<urlopen error Name or service not known>)" in str(
        raised.value
    )
    assert f"read from {cache}, or else downloaded from https://" in str(raised.value)
    assert "put that file there, or leave --pretrained out" in str(raised.value)
    cache.write_bytes(b"no weights")
    with pytest.raises(TrainingError, match="are not available"):
        vision.pretrained(NAME)


def test_pretrained_is_refused_for_ours() -> None:
    with pytest.raises(TrainingError, match="no pretrained weights for the network 'residual'; --pretrained is"):
        initial_weights.pretrained("residual")


def test_torchvision_is_loaded_for_its_own_networks_alone(saved: Path) -> None:
    program = (
        "import sys; from pigeonhole.models import checkpoint\n"
        f"for path in ({str(checkpoint.find('digits'))!r}, {str(saved)!r}):\n"
        "    checkpoint.load(path); print('torchvision' in sys.modules)"
    )
    run = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True, timeout=60)
    assert run.stdout.split() == ["False", "True"]


def test_without_torchvision_a_checkpoint_says_what_it_needs(saved: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "torchvision", None)
    assert checkpoint.describe(saved).network == NAME
    with pytest.raises(
        CheckpointError, match=f"torchvision, .* is not installed: run {re.escape(install_hint('training'))}"
    ):
        checkpoint.load(saved)
