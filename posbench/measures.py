"""Retrieval measures on integer arrays, equal to trec_eval's to the last bit.

A measure is its name, spelled as ir-measures spells it: ``nDCG@10``, ``RR@10``, ``AP``, ``R@100``, ``P@5``,
``Success@1``, ``Judged@10``. Those are computed here; any other name that ir-measures knows is computed by ir-measures
on the same canonical order. Every measure reads one order, the Run's, so no measure breaks ties on its own.
"""

import os
import re
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from typing import TypeVar

import numpy as np

from posbench.errors import UsageError, unknown_name
from posbench.types import Float64, Int32, Int64, Qrels, Run

T = TypeVar("T")
R = TypeVar("R")

DEFAULT = ("nDCG@10", "RR@10", "AP", "R@100")
PAIRED = "p-MRR"
"""FollowIR's measure of pairs of queries, see ``pmrr``: ``evaluate`` has it, where a collection has such pairs."""
_NATIVE = re.compile(r"(nDCG|RR|AP|R|P|Success|Judged)(?:@([1-9]\d*))?")
_CUTOFF_OPTIONAL = {"nDCG", "RR", "AP"}
_BLOCK = 1 << 17  # retrieved documents looked up at a time, so that tables stay in the cache
_PARALLEL = 1 << 19  # retrieved documents above which threads pay


def parse(names: str | Iterable[str]) -> tuple[str, ...]:
    """Canonical measure names, each once, from a comma-separated string or a sequence.

    >>> parse("nDCG@10, AP")
    ('nDCG@10', 'AP')

    Raises:
        RecipeError: a name is not a measure.
    """
    wanted = names.split(",") if isinstance(names, str) else list(names)
    return tuple(dict.fromkeys(_canonical(name.strip()) for name in wanted if name.strip()))


def score(run: Run, qrels: Qrels, names: Sequence[str]) -> dict[str, Float64]:
    """The value of each measure for each query of the qrels.

    Args:
        run: rows aligned with the qrels' queries, in canonical order.
        qrels: judgements over the same document indices.
        names: measure names, as ``parse`` returns them.

    Returns:
        For each name a float64[Q] of values in [0, 1]; a query with an empty row or without a relevant document has 0.
    """
    if len(run.docs) != len(qrels.indptr) - 1:
        raise UsageError(f"the run ranks {len(run.docs)} queries, the qrels judge {len(qrels.indptr) - 1}")
    if PAIRED in names:
        raise UsageError(f"{PAIRED} compares two runs of a collection with paired queries; leave it out here")
    matches = {name: _NATIVE.fullmatch(name) for name in names}
    uncut = max(run.depth, int(qrels.relevant.max(initial=0)))
    native = {name: (m[1], int(m[2]) if m[2] else uncut) for name, m in matches.items() if m}
    values: dict[str, Float64] = {}
    if native:
        depth = max(cutoff for _, cutoff in native.values())
        hits = _join(run.top(depth), qrels)
        found = _on_threads(lambda measure: _KERNELS[measure[0]](hits, measure[1]), native.values(), run.docs.size)
        values = dict(zip(native, found, strict=True))
    foreign = [name for name in names if name not in native]
    if foreign:
        values |= _through_ir_measures(run, qrels, foreign)
    return {name: values[name] for name in names}


def _canonical(name: str) -> str:
    match = _NATIVE.fullmatch(name)
    if match and (match[2] or match[1] in _CUTOFF_OPTIONAL):
        return name
    if name.lower() in ("p-mrr", "pmrr"):
        return PAIRED
    import ir_measures

    try:
        parsed = str(ir_measures.parse_measure(name))
    except (NameError, ValueError, SyntaxError, TypeError) as error:
        known = [*ir_measures.measures.registry, *DEFAULT]
        raise unknown_name("measure", name, known, "write it as ir-measures does, for example nDCG@10 or AP") from error
    if re.fullmatch(r"R|P|Success|Judged", parsed):
        raise UsageError(f"measure {name!r} needs a cutoff; write for example {parsed}@10")
    return parsed


