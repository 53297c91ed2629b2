"""How near the queries of a selected benchmark come to the target: the report of a selection, of its queries' texts."""

import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from posbench.dsir import noise, pool
from posbench.dsir.select import Weigher
from posbench.dsir.sources import Source
from posbench.dsir.stream import Picks
from posbench.dsir.subset import SELECTION, texts_of_queries
from posbench.dsir.target import Target
from posbench.experiment import Outcome
from posbench.recipe import digest
from posbench.store import Cache, Results, safe_name
from posbench.studies.selection.order import Order, of_collections, reading_for
from posbench.studies.selection.report import report
from posbench.studies.selection.summary import told
from posbench.studies.selection.work import Work
from posbench.types import Collection, Progress, no_progress, strings


def nearness(
    order: Order,
    target: Target,
    collections: Sequence[Collection],
    selected: Sequence[Collection],
    by: str = "documents",
    progress: Progress = no_progress,
) -> Outcome:
    """Judges the chosen queries beside all judged ones and random choices, or reads the finished result.

    Args:
        order: of the selection; ``selector`` is set.
        target: what the queries were chosen for, with its held-out part.
        collections: the parts of the whole benchmark.
        selected: the parts of the selection, as ``loaders.load`` reads its folder.
        by: what a query looks like, as ``texts_of_queries`` has it.
        progress: shows long steps.
    """
    chosen = {str(part.source[SELECTION]["of"]["name"]): part.query_ids.to_pylist() for part in selected}
    whole = _queries(order.raw[0], collections, by)
    raw = pool.pool(whole, reading_for(order, whole, []), Cache(order.cache), order.crew, progress)
    several = len(collections) > 1
    names = [f"{part}/{one}" if several else one for part, ids in chosen.items() for one in ids]
    picks = _picks(raw, noise.hashes(names))
    recipe = order.recipe() | {"of": "benchmark", "by": by, "chosen": sorted(names)}
    fingerprint = digest([recipe, raw.fingerprint, target.identity])
    results, name = Results(order.out), safe_name(order.raw[0])
    result = results.find(name, order.selector, fingerprint)
    fresh = result is None
    if result is None:
        plain = replace(order, compare=False)
        work = Work(plain, raw, [target], len(picks), order.selector, None, None, progress)
        with tempfile.TemporaryDirectory(prefix="select-", dir=order.cache) as scratch:
            place = Path(scratch)
            work.weighers.append(Weigher(raw, target, order.settings, order.seed, place, progress))
            result = results.write(name, order.selector, fingerprint, report(work, [picks]), None)
    found = result.report()
    summary = {**told(found), "to": str(order.to), "result": str(result.folder)}
    return Outcome(result, found, summary, fresh)


def _queries(name: str, collections: Sequence[Collection], by: str) -> Source:
    """The judged queries of all parts, with the texts that they were chosen by."""
    source = of_collections(name, collections, "queries")
    texts = strings(pa.concat_arrays([texts_of_queries(part, by) for part in collections]))
    judged = pa.array(np.concatenate([np.diff(part.qrels.indptr) > 0 for part in collections]))
    assert source.ids is not None
    labels: Mapping[str, pa.Array] = {key: strings(column.filter(judged)) for key, column in source.labels.items()}
    ids, texts = strings(source.ids.filter(judged)), strings(pc.fill_null(texts.filter(judged), ""))
    return Source(source.name, ids=ids, texts=texts, labels=labels)


def _picks(raw: pool.Pool, ids: pool.Hashes) -> Picks:
    """The documents of a pool whose ids have these hashes."""
    found = Picks.none()
    for number, block in enumerate(raw.blocks()):
        row = np.flatnonzero(np.isin(block.ids, ids)).astype(np.int32)
        part = np.full(len(row), number, np.int32)
        found = found.plus(Picks(part, row, np.zeros(len(row)), block.ids[row], block.contents[row]))
    return found
