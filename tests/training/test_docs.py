import re

from tests.training.conftest import TOP
from training import checkpoint, model
from training.recipes import PLANS

TEXT = (TOP / "docs" / "training.md").read_text(encoding="utf-8")


def test_the_figures_are_those_of_the_shipped_checkpoint() -> None:
    path = checkpoint.find("digits")
    described = checkpoint.describe(path)
    test, trained = described.measured["test"], described.trained
    row = next(line for line in TEXT.splitlines() if "(shipped)" in line)
    cells = [cell.strip() for cell in row.strip("|").split("|")]
    assert cells[:8] == [
        f"{trained['seed']} (shipped)",
        f"{trained['seconds']:.0f}",
        f"{trained['best_epoch']}",
        f"{test['accuracy']:.2%}",
        f"{test['errors']}",
        f"{test['reviews']}",
        f"{test['wrong_unmarked']}",
        f"{test['nll']:.4f}",
    ]
    assert f"{path.stat().st_size:,} bytes" in TEXT
    assert f"{trained['recipe']['epochs']} epochs, batches of {trained['recipe']['batch_size']}" in TEXT


def test_the_shipped_checkpoint_was_trained_with_the_default_recipe_for_longer() -> None:
    trained = checkpoint.describe(checkpoint.find("digits")).trained["recipe"]
    assert {**trained, "epochs": PLANS["digits"].recipe.epochs} == PLANS["digits"].recipe.to_json()


def test_each_networks_cost_is_the_measured_one() -> None:
    for name, plan in PLANS.items():
        multiply_adds, parameters = model.cost(model.build(name, model.complete(name, {}), 10), plan.preprocessing)
        assert re.search(
            rf"\| `{name}` \|.*\| {multiply_adds:,} \| {parameters:,} \| `{plan.preprocessing.kind}` \|", TEXT
        )