@dataclass(frozen=True)
class _Hits:
    """The relevant documents of a run, in rank order within each query."""

    n: int
    query: Int64  # of each relevant document that was retrieved
    rank: Int64  # its place, from 0
    grade: Int32
    run: Run
    qrels: Qrels

    def within(self, cutoff: int) -> "_Hits":
        if cutoff >= self.run.depth:
            return self
        keep = self.rank < cutoff
        return replace(self, query=self.query[keep], rank=self.rank[keep], grade=self.grade[keep])

    def count(self, cutoff: int) -> Int64:
        """How many relevant documents each query has within the cutoff: int64[n]."""
        return np.bincount(self.within(cutoff).query, minlength=self.n)


def _join(run: Run, qrels: Qrels) -> _Hits:
    """Looks each retrieved document up among the query's relevant ones; on several threads where that pays."""
    n = len(run.docs)
    bounds = np.linspace(0, n, _workers(run.docs.size) + 1).astype(int).tolist()
    slabs = zip(bounds[:-1], bounds[1:], strict=True)
    parts = _on_threads(lambda slab: _join_slab(run, qrels, *slab), slabs, run.docs.size)
    query, rank, grade = (np.concatenate([part[i] for part in parts]) for i in range(3))
    return _Hits(n, query, rank, grade, run, qrels)


def _workers(size: int) -> int:
    """How many threads pay for so many retrieved documents."""
    return min(4, os.cpu_count() or 1) if size > _PARALLEL else 1


def _on_threads(function: Callable[[T], R], items: Iterable[T], size: int) -> list[R]:
    """``function`` of each item, on several threads where that pays."""
    if _workers(size) == 1:
        return [function(item) for item in items]
    with ThreadPoolExecutor(_workers(size)) as pool:
        return list(pool.map(function, items))


