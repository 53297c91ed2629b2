"""The scores of composed collections: the same queries with their evidence at each place of each length."""

from dataclasses import dataclass, replace

import numpy as np
import pyarrow as pa

from posbench.bias.placed import codes, placed
from posbench.errors import DataError
from posbench.types import Float64, Int64, Report

LABELS = ("method", "length", "position", "source_doc")
MIRRORED = ("original", "mirrored")


@dataclass(frozen=True)
class Grid:
    """Aligned arrays over the N queries that every cell has.

    ``score``, ``relative`` (the place of the evidence's middle, by characters) and ``tokens`` (the document's length)
    are [N, L, K]; ``positions`` float64[K] the share of the other text before the evidence; ``cluster`` int64[N] the
    document that the evidence is from, 0..C-1; ``stratum`` int64[N] its domain; ``incomplete`` queries lack a cell and
    are left out.
    """

    lengths: tuple[str, ...]
    names: tuple[str, ...]
    score: Float64
    relative: Float64
    tokens: Int64
    cluster: Int64
    stratum: Int64
    incomplete: int

    @property
    def positions(self) -> Float64:
        """The nominal positions, ascending: float64[K]."""
        return np.array([float(name) for name in self.names])

    @property
    def mirrored(self) -> bool:
        """Whether the cells are a document and its mirror image."""
        return self.names == MIRRORED

    @classmethod
    def of(cls, report: Report, measure: str) -> "Grid | None":
        """The grid of a report, or None where its queries are not composed.

        Raises:
            DataError: the report mixes several ways to compose, or a query stands twice in a cell.
        """
        table = report.queries
        found = placed(report, measure)
        if found is None or not set(LABELS) <= set(table.column_names) or len(found.score) < len(table):
            return None
        methods = pa.compute.unique(table["method"].cast(pa.string())).to_pylist()
        if len(methods) > 1:
            raise DataError(f"the report mixes compositions by {', '.join(map(str, methods))}; evaluate them apart")
        lengths, length = _ordered(table["length"])
        names, position = _ordered(table["position"])
        key = codes(table, "source_doc") * (len(table) + 1) + codes(table, "query_id")
        query = np.unique(key, return_inverse=True)[1]
        rows = np.full((int(query.max()) + 1, len(lengths), len(names)), -1)
        rows[query, length, position] = np.arange(len(table))
        if (rows >= 0).sum() != len(table):
            raise DataError("a query stands more than once at one length and position; evaluate one ranker at a time")
        whole = (rows >= 0).all(axis=(1, 2))
        rows = rows[whole]
        if not len(rows):
            return None
        first = rows[:, 0, 0]
        cluster = np.unique(codes(table, "source_doc")[first], return_inverse=True)[1].astype(np.int64)
        score, relative, tokens = found.score[rows], found.relative[rows], found.tokens[rows]
        return cls(lengths, names, score, relative, tokens, cluster, found.stratum[first], int((~whole).sum()))

    def at(self, lengths: Int64, positions: Int64) -> "Grid":
        """Some lengths and positions, by index."""
        cells = np.ix_(np.arange(len(self.score)), lengths, positions)
        return replace(
            self,
            lengths=tuple(self.lengths[n] for n in lengths),
            names=tuple(self.names[k] for k in positions),
            score=self.score[cells],
            relative=self.relative[cells],
            tokens=self.tokens[cells],
        )


def _ordered(column: pa.ChunkedArray) -> tuple[tuple[str, ...], Int64]:
    """The distinct values, numbers by size, and the index of each row's."""
    values = column.cast(pa.string()).combine_chunks()
    found = pa.compute.unique(values).to_pylist()
    if set(found) == set(MIRRORED):
        found = list(MIRRORED)
    else:
        found = sorted(found, key=_number)
    index = pa.compute.index_in(values, value_set=pa.array(found, pa.string()))
    return tuple(found), np.asarray(index.to_numpy(zero_copy_only=False), np.int64)


def _number(text: str) -> tuple[float, str]:
    try:
        return float(text), ""
    except ValueError:
        return np.inf, text
