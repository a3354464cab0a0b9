"""What can go wrong in training and in the files it makes, as types.

TrainingError
├── CheckpointError    a checkpoint is missing, damaged, foreign or of another version
├── DatasetError       a data set is missing, empty or not what it should be
└── ImageError         one image cannot be turned into pixels; it costs only its own row
"""


class TrainingError(Exception):
    """Base of every error that this package raises on purpose; its text is for the user."""


class CheckpointError(TrainingError):
    """Raised when a checkpoint can't be found, read, trusted or written."""


class DatasetError(TrainingError):
    """Raised when a data set is missing, empty or unreadable, or a split of it is impossible."""


class ImageError(TrainingError):
    """Raised when one image can't be decoded.

    Args:
        kind: One of `KINDS`; a program decides by it.
        message: What was wrong with the image, for a person.
    """

    KINDS = ("empty", "not-an-image", "truncated", "too-large", "corrupt", "unsupported", "blank")

    def __init__(self, kind: str, message: str) -> None:
        super().__init__(kind, message)
        self.kind = kind
        self.message = message

    def __str__(self) -> str:
        return f"{self.kind}: {self.message}"