def _join_slab(run: Run, qrels: Qrels, first: int, last: int) -> tuple[Int64, Int64, Int32]:
    """(query, rank, grade) of the relevant documents of the queries first..last, a block of queries at a time.

    ``column`` maps a document to its column in a small dense table of the block's judged documents. Column 0 stands for
    "not relevant", and index -1 (padding) reads the spare last entry, which stays 0.
    """
    depth = run.depth
    largest = max(int(qrels.docs.max(initial=-1)), int(run.docs.max(initial=-1)))
    column = np.zeros(largest + 2, np.int32)
    rows = max(1, min(384, _BLOCK // max(1, depth)))
    begin = qrels.indptr[first]
    gains = np.maximum(qrels.grades[begin : qrels.indptr[last]], 0)
    gains = gains.astype(np.int8 if int(gains.max(initial=0)) <= 127 else np.int32)
    judged = qrels.docs[begin : qrels.indptr[last]].astype(np.intp)  # the type that indexing wants
    row = qrels.queries[begin : qrels.indptr[last]]
    places, grades = [np.empty(0, np.int64)], [np.empty(0, gains.dtype)]
    edges = qrels.indptr[np.minimum(np.arange(first, last + rows, rows), last)]
    table = np.zeros(rows * (int(np.diff(edges).max(initial=0)) + 1), gains.dtype)  # one for all: fresh memory is slow
    for start in range(first, last, rows):
        stop = min(start + rows, last)
        mine = slice(qrels.indptr[start] - begin, qrels.indptr[stop] - begin)
        docs = judged[mine]
        width = len(docs) + 1
        column[docs] = np.arange(1, width, dtype=np.int32)
        judged_cells = column.take(docs) + (row[mine] - start) * width
        table[judged_cells] = gains[mine]
        cells = column.take(run.docs[start:stop], mode="wrap").astype(np.intp)
        cells += np.arange(0, (stop - start) * width, width)[:, None]
        found = table.take(cells, mode="wrap").ravel()
        column[docs] = 0
        table[judged_cells] = 0
        where = np.flatnonzero(found != 0)  # quicker on booleans
        places.append(where + start * depth)
        grades.append(found[where])
    query, rank = np.divmod(np.concatenate(places), max(1, depth))
    return query, rank, np.concatenate(grades).astype(np.int32)


def _nth_of_query(query: Int64, n: int) -> Int64:
    """For ascending query indices, the place of each entry among its query's entries, from 0."""
    counts = np.bincount(query, minlength=n)
    return np.arange(len(query)) - np.repeat(np.cumsum(counts) - counts, counts)


def _ndcg(hits: _Hits, cutoff: int) -> Float64:
    """Järvelin and Kekäläinen's nDCG (2002), linear gains: sum of grade / log2(rank + 1), over the ideal order's."""
    hits = hits.within(cutoff)
    gain = np.bincount(hits.query, hits.grade / _discounts(cutoff)[hits.rank], hits.n)
    ideal = _ideal_dcg(hits.qrels, hits.n, cutoff)
    return _ratio(gain, ideal)


def _ratio(above: Float64 | Int64, below: Float64 | Int64) -> Float64:
    """A quotient that is 0 where the divisor is 0."""
    return np.asarray(np.divide(above, below, out=np.zeros(len(above)), where=below > 0))


def _discounts(cutoff: int) -> Float64:
    return np.asarray(np.log2(np.arange(cutoff) + 2.0))


def _ideal_dcg(qrels: Qrels, n: int, cutoff: int) -> Float64:
    query, place, grade = qrels.ideal
    keep = place < cutoff
    return np.bincount(query[keep], grade[keep] / _discounts(cutoff)[place[keep]], n).astype(np.float64)


def _rr(hits: _Hits, cutoff: int) -> Float64:
    """1 / rank of the first relevant document within the cutoff, else 0."""
    hits = hits.within(cutoff)
    value = np.zeros(hits.n)
    value[hits.query[::-1]] = 1.0 / (hits.rank[::-1] + 1.0)  # the first of a query is written last
    return value


def _ap(hits: _Hits, cutoff: int) -> Float64:
    """Mean over all relevant documents of the precision at each one that was retrieved within the cutoff."""
    hits = hits.within(cutoff)
    nth = _nth_of_query(hits.query, hits.n) + 1
    total = np.bincount(hits.query, nth / (hits.rank + 1.0), hits.n)
    return _ratio(total, hits.qrels.relevant)


def _recall(hits: _Hits, cutoff: int) -> Float64:
    """Relevant documents within the cutoff / all relevant documents."""
    return _ratio(hits.count(cutoff), hits.qrels.relevant)


def _precision(hits: _Hits, cutoff: int) -> Float64:
    """Relevant documents within the cutoff / cutoff."""
    return hits.count(cutoff) / cutoff


def _success(hits: _Hits, cutoff: int) -> Float64:
    """1 where a relevant document stands within the cutoff, else 0."""
    return (hits.count(cutoff) > 0).astype(np.float64)


def _judged_share(hits: _Hits, cutoff: int) -> Float64:
    """Judged documents within the cutoff / documents retrieved within the cutoff."""
    judged = replace(hits.qrels, grades=np.ones_like(hits.qrels.grades))
    run = hits.run.top(cutoff)
    shown = np.count_nonzero(run.docs >= 0, axis=1)
    return _ratio(_join(run, judged).count(cutoff), shown)


_KERNELS: dict[str, Callable[[_Hits, int], Float64]] = {
    "nDCG": _ndcg,
    "RR": _rr,
    "AP": _ap,
    "R": _recall,
    "P": _precision,
    "Success": _success,
    "Judged": _judged_share,
}


def _through_ir_measures(run: Run, qrels: Qrels, names: Sequence[str]) -> dict[str, Float64]:
    """Any other measure, by ir-measures; scores become descending ranks, so that it cannot order ties otherwise."""
    import ir_measures

    by_query: dict[str, dict[str, int]] = {str(q): {} for q in range(len(run.docs))}
    for q, doc, grade in zip(qrels.queries.tolist(), qrels.docs.tolist(), qrels.grades.tolist(), strict=True):
        by_query[str(q)][str(doc)] = grade
    ranked = {
        str(q): {str(doc): float(run.depth - place) for place, doc in enumerate(row) if doc >= 0}
        for q, row in enumerate(run.docs.tolist())
    }
    values = {name: np.zeros(len(run.docs)) for name in names}
    parsed = [ir_measures.parse_measure(name) for name in names]
    judged = {query: docs for query, docs in by_query.items() if docs}
    try:
        for metric in ir_measures.iter_calc(parsed, judged, ranked):
            values[str(metric.measure)][int(metric.query_id)] = metric.value
    except ValueError as error:
        raise UsageError(f"ir-measures cannot compute {', '.join(names)} here: {error}") from error
    return values
