"""Shared by the imports from Hugging Face's hub."""


def quiet() -> None:
    """Stop the hub's library from printing each attempt; its final error is enough."""
    from huggingface_hub.utils import logging
    from huggingface_hub.utils.tqdm import disable_progress_bars

    logging.set_verbosity_error()
    disable_progress_bars()


def root(exc: BaseException) -> BaseException:
    """Return the first error of a chain: the network's, not the hub's advice on it."""
    while exc.__cause__ is not None:
        exc = exc.__cause__
    return exc
