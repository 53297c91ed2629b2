"""Per-query scores beside the place of their evidence: what every figure about position is computed from."""

from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import ArrayLike, NDArray

from posbench.types import Float64, Int64, Report

LENGTH_EDGES = (0.0, 512.0, 1024.0, 1536.0, np.inf)
LENGTHS = ("Q1", "Q2", "Q3", "Q4")
LENGTH_NAMES = ("<=512", "513-1024", "1025-1536", ">1536")
MIN_QUERIES = 10
"""A mean of fewer queries is withheld."""


@dataclass(frozen=True)
class Placed:
    """Per-query scores with the place of their evidence; aligned arrays over the queries that have one.

    ``relative`` is the middle of the evidence / length of the document, both in characters, in [0, 1]; ``tokens`` the
    document's length (-1 unknown); ``cluster`` the document, ``stratum`` the domain.
    """

    score: Float64
    relative: Float64
    tokens: Int64
    cluster: Int64
    stratum: Int64

    @property
    def length(self) -> Int64:
        """The length bucket of each query: 0..3, -1 where the number of tokens is unknown."""
        return right_closed(self.tokens, LENGTH_EDGES)

    @property
    def offset(self) -> Float64:
        """Tokens from the document's start to the middle of the evidence, about (in proportion to characters).

        NaN where the document's length in tokens is unknown.
        """
        return np.where(self.tokens > 0, self.relative * self.tokens, np.nan)

    def bins(self, count: int) -> Int64:
        """The position bin of each query, 0..count-1, of equal widths, closed on the right as the official ones are."""
        return np.maximum(right_closed(self.relative, np.linspace(0, 1, count + 1)), 0)

    def take(self, rows: NDArray[Any]) -> "Placed":
        """Some of the queries, by mask or index."""
        return Placed(self.score[rows], self.relative[rows], self.tokens[rows], self.cluster[rows], self.stratum[rows])


def relative_position(start: ArrayLike, end: ArrayLike, doc_chars: ArrayLike) -> Float64:
    """The middle of a span relative to its document's length, cut to [0, 1]; all in characters."""
    chars = np.asarray(doc_chars, np.float64)
    middle = (np.asarray(start, np.float64) + np.asarray(end, np.float64)) / 2
    return np.clip(np.minimum(middle, chars) / chars, 0.0, 1.0)


def known_places(report: Report) -> NDArray[np.bool_]:
    """Which queries of a report have evidence at one known place: bool[Q]."""
    table = report.queries
    if "span_start" not in table.column_names:
        return np.zeros(len(table), bool)
    span = {name: _floats(table[name]) for name in ("span_start", "span_end", "doc_chars")}
    with np.errstate(invalid="ignore"):
        return (span["doc_chars"] > 0) & (span["span_start"] + span["span_end"] >= 0)


def placed(report: Report, measure: str) -> Placed | None:
    """The queries of a report whose evidence is known, or None where there are none."""
    table, keep = report.queries, known_places(report)
    if not keep.any():
        return None
    place = relative_position(*(_floats(table[name])[keep] for name in ("span_start", "span_end", "doc_chars")))
    tokens = table["doc_tokens"].fill_null(-1).to_numpy()[keep].astype(np.int64)
    domain = codes(table, "domain")[keep] if "domain" in table.column_names else np.zeros(keep.sum(), np.int64)
    documents = codes(table, "dataset") * (len(table) + 1) + codes(table, "doc_id")
    if "source_doc" in table.column_names:  # composed: what one document's evidence was made into moves together
        documents = codes(table, "source_doc")
    cluster = np.unique(documents[keep], return_inverse=True)[1]
    return Placed(report.values(measure)[keep], place, tokens, cluster.astype(np.int64), domain)


def codes(table: pa.Table, column: str) -> Int64:
    """A column of strings as integers, equal where the strings are: int64[rows]; null is one more value."""
    encoded = table[column].cast(pa.string()).combine_chunks().dictionary_encode("encode")
    return np.asarray(encoded.indices.to_numpy(zero_copy_only=False), np.int64)


def right_closed(values: ArrayLike, edges: ArrayLike) -> Int64:
    """The index of the interval (edge, next edge] that holds each value; -1 at or below the first edge."""
    return np.asarray(np.searchsorted(np.asarray(edges), np.asarray(values), side="left") - 1, np.int64)


def _floats(column: pa.ChunkedArray) -> Float64:
    """A numeric column as float64, null as NaN."""
    return np.asarray(column.cast(pa.float64()).fill_null(float("nan")).to_numpy())
