"""Models are tested with training's small stand-ins and the shipped model."""

from tests.training.conftest import digit_preprocessing, fresh, tiny_mnist
from tests.worker.conftest import classifier, root

__all__ = ["classifier", "digit_preprocessing", "fresh", "root", "tiny_mnist"]
