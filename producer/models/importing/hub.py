"""What models of Hugging Face's hub have in common."""


def quiet() -> None:
    """Keep the hub's library from printing each attempt to reach it: what it raises in the end is enough."""
    from huggingface_hub.utils import logging
    from huggingface_hub.utils.tqdm import disable_progress_bars

    logging.set_verbosity_error()
    disable_progress_bars()


def root(exc: BaseException) -> BaseException:
    """Return the error that others were raised from: the network's, not the hub's advice on it."""
    while exc.__cause__ is not None:
        exc = exc.__cause__
    return exc
