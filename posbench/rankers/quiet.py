"""Keeps transformers from writing to the terminal."""

from typing import Any


def quiet() -> None:
    """No progress bars and no remarks, errors apart."""
    from transformers.utils import logging as notices

    its: Any = notices
    its.set_verbosity_error()
    its.disable_progress_bar()
