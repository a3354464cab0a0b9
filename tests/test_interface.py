"""The public interface: the names in `import pigeonhole`, and the methods of `Client`."""

import importlib.metadata
import inspect

import pigeonhole
from pigeonhole import errors
from pigeonhole.version import DISTRIBUTION

PUBLIC = {
    *("Client", "JobState", "JobStatus", "Row", "Rows", "Summary", "ErrorKind", "__version__"),
    *("PigeonholeError", "UsageError", "SettingsError", "SourceError", "UnknownJob"),
    *("TrainingError", "CheckpointError", "DatasetError"),
    *("BrokerUnreachable", "BrokerRefuses", "NoWorker", "JobCancelled", "EmbeddedFailed", "OutputFailed"),
    *("MessageInvalid", "JobDamaged", "NoSubmitter", "ImageError"),
}
CLIENT = {
    *("classify", "submit", "rows", "wait", "results"),
    *("jobs", "status", "resume", "cancel", "delete", "close"),
}


def test_the_public_interface_has_exactly_these_names() -> None:
    assert set(pigeonhole.__all__) == PUBLIC
    assert set(dir(pigeonhole)) == PUBLIC
    for name in PUBLIC:
        assert getattr(pigeonhole, name) is not None
    assert pigeonhole.__version__ == importlib.metadata.version(DISTRIBUTION)


def test_every_error_is_public() -> None:
    named = {name for name, value in vars(errors).items() if inspect.isclass(value) and issubclass(value, Exception)}
    assert named <= PUBLIC


def test_the_documented_tree_of_errors_matches_the_classes() -> None:
    assert errors.__doc__ is not None
    lines = [line for line in errors.__doc__.splitlines() if "── " in line or line.strip() == "PigeonholeError"]
    drawn = [line.rpartition("── ")[2].split()[0] for line in lines]
    depths = [line.find("── ") // 4 for line in lines]
    for at in range(1, len(drawn)):
        parent = next(drawn[above] for above in reversed(range(at)) if depths[above] < depths[at])
        assert getattr(errors, drawn[at]).__base__ is getattr(errors, parent)
    assert set(drawn) == PUBLIC - {
        "Client",
        "JobState",
        "JobStatus",
        "Row",
        "Rows",
        "Summary",
        "ErrorKind",
        "__version__",
    }


def test_a_client_has_exactly_these_public_methods_and_each_is_documented() -> None:
    names = {name for name in dir(pigeonhole.Client) if not name.startswith("_")}
    assert names == CLIENT
    for name in names:
        assert inspect.getdoc(getattr(pigeonhole.Client, name))
