"""A benchmark that looks like a target: queries chosen by what they are about, distractors by their own text."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from posbench.dsir import noise, quotas
from posbench.dsir.features import Features, FeatureSpec, featurise
from posbench.dsir.scorers import Settings
from posbench.dsir.selectors import choose
from posbench.dsir.subset import judged_documents, pool, subset, texts_of_queries
from posbench.errors import UsageError
from posbench.loaders import trec
from posbench.store import open_result
from posbench.stored import stored_run
from posbench.types import Collection, Float64, Int64, Progress, Run, Strings, index_of, no_progress, strings

BETWEEN = "\x1f"  # joins the name of a part and an id in it to one id of the whole
BANDS = 5  # of length and of position


@dataclass(frozen=True)
class Candidates:
    """What is chosen from, of all parts together: ``ids`` each once, and a stratum's name each where there are any."""

    texts: Strings
    ids: Strings
    strata: tuple[str, ...] = ()


Chooser = Callable[[Candidates, int], Int64]
"""Gives the rows of the candidates that are chosen, as many as asked for."""


@dataclass(frozen=True)
class Wanted:
    """How much of a benchmark is kept.

    Attributes:
        queries: chosen among those with a judgement.
        distractors: chosen among the documents that are not kept anyhow; all of them where there are fewer.
        pool_depth: documents of each run a query that are kept as hard negatives.
        by: what a query looks like, its relevant "documents" or the "queries"' own text.
        strata: a label of the queries, "length" or "position": each of its values keeps its share; "" for none.

    Raises:
        UsageError: a number is out of range.
    """

    queries: int
    distractors: int = 0
    pool_depth: int = 100
    by: str = "documents"
    strata: str = ""

    def __post_init__(self) -> None:
        if self.queries < 1 or self.distractors < 0 or self.pool_depth < 1:
            raise UsageError(
                f"found {self.queries} queries, {self.distractors} distractors and a pool of depth {self.pool_depth}; "
                "expected 1 or more, 0 or more, 1 or more"
            )


def select_benchmark(
    collections: Sequence[Collection],
    query_chooser: Chooser,
    distractor_chooser: Chooser,
    wanted: Wanted,
    *,
    runs: Sequence[Sequence[Run]] = (),
    made: Mapping[str, Any] | None = None,
    progress: Progress = no_progress,
) -> list[Collection]:
    """Selects queries over all parts together, then what is searched for them.

    Args:
        collections: the parts of a benchmark.
        query_chooser: chooses queries by ``dsir.subset.texts_of_queries``.
        distractor_chooser: chooses documents by their text.
        wanted: how much.
        runs: rankings of the full collection, each a run a part.
        made: provenance for the selections' entries.
        progress: counts the steps.

    Returns:
        The parts in which a query was chosen, as ``dsir.subset.subset`` makes them.

    Raises:
        UsageError: more queries than are judged, an unknown stratum, or a run of other queries.
    """
    advance = progress("selecting a benchmark", 3)
    asked = _queries(collections, query_chooser, wanted)
    advance(1)
    of_part = [[run[number] for run in runs] for number in range(len(collections))]
    further = _distractors(collections, asked, of_part, distractor_chooser, wanted)
    advance(1)
    parts = [
        subset(part, asked[i], further[i], runs=of_part[i], pool_depth=wanted.pool_depth, made=made)
        for i, part in enumerate(collections)
        if len(asked[i])
    ]
    advance(1)
    return parts


def _queries(collections: Sequence[Collection], chooser: Chooser, wanted: Wanted) -> list[Int64]:
    """The chosen query rows of each part, ascending."""
    rows = [np.flatnonzero(np.diff(part.qrels.indptr) > 0) for part in collections]
    total = sum(map(len, rows))
    if wanted.queries > total:
        raise UsageError(f"{wanted.queries} queries were asked for; {total} are judged: expected at most that")
    texts = [texts_of_queries(part, wanted.by) for part in collections]
    ids = [part.query_ids for part in collections]
    strata = _strata(collections, rows, wanted.strata) if wanted.strata else ()
    return _chosen(collections, chooser, wanted.queries, texts, ids, rows, strata)


def _distractors(
    collections: Sequence[Collection],
    asked: Sequence[Int64],
    runs: Sequence[Sequence[Run]],
    chooser: Chooser,
    wanted: Wanted,
) -> list[Int64]:
    """The chosen document rows of each part in which there are queries, ascending."""
    free = []
    for part, queries, of_part in zip(collections, asked, runs, strict=True):
        kept = np.zeros(len(part.doc_ids), bool)
        if len(queries):
            kept[judged_documents(part, queries)] = True
            kept[pool(part, queries, of_part, wanted.pool_depth)] = True
        free.append(np.flatnonzero(~kept) if len(queries) else np.zeros(0, np.int64))
    if sum(map(len, free)) <= wanted.distractors or not wanted.distractors:
        return free if wanted.distractors else [np.zeros(0, np.int64)] * len(free)
    texts, ids = [part.docs for part in collections], [part.doc_ids for part in collections]
    return _chosen(collections, chooser, wanted.distractors, texts, ids, free, ())


