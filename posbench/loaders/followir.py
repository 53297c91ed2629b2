"""FollowIR: BEIR's corpus.jsonl and queries.jsonl, with two instructions a query and judgements for either.

queries.jsonl: {"_id", "text", "instruction_og", "instruction_changed"}; qrels_og and qrels_changed hold SPLIT.tsv (or
parquet) each. A topic becomes two queries, ID-og and ID-changed, each its text, a blank and one instruction, as in the
official evaluation. top_ranked (.jsonl or parquet: qid, pid) names each topic's candidates: where it is there, every
other document is excluded, so that a ranker orders the candidates and nothing else.
"""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from posbench.errors import DataError
from posbench.loaders import beir, hub
from posbench.loaders.assemble import Judgements, Texts, assemble
from posbench.loaders.context import Context, subset_of
from posbench.loaders.lines import present, records
from posbench.loaders.tables import Rows, read_strings
from posbench.pmrr import CHANGED, ORIGINAL, TOPIC, TYPE
from posbench.recipe import DatasetRecipe
from posbench.types import Collection, Strings, index_of, pairs, strings

_FILES = (
    "corpus*",
    "queries*",
    "corpus/*",
    "queries/*",
    "qrels_og/*",
    "qrels_changed/*",
    "top_ranked*",
    "top_ranked/*",
)
_KINDS = {"og": ORIGINAL, "changed": CHANGED}


class _Query(msgspec.Struct):
    id: str = msgspec.field(name="_id")
    text: str
    instruction_og: str
    instruction_changed: str


class _Candidate(msgspec.Struct):
    qid: str
    pid: str


def from_recipe(recipe: DatasetRecipe, subset: str, base: Path, context: Context) -> list[Collection]:
    """The collection of one subset: a folder under the source, or without one a repository, ``NAME@REVISION``.

    Raises:
        RecipeError: there is no such subset.
        MissingPartError: the files cannot be had.
        DataError: a file is wrong.
    """
    subset = subset_of(recipe, context.name, subset)
    place, named = recipe.subsets[subset], context.named(f"{context.name}/{subset}")
    if recipe.source:
        found = hub.find(named.name, recipe.source, base, [f"{place}/{pattern}" for pattern in _FILES])
        return from_path(found.folder / place, named.named(named.name, **found.provenance))
    repository, _, revision = place.partition("@")
    found = hub.download(repository, revision or "main", _FILES)
    return from_path(found.folder, named.named(named.name, **found.provenance))


def from_path(path: Path, context: Context) -> list[Collection]:
    """The collection of a folder.

    Raises:
        DataError: a file is missing or wrong, or a topic has judgements for one of its instructions only.
    """
    docs = beir.texts_in(path, "corpus")
    split = context.split or "test"
    qrels = [_judged(beir.qrels_of(path / f"qrels_{kind}", split), kind) for kind in _KINDS]
    both = Judgements(
        strings(pa.concat_arrays([one.queries for one in qrels])),
        strings(pa.concat_arrays([one.docs for one in qrels])),
        np.concatenate([one.grades for one in qrels]),
        _joined([one.rows for one in qrels]),
    )
    collection = assemble(context, docs, _queries(path), both, only_judged=True)
    _refuse_halves(path, collection)
    return [_restricted(path, collection)]


def recognised(path: Path) -> bool:
    """Whether a folder has this layout."""
    return (path / "qrels_og").is_dir() and (path / "qrels_changed").is_dir()


def _queries(path: Path) -> Texts:
    """Both queries of each topic, the original ones first, with topic and kind as labels."""
    ids, texts, instructions, rows = _topics(path)
    n = len(ids)
    both = {
        "ids": pa.concat_arrays([_suffixed(ids, kind) for kind in _KINDS]),
        "texts": pa.concat_arrays([_join(texts, instructions[kind], " ") for kind in _KINDS]),
    }
    labels = {
        TOPIC: strings(pa.concat_arrays([ids, ids])),
        TYPE: strings([name for name in _KINDS.values() for _ in range(n)]),
    }
    return Texts(strings(both["ids"]), strings(both["texts"]), _joined([rows, rows]), labels)


