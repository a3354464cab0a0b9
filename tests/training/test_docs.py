import re

from pigeonhole.imaging.preprocessing import Preprocessing
from pigeonhole.models import checkpoint
from pigeonhole.models.networks import registry as networks
from tests.training.conftest import TOP
from training.recipes import overrides
from training.recipes.defaults import RECIPES, plan

TEXT = "\n".join((TOP / "docs" / page).read_text(encoding="utf-8") for page in ("experiments.md", "guide/training.md"))


def test_the_documented_figures_match_the_shipped_checkpoint() -> None:
    path = checkpoint.find("digits")
    described = checkpoint.describe(path)
    test, trained = described.measured["test"], described.trained
    rows = [[cell.strip() for cell in line.strip("|").split("|")] for line in TEXT.splitlines() if line.startswith("|")]
    now = {row[1]: row[-1] for row in rows if len(row) == 4 and "of 0.2.0" not in row}
    figures = {
        "wrong": f"{test['errors']}",
        "marked for review": f"{test['reviews']}",
        "wrong and not marked": f"{test['wrong_unmarked']}",
        "negative log-likelihood, calibration error": f"{test['nll']:.4f}, {test['ece']:.2%}",
    }
    assert {name: now[name] for name in figures} == figures
    assert f"{test['accuracy']:.2%}" in TEXT
    assert f"gave the digest `{described.digest[:12]}` both times" in TEXT
    assert f"{path.stat().st_size:,} bytes" in TEXT
    assert f"{trained['recipe']['epochs']} epochs, batches of {trained['recipe']['batch_size']}" in TEXT
    assert f"{trained['times']['pool']:.0f} for the pool and {trained['times']['epochs']:.0f} for the epochs" in TEXT


def test_the_shipped_checkpoint_was_trained_with_the_default_recipe() -> None:
    recorded = checkpoint.describe(checkpoint.find("digits")).trained["recipe"]
    # The shipped checkpoint records an unused value, `distillation`, and older names.
    names = {"calming": "augmentation_decay", "variety": "synthetic", "variety_augmentation": "synthetic_augmentation"}
    renamed = {names.get(key, key): value for key, value in recorded.items()}
    assert renamed == RECIPES["digits"].to_json() | {"distillation": recorded["distillation"]}


def test_each_value_of_a_recipe_is_documented_with_its_range() -> None:
    rows = dict(re.findall(r"^\| `([a-z_.]+)` \| ([^|]+) \|", TEXT, re.MULTILINE))
    for name, kind in overrides.VALUES.items():
        if isinstance(kind, overrides.Number):
            least, most = (f"{end:,.6f}".rstrip("0").rstrip(".") for end in (kind.least, kind.most))
            assert rows[name.removeprefix("synthetic_")] == f"{least}, {most}", name
        else:
            assert name in rows or name.startswith("synthetic_") or name == "augmentation", name


def test_the_documented_cost_of_each_network_is_the_measured_cost() -> None:
    for name in RECIPES:
        preprocessing = plan(name).preprocessing
        multiply_adds, parameters = networks.build(name, networks.complete(name, {}), 10).fold().cost(preprocessing)
        assert re.search(rf"\| `{name}` \|.*\| {multiply_adds:,} \| {parameters:,} \| `{preprocessing.kind}` \|", TEXT)


def test_the_documented_cost_of_each_network_for_a_folder_is_the_measured_cost() -> None:
    def cost(name: str, side: int, channels: int) -> tuple[int, int]:
        preprocessing = Preprocessing("stretch", side, side, channels)
        return networks.build(name, networks.complete(name, {}, preprocessing), 10).fold().cost(preprocessing)

    for name, blocks in (("residual-small", 1), ("residual", 1), ("residual-large", 2)):
        grey, colour, large = cost(name, 28, 1), cost(name, 32, 3), cost(name, 128, 3)
        assert colour == cost(name, 64, 3)
        assert f"| `{name}` | {blocks} | {grey[0]:,} | {colour[0]:,} | {large[0]:,} | {colour[1]:,} |" in TEXT
    for name in ("mobilenet_v3_small", "efficientnet_b0", "resnet18"):
        multiply_adds, parameters = cost(name, 224, 3)
        assert f"| `{name}` | {multiply_adds:,} | {parameters:,} |" in TEXT
