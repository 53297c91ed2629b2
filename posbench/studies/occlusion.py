"""Occlusion: how far the score falls without a segment of the document. Asks nothing of a model but vectors."""

import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Literal, Protocol

import numpy as np

from posbench.studies.curves import Attribution
from posbench.types import Float32, Int32, Strings, distinct, strings


class Embedder(Protocol):
    """A ranker that gives the vectors of its texts, whose inner products are its scores."""

    def embeddings(self, texts: Strings, role: Literal["query", "document"]) -> Mapping[str, Any]:
        """``vectors`` float32[N, d]."""
        ...


def segments(text: str, count: int) -> Int32:
    """A text cut in parts of about equal characters: int32[count, 2], first and end character of each.

    A cut moves to the nearest beginning of a word, at most half a segment away; text without spaces is cut anywhere.
    """
    starts = np.array([match.end() for match in re.finditer(r"\s+", text)] or [0])
    cuts = np.arange(count + 1) * (len(text) / count)
    nearest = starts[np.abs(starts[:, None] - cuts[None, :]).argmin(0)]
    moved = np.where(np.abs(nearest - cuts) < len(text) / count / 2, nearest, np.round(cuts)).astype(np.int32)
    moved[0], moved[-1] = 0, len(text)
    return np.stack([moved[:-1], moved[1:]], axis=1)


def occlude(
    embedder: Embedder, pairs: Sequence[tuple[str, str]], count: int, kept: Callable[[str], int]
) -> list[Attribution]:
    """The fall of the score for each segment of each document.

    Args:
        embedder: a ranker with ``embeddings``, which are cached, so that an interrupted run goes on.
        pairs: (query, document) texts; a document's variants are embedded once for all of its queries.
        count: segments a document.
        kept: how many leading characters of a document the model reads. What lies behind is cut off first: otherwise
            it would move into the window when something before it is taken out.
    """
    documents = distinct(document for _, document in pairs)
    queries = distinct(query for query, _ in pairs)
    texts = [document[: kept(document)] for document in documents]
    spans = [segments(text, count) for text in texts]
    variants = [text[:a] + text[b:] for text, cut in zip(texts, spans, strict=True) for a, b in [(0, 0), *cut.tolist()]]
    found = _vectors(embedder, variants, "document").reshape(len(texts), count + 1, -1)
    asked = _vectors(embedder, queries, "query")
    place = {document: i for i, document in enumerate(documents)}
    query_place = {query: i for i, query in enumerate(queries)}
    attributions = []
    for query, document in pairs:
        at = place[document]
        score = found[at].astype(np.float64) @ asked[query_place[query]]
        attributions.append(Attribution(score[0] - score[1:], spans[at], float(score[0])))
    return attributions


def _vectors(embedder: Embedder, texts: Sequence[str], role: Literal["query", "document"]) -> Float32:
    return np.asarray(embedder.embeddings(strings(texts), role)["vectors"], np.float32)