def _topics(path: Path) -> tuple[Strings, Strings, dict[str, Strings], Rows]:
    """Ids, texts and instructions, aligned, and where they stood."""
    file = present(path / "queries.jsonl")
    if file:
        found, rows = records(file, _Query)
        by_kind = {"og": [row.instruction_og for row in found], "changed": [row.instruction_changed for row in found]}
        ids, texts = [row.id for row in found], [row.text for row in found]
        return strings(ids), strings(texts), {kind: strings(one) for kind, one in by_kind.items()}, rows
    files = sorted((path / "queries").glob("*.parquet"))
    if not files:
        raise DataError(f"{path}: neither queries.jsonl nor queries/*.parquet")
    columns, rows = read_strings(files, ["_id"], ["text", *(f"instruction_{kind}" for kind in _KINDS)])
    return columns["_id"], columns["text"], {kind: columns[f"instruction_{kind}"] for kind in _KINDS}, rows


def _judged(found: Judgements, kind: str) -> Judgements:
    return replace(found, queries=_suffixed(found.queries, kind))


def _suffixed(ids: Strings, kind: str) -> Strings:
    return _join(ids, _text(f"-{kind}"), "")


def _join(first: Strings, second: Any, between: str) -> Strings:
    return strings(pc.binary_join_element_wise(first, second, _text(between)))


def _text(text: str) -> Any:
    return pa.scalar(text, pa.large_string())


def _joined(parts: Sequence[Rows]) -> Rows:
    """The places of the rows of several readings, one after the other."""
    numbers = [
        np.concatenate([np.arange(1, count + 1) for count in part.counts]) if part.numbers is None else part.numbers
        for part in parts
    ]
    files = tuple(file for part in parts for file in part.files)
    counts = tuple(count for part in parts for count in part.counts)
    return Rows(files, counts, parts[0].unit, np.concatenate(numbers))


def _refuse_halves(path: Path, collection: Collection) -> None:
    """Refuses topics of which only one query is judged: their p-MRR is not known."""
    topics = collection.query_labels[TOPIC].to_pylist()
    alone = sorted({topic for topic in topics if topics.count(topic) != len(_KINDS)})
    if alone:
        raise DataError(
            f"{path}: topic {alone[0]!r} is judged for one of its two instructions only; expected it in both qrels_og "
            "and qrels_changed"
        )


def _restricted(path: Path, collection: Collection) -> Collection:
    """The collection with all but each topic's candidates excluded, where candidates are given."""
    found = _candidates(path)
    if found is None:
        return collection
    topics, doc = found[0], index_of(collection.doc_ids, found[1])
    own = collection.query_labels[TOPIC]
    names = strings(pc.unique(own))
    place, row = index_of(names, topics), index_of(names, own)
    known = (place >= 0) & (doc >= 0)
    by_topic = np.zeros((len(names), len(collection.doc_ids)), bool)
    by_topic[place[known], doc[known]] = True
    none = sorted(names.filter(pa.array(~by_topic.any(axis=1))).to_pylist())
    if none:
        raise DataError(f"{path}: top_ranked has no candidate for topic {none[0]!r}; expected some for each")
    return replace(collection, excluded=pairs(*np.nonzero(~by_topic[row])))


def _candidates(path: Path) -> tuple[Strings, Strings] | None:
    """Aligned topics and documents of top_ranked; None where there is no such file."""
    file = present(path / "top_ranked.jsonl")
    if file:
        found, _ = records(file, _Candidate)
        return strings([row.qid for row in found]), strings([row.pid for row in found])
    files = sorted(path.glob("top_ranked/*.parquet"))
    if not files:
        return None
    columns, _ = read_strings(files, ["qid", "pid"])
    return columns["qid"], columns["pid"]
