"""`import timm:` and `import hf:` of folders that timm and transformers saved; skipped without these libraries."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from pigeonhole.imaging.preprocess import prepare
from pigeonhole.models import checkpoint
from pigeonhole.models.runtimes.onnx_runtime import OnnxRuntime
from tests.producer.models.test_import_kinds import imported, refused

COLOURS = np.random.default_rng(5).integers(0, 256, (90, 120, 3), np.uint8)


@pytest.fixture(autouse=True)
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    Image.fromarray(COLOURS).resize((480, 360), Image.Resampling.BICUBIC).save("photo.png")
    torch.manual_seed(3)
    return tmp_path


def logits(path: str = "x.safetensors") -> np.ndarray:
    """Return the logits of a model file for the photo."""
    content = checkpoint.read(path)
    pixels = prepare(Path("photo.png").read_bytes(), content.checkpoint.preprocessing, 10**6)
    found: np.ndarray = OnnxRuntime(content).logits(pixels[None])[0]
    return found


def spread(module: Any) -> Any:
    """Double all weights of a network, so that its logits differ more between images; return the network."""
    with torch.no_grad():
        for parameter in module.parameters():
            parameter.mul_(2)
    return module.eval()


def test_a_folder_from_timm_is_imported_with_its_preprocessing_and_names() -> None:
    timm = pytest.importorskip("timm")
    from timm.data.config import resolve_model_data_config
    from timm.data.transforms_factory import create_transform

    original = spread(timm.create_model("test_vit", num_classes=3))
    timm.models.save_for_hf(original, "saved", model_config={"label_names": ["a", "b", "c"]}, safe_serialization=True)
    _stdout, stderr = imported("timm:saved", "-o", "x.safetensors")
    for part in ("168 pixels", "160 x 160 pixels", "bicubic", "mean 0.5"):
        assert part in stderr
    about = checkpoint.describe("x.safetensors")
    assert (about.classes, about.network, about.trained["imported"]) == (("a", "b", "c"), "onnx", "timm:saved")
    assert about.cost.multiply_adds > 10**6
    transform = create_transform(**resolve_model_data_config(original))
    with torch.inference_mode():
        expected = original(transform(Image.open("photo.png"))[None])[0].numpy()
    assert logits() == pytest.approx(expected, abs=0.05)


def test_a_timm_model_takes_weights_from_a_file() -> None:
    timm = pytest.importorskip("timm")
    torch.save(timm.create_model("test_resnet").state_dict(), "w.pth")
    _stdout, stderr = imported("timm:test_resnet", "-o", "x.safetensors", "--weights", "w.pth")
    assert "sample (a cup of espresso): " in stderr
    Path("bad.pth").write_bytes(b"no weights")
    Path("x.safetensors").unlink()
    assert "bad.pth" in refused("timm:test_resnet", "-o", "x.safetensors", "--weights", "bad.pth")
    assert "'resnet'" in refused("timm:resnet", "-o", "x.safetensors")
    Path("empty").mkdir()
    assert "config.json" in refused("timm:empty", "-o", "x.safetensors")


def saved(folder: str, labels: list[str], processor: dict[str, Any], **options: Any) -> Any:
    """Save a small model of transformers in a folder, and return it."""
    transformers = pytest.importorskip("transformers")
    config = transformers.ResNetConfig(
        embedding_size=8,
        hidden_sizes=[8, 16],
        depths=[1, 1],
        layer_type="basic",
        id2label=dict(enumerate(labels)),
        label2id={label: position for position, label in enumerate(labels)},
        **options,
    )
    model = spread(transformers.ResNetForImageClassification(config))
    model.save_pretrained(folder)
    (Path(folder) / "preprocessor_config.json").write_text(json.dumps(processor))
    return model


CROPPED = {
    "do_resize": True,
    "size": {"shortest_edge": 64},
    "do_center_crop": True,
    "crop_size": {"height": 56, "width": 56},
    "resample": 3,
    "image_mean": [0.4, 0.5, 0.6],
    "image_std": [0.2, 0.25, 0.3],
}


def test_a_folder_from_hugging_face_is_imported_with_its_preprocessing_and_names() -> None:
    original = saved("folder", ["crane", "crane", "dog"], CROPPED)
    imported("hf:folder", "-o", "x.safetensors")
    about = checkpoint.describe("x.safetensors")
    found = about.preprocessing
    assert about.classes == ("crane (0)", "crane (1)", "dog")
    assert (found.kind, found.shape, found.resize, found.interpolation) == ("center-crop", (56, 56, 3), 64, "bicubic")
    pixels = prepare(Path("photo.png").read_bytes(), found, 10**6)
    scaled = (torch.tensor(pixels) / 255 - torch.tensor([0.4, 0.5, 0.6])) / torch.tensor([0.2, 0.25, 0.3])
    with torch.inference_mode():
        expected = original(pixel_values=scaled.permute(2, 0, 1)[None]).logits[0].numpy()
    assert logits() == pytest.approx(expected, rel=1e-3, abs=1e-3)


@pytest.mark.parametrize(
    ("processor", "kind", "shape"),
    [
        ({"size": {"height": 40, "width": 48}, "resample": 2}, "stretch", (40, 48, 3)),
        ({"size": 48, "resample": 2, "do_center_crop": False}, "stretch", (48, 48, 3)),
        ({"size": {"shortest_edge": 56}, "crop_pct": 0.875, "resample": 3}, "center-crop", (56, 56, 3)),
        ({"size": 64, "crop_size": 48, "do_center_crop": True}, "center-crop", (48, 48, 3)),
    ],
)
def test_preprocessor_files_of_older_versions_are_read(
    processor: dict[str, Any], kind: str, shape: tuple[int, int, int]
) -> None:
    saved("folder", ["a", "b"], processor)
    imported("hf:folder", "-o", "x.safetensors")
    found = checkpoint.describe("x.safetensors").preprocessing
    assert (found.kind, found.shape) == (kind, shape)


def test_an_incomplete_folder_from_hugging_face_is_refused() -> None:
    out = ("-o", "x.safetensors")
    saved("unnamed", ["LABEL_0", "LABEL_1"], CROPPED)
    message = refused("hf:unnamed", *out)
    assert "2 classes" in message
    assert "--classes FILE" in message
    saved("odd", ["a", "b"], {**CROPPED, "resample": 77})
    assert "preprocessor_config.json" in refused("hf:odd", *out)
    saved("many", ["a", "b"], CROPPED)
    (Path("odd") / "preprocessor_config.json").unlink()
    message = refused("hf:odd", *out)
    assert "hf:odd: preprocessor_config.json" in message
    assert "No such file or directory" in message
    (Path("many") / "config.json").write_text('{"architecture": "resnet18"}')
    assert "timm:many" in refused("hf:many", *out)


def test_pickled_weights_from_hugging_face_are_refused() -> None:
    model = saved("folder", ["a", "b"], CROPPED)
    (Path("folder") / "model.safetensors").unlink()
    torch.save(model.state_dict(), Path("folder") / "pytorch_model.bin")
    assert "hf:folder" in refused("hf:folder", "-o", "x.safetensors")


def test_an_unreachable_hub_is_an_error_with_its_address_and_the_remedy(monkeypatch: pytest.MonkeyPatch) -> None:
    constants = pytest.importorskip("huggingface_hub.constants")
    pytest.importorskip("transformers")
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    message = refused("hf:org/name", "-o", "x.safetensors")
    for part in ("hf:org/name", "config.json", "https://huggingface.co/org/name", "hf:FOLDER"):
        assert part in message
    pytest.importorskip("timm")
    message = refused("timm:resnet18", "-o", "x.safetensors")
    for part in ("timm:resnet18", "--weights FILE", "timm:FOLDER"):
        assert part in message
