"""What pages are made from: boards, studies and the names of their files."""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from hashlib import blake2b
from typing import Any

from posbench.leaderboard.boards import Board, Found
from posbench.types import distinct

FLAGSHIP = "PosIR"
"""The board that comes first where one must."""


@dataclass(frozen=True)
class Page:
    """One page: where it is written, under the site's folder, and the template and values that make it.

    ``values`` go to the template beside ``site`` and ``page``; ``scripts`` are files under ``assets/``, in
    their order, and ``data`` is a JSON-serialisable object that its scripts find in ``<script id="data">``.
    """

    path: str
    template: str
    title: str
    values: Mapping[str, Any] = field(default_factory=dict)
    scripts: tuple[str, ...] = ()
    data: Any = None

    @property
    def root(self) -> str:
        """The way from the page to the site's folder: "" or "../"."""
        return "../" * self.path.count("/")


@dataclass(frozen=True)
class Site:
    """All that the leaderboard shows; ``remarks`` says what was left out and why."""

    boards: tuple[Board, ...]
    studies: tuple[Found, ...] = ()
    remarks: tuple[str, ...] = ()

    @cached_property
    def models(self) -> tuple[str, ...]:
        """Every model that has scores or a study; one of indexes is of several models and has a page of its own."""
        boards = [name for board in self.boards for name in board.models]
        studied = [found.entry.model.name for found in self.studies if found.entry.kind != "hnsw"]
        return tuple(sorted(distinct([*boards, *studied])))

    def entries(self, model: str) -> list[Found]:
        """All entries of a model, scores before studies."""
        scores = [found for board in self.boards for found in board.entries.get(model, ())]
        return scores + [found for found in self.studies if found.entry.model.name == model]


def slug(name: str) -> str:
    """A name as one part of a path: itself where it is letters, digits, dots and dashes, else with a hash."""
    plain = re.sub(r"[^A-Za-z0-9.-]+", "-", name).strip(".-")[:60]
    return plain if plain == name else f"{plain or 'x'}-{blake2b(name.encode(), digest_size=3).hexdigest()}"


def model_path(name: str) -> str:
    """Where a model's page is written."""
    return f"models/{slug(name)}.html"


def board_path(name: str) -> str:
    """Where a board's page is written."""
    return f"boards/{slug(name)}.html"
