"""The three ways to compose: evidence among filler, evidence moved in its own document, documents mirrored."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from posbench import __version__
from posbench.compose import documents, parts
from posbench.compose.evidence import Chosen, Passage, choose
from posbench.compose.filler import Count, Pool
from posbench.compose.parts import Built, Cell
from posbench.compose.plan import COPY, MIRRORED, MOST, OWN, TOLERANCE, Plan
from posbench.compose.segments import join
from posbench.errors import UsageError
from posbench.types import Collection, Evidence, Int64, Progress, Run, no_progress, strings


def compose(
    collection: Collection,
    plan: Plan,
    count: Count,
    *,
    candidates: Run | None = None,
    progress: Progress = no_progress,
) -> list[Collection]:
    """Composes one collection.

    Args:
        collection: a collection with evidence spans, or (``insert`` only) any with judgements.
        plan: how.
        count: the tokens of texts, without prompt and special tokens.
        candidates: a ranking of the collection's documents, for ``hard`` filler.
        progress: shows the work.

    Returns:
        One collection a cell (length, position; or original and mirrored), each to be searched separately. All have
        the same queries, with the labels ``method``, ``length``, ``position`` and ``source_doc``. The first one's
        notes count what was left out, by reason.

    Raises:
        UsageError: the collection cannot be composed so, or no query is left.
    """
    if "source_doc" in collection.query_labels:
        raise UsageError(f"{collection.name} is composed already; compose from the collection that it was made of")
    if plan.method != "insert" and collection.evidence is None:
        raise UsageError(
            f"{collection.name} does not say where in its documents the evidence stands, so nothing can be moved or "
            "mirrored; --method insert takes whole relevant documents as evidence"
        )

    def fits(texts: Sequence[str]) -> NDArray[np.bool_]:
        return np.asarray(count(texts) <= MOST * min(plan.lengths))

    inserted = plan.method == "insert"
    chosen = choose(collection, most=plan.queries, seed=plan.seed, keep_filler=inserted, fits=fits)
    make = {"insert": _insert, "move": _move, "mirror": _mirror}[plan.method]
    return make(collection, plan, count, chosen, candidates, progress)


def _insert(
    collection: Collection, plan: Plan, count: Count, chosen: Chosen, candidates: Run | None, progress: Progress
) -> list[Collection]:
    small, large = _small_enough(chosen.passages, count, MOST * min(plan.lengths))
    pool = Pool(collection, chosen, plan.filler, count, plan.seed, candidates)
    advance = progress("composing documents", len(small) * len(plan.lengths))
    kept, filled, short = [], [], 0
    for number, passage in enumerate(small):
        found = [pool.around(number, passage, tokens) for tokens in plan.lengths]
        pieces = [part for part in found if part is not None]
        if len(pieces) == len(found):
            kept.append(passage)
            filled.append(pieces)
        else:
            short += len(passage.queries)
        advance(len(plan.lengths))
    lost = {"queries_with_evidence_too_long": large, "queries_without_enough_filler": short}
    built = _built(collection, plan, kept, chosen.spanned, count, lost)
    placed = [
        [documents.place(passage, pieces[n], count, plan.positions) for n in range(len(plan.lengths))]
        for passage, pieces in zip(kept, filled, strict=True)
    ]
    notes = parts.dropped(
        chosen,
        {
            **lost,
            "sentences_left_out_as_copies_of_evidence": pool.copies,
            "documents_filled_up_at_random": pool.elsewhere,
        },
    )
    cells = []
    for n, tokens in enumerate(plan.lengths):
        more = _distractors(pool, plan, tokens)
        for k, position in enumerate(plan.positions):
            cells.append(Cell(str(tokens), f"{position:g}", [document[n][k] for document in placed], more))
    return [built.part(cell, {} if i else notes) for i, cell in enumerate(cells)]


def _distractors(pool: Pool, plan: Plan, tokens: int) -> dict[str, str]:
    """Documents of filler only, the same at every position."""
    found = {}
    for n in range(plan.distractors or 0):
        pieces = pool.alone(1_000_000_000 + n, tokens)
        if pieces is None:
            raise UsageError(f"the filler does not make documents of {tokens} tokens; choose fewer --distractors")
        found[f"filler-{n}"] = join(pieces)[0]
    return found


def _small_enough(passages: Sequence[Passage], count: Count, most: float) -> tuple[list[Passage], int]:
    """The passages of at most so many tokens, and how many queries the others have."""
    tokens = count([passage.text for passage in passages])
    small = [passage for passage, n in zip(passages, tokens, strict=True) if n <= most]
    return small, sum(len(passage.queries) for passage, n in zip(passages, tokens, strict=True) if n > most)


def _move(
    collection: Collection, plan: Plan, count: Count, chosen: Chosen, candidates: Run | None, progress: Progress
) -> list[Collection]:
    one, rivals = _one_a_document(chosen.passages, plan.seed)
    advance = progress("moving evidence", len(one))
    kept, placed, short = [], [], 0
    for passage in one:
        pieces = documents.others(collection.docs[passage.doc].as_py(), passage)
        if len(pieces) >= len(plan.positions) - 1:
            kept.append(passage)
            placed.append(documents.place(passage, pieces, count, plan.positions))
        else:
            short += len(passage.queries)
        advance(1)
    lost = {"queries_whose_document_moves_other_evidence": rivals, "queries_with_too_short_a_document": short}
    built = _built(collection, plan, kept, chosen.spanned, count, lost)
    pool = np.flatnonzero(~chosen.relevant)
    unused = _some(pool, plan)
    more = {collection.doc_ids[doc].as_py(): collection.docs[doc].as_py() for doc in unused}
    notes = parts.dropped(chosen, lost)
    return [
        built.part(Cell(OWN, f"{position:g}", [places[k] for places in placed], more), {} if k else notes)
        for k, position in enumerate(plan.positions)
    ]


def _some(pool: Int64, plan: Plan) -> list[int]:
    """As many of these documents as the plan wants, by its seed; all where it does not say."""
    if plan.distractors is not None and plan.distractors < len(pool):
        pool = np.sort(np.random.default_rng([plan.seed, 2]).choice(pool, plan.distractors, replace=False))
    found: list[int] = pool.tolist()
    return found


def _one_a_document(passages: Sequence[Passage], seed: int) -> tuple[list[Passage], int]:
    """One passage a document, chosen by the seed, and the number of queries that lose theirs.

    A document with one passage moved still holds the others; with two composed from it, both would answer both.
    """
    rng = np.random.default_rng([seed, 3])
    by_doc: dict[int, list[Passage]] = {}
    for passage in passages:
        by_doc.setdefault(passage.doc, []).append(passage)
    kept = [group[int(rng.integers(len(group)))] for group in by_doc.values()]
    return kept, sum(len(passage.queries) for passage in passages) - sum(len(passage.queries) for passage in kept)


def _mirror(
    collection: Collection, plan: Plan, count: Count, chosen: Chosen, candidates: Run | None, progress: Progress
) -> list[Collection]:
    by_doc: dict[int, list[Passage]] = {}
    for passage in chosen.passages:
        by_doc.setdefault(passage.doc, []).append(passage)
    used = sorted({*np.flatnonzero(chosen.relevant).tolist(), *_some(np.flatnonzero(~chosen.relevant), plan)})
    advance = progress("mirroring documents", len(used))
    texts: tuple[list[str], list[str]] = ([], [])
    rows: list[
        tuple[int, int, int, int, int, int]
    ] = []  # query, document, size, start, mirrored start, source document
    short = 0
    for number, doc in enumerate(used):
        mine = [
            (query, span)
            for passage in by_doc.get(doc, [])
            for query, span in zip(passage.queries, passage.spans, strict=True)
        ]
        pieces, places = documents.mirror(collection.docs[doc].as_py(), [span for _, span in mine])
        both = [join(pieces), join(pieces[::-1])]
        for text, (whole, _) in zip(texts, both, strict=True):
            text.append(whole)
        advance(1)
        if len(pieces) < 2:
            short += len(mine)
            continue
        for (query, (start, end)), (piece, offset) in zip(mine, places, strict=True):
            first = both[0][1][piece] + offset
            last = both[1][1][len(pieces) - 1 - piece] + offset
            rows.append((query, number, end - start, first, last, doc))
    lost = {"queries_with_a_document_of_one_sentence": short}
    built = _built(collection, plan, list(chosen.passages) if rows else [], True, count, lost)
    return _both(collection, built, used, texts, sorted(rows), parts.dropped(chosen, lost))


def _both(
    collection: Collection,
    built: Built,
    used: Sequence[int],
    texts: tuple[list[str], list[str]],
    rows: Sequence[tuple[int, ...]],
    notes: Mapping[str, int],
) -> list[Collection]:
    """The original and the mirrored part."""
    query, doc, size, *starts, origin = (np.array(column, np.int64) for column in zip(*rows, strict=True))
    new_index = np.full(len(collection.docs), -1, np.int64)
    new_index[list(used)] = np.arange(len(used))
    qrels = parts.only(collection.qrels, query, new_index)
    found = []
    for k, name in enumerate(MIRRORED):
        lengths, tokens = _lengths(texts[k], doc, built.count)
        columns = (np.arange(len(query)), doc, starts[k], starts[k] + size, lengths, tokens)
        evidence = Evidence(*(np.asarray(column, np.int32) for column in columns))
        ids = strings(collection.doc_ids.take(pa.array(used)))
        source_docs = strings(collection.doc_ids.take(pa.array(origin)))
        cell = Cell(OWN, name, [], {})
        args = (ids, strings(texts[k]), query, qrels, evidence, source_docs)
        found.append(built.collection(cell, *args, {} if k else notes))
    return found


def _lengths(texts: Sequence[str], doc: Any, count: Count) -> tuple[Any, Any]:
    """Characters and tokens of each row's document."""
    needed, inverse = np.unique(doc, return_inverse=True)
    some = [texts[int(n)] for n in needed]
    return np.array([len(text) for text in some])[inverse], np.asarray(count(some))[inverse]


def _built(
    collection: Collection,
    plan: Plan,
    kept: Sequence[Passage],
    spanned: bool,
    count: Count,
    lost: Mapping[str, int],
) -> Built:
    """What the parts share.

    Raises:
        UsageError: nothing is left to compose.
    """
    if not kept:
        reasons = ", ".join(f"{n:,} {reason}" for reason, n in lost.items() if n) or "no query was chosen"
        raise UsageError(f"{collection.name}: no query is left to compose: {reasons}; choose other lengths or queries")
    source = {
        "composed": {
            "of": {"name": collection.name, "fingerprint": collection.fingerprint, "source": dict(collection.source)},
            "plan": {name: getattr(plan, name) for name in plan.__dataclass_fields__},
            "rules": {"tolerance": TOLERANCE, "most_evidence": MOST, "copy": COPY},
            "posbench": __version__,
        },
        "licence": collection.source.get("licence", ""),
    }
    return Built(collection, kept, spanned, plan.method, source, count)
