"""What a selection is asked for, and the text that it names: paths, and a collection's documents or queries."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np

from posbench import loaders
from posbench.dsir import sources
from posbench.dsir.pool import Reading
from posbench.dsir.scorers import Settings
from posbench.dsir.sources import Source
from posbench.dsir.workers import ALONE, Crew
from posbench.errors import UsageError
from posbench.store import RESULTS, default_cache
from posbench.types import Collection, Progress, Strings, no_progress, strings

EVIDENCE = "evidence"
_OF_COLLECTION = ("documents", "queries")
_FIFTHS = ("first fifth", "second fifth", "third fifth", "fourth fifth", "last fifth")


@dataclass(frozen=True)
class Order:
    """What to select and where to.

    ``raw`` and ``targets`` are paths, or ``documents:DATASET`` and ``queries:DATASET``. ``size`` 0 takes ``share`` of
    the raw documents. Several targets are one (``joint``) or each gets its part, by ``proportions`` (empty: by their
    n-grams). ``strata`` is "length" or a label; ``quotas`` are "target", "raw", "equal" or shares by stratum.
    ``compare`` selects with every selector at several sizes, for the report; None does so for up to 200,000 documents.
    """

    raw: tuple[str, ...]
    targets: tuple[str, ...]
    to: Path
    size: int = 0
    share: float = 0.0
    selector: str = ""
    seed: int = 0
    joint: bool = True
    proportions: tuple[float, ...] = ()
    reading: Reading = field(default_factory=Reading)
    labels: tuple[str, ...] = ()
    settings: Settings = field(default_factory=Settings)
    distinct: bool = False
    strata: str = ""
    quotas: str | Mapping[str, float] = "target"
    held_out: float = 0.25
    compare: bool | None = None
    crew: Crew = ALONE
    options: loaders.LoadOptions = field(default_factory=loaders.LoadOptions)
    out: Path = RESULTS
    cache: Path = field(default_factory=default_cache)
    command: str = ""

    def recipe(self) -> dict[str, Any]:
        """What identifies the selection, apart from the texts: JSON-serialisable."""
        names = ("size", "share", "selector", "seed", "joint", "proportions", "distinct", "strata", "held_out")
        found = {name: getattr(self, name) for name in (*names, "labels")}
        quotas = self.quotas if isinstance(self.quotas, str) else dict(self.quotas)
        fields = asdict(self.reading.fields)
        return found | {
            "quotas": quotas,
            "fields": fields,
            "limits": asdict(self.reading.limits),
            "settings": asdict(self.settings),
            "features": self.reading.spec.describe(),
        }


def source(name: str, options: loaders.LoadOptions, progress: Progress = no_progress) -> Source:
    """The source of a name.

    Raises:
        UsageError: there is nothing at the path.
        DataError, RecipeError: as ``loaders.load``.
    """
    side, colon, dataset = name.partition(":")
    if colon and side in _OF_COLLECTION:
        return of_collections(dataset, loaders.load(dataset, options, progress), side)
    return sources.of_path(Path(name).expanduser())


def of_collections(name: str, collections: Sequence[Collection], side: str) -> Source:
    """The documents or queries of collections, with their labels and, in fifths, where their evidence stands."""
    parts = [_side(part, side) for part in collections]
    several = len(parts) > 1
    prefixes = [f"{part.name}/" if several else "" for part in collections]
    ids = [f"{prefix}{one}" for prefix, (own, _, _) in zip(prefixes, parts, strict=True) for one in own.to_pylist()]
    texts = [text for _, column, _ in parts for text in column.to_pylist()]
    known = [label for label in parts[0][2] if all(label in labels for _, _, labels in parts)]
    labels = {
        label: strings([value for _, _, columns in parts for value in columns[label].to_pylist()]) for label in known
    }
    return Source(f"{side}:{name}", ids=strings(ids), texts=strings(texts), labels=labels)


def _side(part: Collection, side: str) -> tuple[Strings, Strings, dict[str, Strings]]:
    of_queries = side == "queries"
    labels = dict(part.query_labels if of_queries else part.doc_labels)
    size = len(part.query_ids if of_queries else part.doc_ids)
    if part.evidence is not None:
        labels[EVIDENCE] = _evidence(part, size, of_queries)
    ids, texts = (part.query_ids, part.queries) if of_queries else (part.doc_ids, part.docs)
    return ids, texts, labels


def _evidence(part: Collection, size: int, of_queries: bool) -> Strings:
    """The fifth of the document in which the first evidence of each query or document begins, "" where it has none."""
    found = part.evidence
    assert found is not None
    place = np.clip(5 * found.start.astype(np.int64) // np.maximum(found.doc_chars, 1), 0, 4)
    row = found.query if of_queries else found.doc
    inside = (row >= 0) & (row < size)
    code = np.full(size, -1, np.int64)
    code[row[inside][::-1]] = place[inside][::-1]
    return strings(np.array([*_FIFTHS, ""], object)[code].tolist())


def reading_for(order: Order, found: Source, wanted: Sequence[str]) -> Reading:
    """How a source is read: of a collection all labels, of files those that are asked for."""
    labels = tuple(dict.fromkeys([*wanted, *found.labels])) if found.texts is not None else tuple(wanted)
    if found.texts is not None:
        unknown = [label for label in labels if label not in found.labels]
        if unknown:
            have = ", ".join(found.labels) or "none"
            raise UsageError(f"{found.name} has no label {unknown[0]!r}; it has {have}")
    return replace(order.reading, fields=replace(order.reading.fields, labels=labels))
