"""Fixtures for the tests of extensions: a small MNIST, the worker's classifier, and an empty folder."""

from tests.sources.conftest import folder
from tests.training.conftest import tiny_mnist
from tests.worker.conftest import classifier

__all__ = ["classifier", "folder", "tiny_mnist"]
