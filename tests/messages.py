"""A check of messages for users that leaves their sentences free."""


def check_message(message: object, *parts: str) -> None:
    """Check that a message names its values and the command or option that helps.

    Args:
        message: the text, or the error with it.
        parts: texts that the message must contain.
    """
    missing = [part for part in parts if part not in str(message)]
    assert not missing, f"{message} does not name {missing}"
