"""Extensions are tested with the worker's classifier, in an empty folder."""

from tests.sources.conftest import folder
from tests.worker.conftest import classifier

__all__ = ["classifier", "folder"]
