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
from tests.messages import check_message
from tests.training.conftest import save_fresh
from training.loop import initial_weights
from training.recipes import defaults

NAME = "shufflenet_v2_x0_5"  # the smallest network, with 1.4 million parameters
IMAGES = Preprocessing("stretch", 64, 64, 3)


def pixels(channels: int = 3) -> torch.Tensor:
    return torch.randint(0, 256, (2, 64, 64, channels), dtype=torch.uint8, generator=torch.Generator().manual_seed(1))


def network(preprocessing: Preprocessing = IMAGES, pretrained: bool = False, classes: int = 5) -> vision.Vision:
    torch.manual_seed(3)
    arguments = vision.normalisation(NAME) if pretrained else {}
    made = networks.build(NAME, networks.complete(NAME, arguments, preprocessing), classes)
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
    arguments = networks.complete(NAME, {}, IMAGES)
    save_fresh(path, network(classes=10), network=NAME, arguments=arguments, preprocessing=IMAGES)
    return path


def test_a_torchvision_network_is_built_by_its_name_and_takes_colour_or_grey() -> None:
    assert network()(pixels()).shape == (2, 5)
    grey = Preprocessing("stretch", 64, 64, 1)
    assert networks.complete(NAME, {}, grey)["mean"] == [0.5]
    assert torch.allclose(network(grey)(pixels(1)), network()(pixels(1).expand(-1, -1, -1, 3)))
    arguments = networks.complete(NAME, {}, IMAGES)
    assert arguments == json.loads(json.dumps(arguments))


def test_a_saved_torchvision_network_returns_the_same_logits_and_is_not_folded(saved: Path) -> None:
    described, loaded = checkpoint.load(saved)
    assert described.network == NAME
    assert torch.equal(loaded(pixels()), network(classes=10)(pixels()))
    folded = loaded.folded()
    assert torch.equal(folded(pixels()), loaded(pixels()))


def test_the_error_for_an_unknown_network_lists_the_known_names() -> None:
    with pytest.raises(TrainingError, match=r"'resnet'.* classic, .*resnet18"):
        networks.complete("resnet", {}, IMAGES)
    with pytest.raises(TrainingError, match="'fasterrcnn_resnet50_fpn'"):
        networks.complete("fasterrcnn_resnet50_fpn", {}, IMAGES)


def test_an_image_size_that_a_network_can_not_take_is_refused_before_training() -> None:
    small = Preprocessing("stretch", 28, 28, 3)
    with pytest.raises(TrainingError, match=r"28 x 28 .* 224 x 224"):
        defaults.for_folder("alexnet", 100, small, mirrored=True)


def test_pretrained_weights_come_from_the_cache_of_torch_except_for_the_head(cache: Path) -> None:
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


def test_unavailable_pretrained_weights_raise_an_error_with_the_path_of_their_file(cache: Path) -> None:
    with pytest.raises(TrainingError) as error:
        vision.pretrained(NAME)
    check_message(error.value, repr(NAME), "Name or service not known", str(cache), "https://", "--pretrained")
    cache.write_bytes(b"no weights")
    with pytest.raises(TrainingError, match=re.escape(str(cache))):
        vision.pretrained(NAME)


def test_pretrained_is_refused_for_our_networks() -> None:
    with pytest.raises(TrainingError, match=r"'residual'.* --pretrained"):
        initial_weights.pretrained("residual")


def test_torchvision_is_loaded_only_for_its_own_networks(saved: Path) -> None:
    program = (
        "import sys; from pigeonhole.models import checkpoint\n"
        f"for path in ({str(checkpoint.find('digits'))!r}, {str(saved)!r}):\n"
        "    checkpoint.load(path); print('torchvision' in sys.modules)"
    )
    run = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True, timeout=60)
    assert run.stdout.split() == ["False", "True"]


def test_without_torchvision_the_error_has_the_command_to_install_it(
    saved: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "torchvision", None)
    assert checkpoint.describe(saved).network == NAME
    with pytest.raises(CheckpointError, match=f"torchvision.*{re.escape(install_hint('training'))}"):
        checkpoint.load(saved)
