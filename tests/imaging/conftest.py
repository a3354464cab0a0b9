"""Images are read as a worker reads them, from a copy of the samples."""

from tests.training.conftest import digit_preprocessing, fresh, tiny_mnist
from tests.worker.conftest import classifier, root

__all__ = ["classifier", "digit_preprocessing", "fresh", "root", "tiny_mnist"]