def _chosen(
    collections: Sequence[Collection],
    chooser: Chooser,
    k: int,
    texts: Sequence[Strings],
    ids: Sequence[Strings],
    rows: Sequence[Int64],
    strata: Sequence[str],
) -> list[Int64]:
    """What a chooser takes of some rows of each part, as rows of the parts."""
    some = [column.take(pa.array(mine)) for column, mine in zip(texts, rows, strict=True)]
    large = pa.large_string()
    names = [
        pc.binary_join_element_wise(pa.scalar(part.name, large), column.take(pa.array(mine)), pa.scalar(BETWEEN, large))
        for part, column, mine in zip(collections, ids, rows, strict=True)
    ]
    candidates = Candidates(strings(pa.concat_arrays(some)), strings(pa.concat_arrays(names)), tuple(strata))
    picked = np.sort(chooser(candidates, k))
    ends = np.cumsum([0, *map(len, rows)])
    return [
        mine[picked[(picked >= low) & (picked < high)] - low]
        for mine, low, high in zip(rows, ends[:-1], ends[1:], strict=True)
    ]


def _strata(collections: Sequence[Collection], rows: Sequence[Int64], name: str) -> list[str]:
    """The stratum of each query.

    Raises:
        UsageError: the queries have no such label, or no known place of evidence.
    """
    if name == "length":
        lengths = [pc.utf8_length(texts_of_queries(part)).to_numpy(zero_copy_only=False) for part in collections]
        values = np.concatenate([length[mine] for length, mine in zip(lengths, rows, strict=True)]).astype(float)
        return [f"fifth {band + 1}" for band in bands(values)]
    if name == "position":
        places = np.concatenate([places_of(part)[mine] for part, mine in zip(collections, rows, strict=True)])
        if np.isnan(places).all():
            raise UsageError("strata by position need evidence at a known place; these queries have none")
        fifths = np.minimum(np.nan_to_num(places, nan=0) * BANDS, BANDS - 1).astype(int)
        return [
            "unknown" if np.isnan(place) else f"fifth {fifth + 1}" for place, fifth in zip(places, fifths, strict=True)
        ]
    labels = sorted(set.intersection(*(set(part.query_labels) for part in collections)))
    if name not in labels:
        known = ", ".join([*labels, "length", "position"])
        raise UsageError(f"no stratum {name!r}; these queries have {known}")
    columns = [part.query_labels[name].take(pa.array(mine)) for part, mine in zip(collections, rows, strict=True)]
    return [str(value or "") for column in columns for value in column.to_pylist()]


def bands(values: Float64) -> Int64:
    """Fifths by rank of value, equal values together: int64[N] from 0."""
    edges = np.unique(np.quantile(values, np.arange(1, BANDS) / BANDS))
    return np.searchsorted(edges, values)


def places_of(part: Collection) -> Float64:
    """The middle of each query's one evidence as a share of its document: float64[Q], NaN where it is not known."""
    places = np.full(len(part.query_ids), np.nan)
    evidence = part.evidence
    if evidence is None:
        return places
    places[evidence.query] = (evidence.start + evidence.end) / 2 / np.maximum(1, evidence.doc_chars)
    places[np.bincount(evidence.query, minlength=len(places)) != 1] = np.nan
    return places


def chooser(
    name: str, target: Features, spec: FeatureSpec, settings: Settings, seed: int, spill: bool = True
) -> Chooser:
    """A chooser by one of ``dsir.scorers.SELECTORS``.

    Args:
        name: of the selector.
        target: the target's texts, featurised by ``spec``.
        spec: of the features.
        settings: of the selector.
        seed: of the noise.
        spill: where a stratum is too small for its share, take from the others.
    """

    def chosen(candidates: Candidates, k: int) -> Int64:
        features, keys = featurise(candidates.texts, spec), noise.keys(candidates.ids, seed)
        strata = quotas.strata(candidates.strata, k, spill=spill) if candidates.strata else None
        return choose(name, features, target, k, keys, seed, settings, strata=strata).rows

    return chosen


def read_runs(names: Sequence[str], collections: Sequence[Collection]) -> list[list[Run]]:
    """Rankings of the parts, from result folders or TREC run files.

    A run file whose queries belong to several parts gives each part its own; a part of which it says nothing has an
    empty run.

    Raises:
        UsageError: a result is of other collections, a file names no query of any part, or there is nothing.
        DataError: a file is malformed.
    """
    return [_of_result(name, collections) or _of_file(name, collections) for name in names]


def _of_result(name: str, collections: Sequence[Collection]) -> list[Run] | None:
    result = open_result(Path(name))
    if result is None:
        return None
    if result.kind != "eval":
        raise UsageError(f"{name} is of `posbench {result.kind}`; expected a result of `posbench eval`")
    searched = [part["fingerprint"] for part in result.manifest["dataset"]["parts"]]
    if searched != [part.fingerprint for part in collections]:
        raise UsageError(
            f"{name} is of {result.manifest['dataset']['name']} in other content; expected a result on the collection "
            "that is selected from"
        )
    table = result.run()
    return [stored_run(table, part) for part in collections]


def _of_file(name: str, collections: Sequence[Collection]) -> list[Run]:
    if not Path(name).is_file():
        raise UsageError(f"--runs {name}: no result folder and no run file")
    rows = trec.read_run(Path(name))
    found, named = [], 0
    for part in collections:
        query, doc = index_of(part.query_ids, rows.queries), index_of(part.doc_ids, rows.docs)
        keep = (query >= 0) & (doc >= 0)
        named += int(keep.sum())
        found.append(trec.ranked(query[keep], doc[keep], rows.scores[keep], len(part.query_ids), part.doc_order))
    if not named:
        raise UsageError(
            f"{name}: none of its {len(rows.queries):,} lines names a query and a document of the collection"
        )
    return found
