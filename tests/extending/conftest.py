"""Fixtures: extensions are tested with a small MNIST and the worker's classifier, in an empty folder."""

from tests.sources.conftest import folder
from tests.training.conftest import tiny_mnist
from tests.worker.conftest import classifier

__all__ = ["classifier", "folder", "tiny_mnist"]
