"""What a study of mini-benchmarks is of: the queries that the stored results share, their values, texts and strata."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from posbench import bias
from posbench.compare import align
from posbench.compare.scores import LEVEL, compare_means
from posbench.dsir import noise
from posbench.dsir.features import Features, FeatureSpec, featurise
from posbench.dsir.subset import texts_of_queries
from posbench.errors import UsageError
from posbench.store import Result
from posbench.stored import stored_run
from posbench.studies.benchmark_selection import BANDS, BETWEEN, bands, places_of
from posbench.studies.mini.draws import Facts
from posbench.studies.mini.trials import Queries
from posbench.types import Collection, Float64, Int64, Run, Strings, index_of, strings


@dataclass(frozen=True)
class Subject:
    """``results`` by the name of the ranker, over the same queries of ``collections``.

    ``table`` has a row a query, ``part`` int64[Q] and ``row`` int64[Q] say where in the collections it stands, and
    ``known`` lists the pairs of rankers that differ after Holm's correction: (better, worse).
    """

    results: Mapping[str, Result]
    collections: Sequence[Collection]
    measure: str
    table: pa.Table
    part: Int64
    row: Int64
    queries: Queries
    known: tuple[tuple[str, str], ...]

    @property
    def rankers(self) -> tuple[str, ...]:
        """Their names."""
        return tuple(self.results)

    @cached_property
    def strata(self) -> dict[str, Int64]:
        """Codes int64[Q] by what the queries differ in: part, domain, language, length and position, where they do."""
        columns = {
            name: bias.codes(self.table, column) for name, column in _LABELS if column in self.table.column_names
        }
        columns["length"] = bands(self._lengths)
        columns["position"] = self._positions
        return {name: codes for name, codes in columns.items() if len(np.unique(codes)) > 1}

    def texts(self, by: str) -> Strings:
        """The text of each query, as ``dsir.subset.texts_of_queries`` has it."""
        each = [texts_of_queries(part, by) for part in self.collections]
        first = np.cumsum([0, *map(len, each)])
        return strings(pa.concat_arrays(each).take(pa.array(first[self.part] + self.row)))

    def facts(self, by: str, spec: FeatureSpec, target: Features | None, seed: int) -> Facts:
        """All that a choice may depend on; without a target it is to look like all queries together."""
        features = featurise(self.texts(by), spec)
        return Facts(self.strata, features, target or features, noise.keys(self.queries.ids, seed))

    def runs(self, part: int) -> list[Run]:
        """The stored runs of one part, a ranker each."""
        return [stored_run(result.run(), self.collections[part]) for result in self.results.values()]

    @cached_property
    def _lengths(self) -> Float64:
        return np.asarray(pc.utf8_length(self.texts("documents")).to_numpy(zero_copy_only=False), np.float64)

    @property
    def _positions(self) -> Int64:
        """Fifths of the document where the evidence stands, a band of its own where that is unknown."""
        first = np.cumsum([0, *(len(part.query_ids) for part in self.collections)])
        place = np.concatenate([places_of(part) for part in self.collections])[first[self.part] + self.row]
        known = np.nan_to_num(place)
        return np.where(np.isnan(place), BANDS, np.minimum(known * BANDS, BANDS - 1)).astype(np.int64)


_LABELS = (("part", "dataset"), ("domain", "domain"), ("language", "language"))


def subject(results: Mapping[str, Result], collections: Sequence[Collection], measure: str, seed: int = 0) -> Subject:
    """Lines up stored results and the collections that they searched.

    Raises:
        UsageError: fewer than three results, results that differ in their queries, or other collections.
    """
    if len(results) < 3:
        raise UsageError(f"found {len(results)} rankers ({', '.join(results)}); expected results of three or more")
    _check_content(results, collections)
    aligned = align({name: result.report() for name, result in results.items()}, (measure,))
    table = aligned.reports[0].queries
    part, row = _places(table, collections)
    keys = pc.binary_join_element_wise(table["dataset"].cast(pa.string()), table["query_id"], BETWEEN)
    known = [
        (pair["first"], pair["second"]) if pair["difference"] > 0 else (pair["second"], pair["first"])
        for pair in compare_means(aligned, seed=seed)[0]["pairs"]
        if pair["p_holm"] < LEVEL
    ]
    ahead = _ahead(aligned.names, known)
    queries = Queries(aligned.values[:, :, 0], strings(keys), aligned.clusters, ahead)
    return Subject(results, collections, measure, table, part, row, queries, tuple(known))


def _check_content(results: Mapping[str, Result], collections: Sequence[Collection]) -> None:
    here = [part.fingerprint for part in collections]
    for name, result in results.items():
        searched = [part["fingerprint"] for part in result.manifest["dataset"]["parts"]]
        if searched != here:
            dataset = result.manifest["dataset"]["name"]
            raise UsageError(
                f"{name} searched {dataset} when its content was another; evaluate it again, or name the dataset and "
                "its options as they were (--dataset, --documents, --split)"
            )


def _places(table: pa.Table, collections: Sequence[Collection]) -> tuple[Int64, Int64]:
    """The part and the row in it of each query of the table."""
    part, row = np.full(len(table), -1, np.int64), np.full(len(table), -1, np.int64)
    for number, collection in enumerate(collections):
        mine = np.flatnonzero(pc.equal(table["dataset"].cast(pa.string()), collection.name).to_numpy())
        part[mine] = number
        row[mine] = index_of(collection.query_ids, strings(table["query_id"].take(pa.array(mine))))
    return part, row


def _ahead(names: Sequence[str], known: Sequence[tuple[str, str]]) -> Float64:
    """Which of each pair is ahead for certain, 0 where neither is: float64[P], as ``agreement.pairs`` lists pairs."""
    found = [
        1.0 if (a, b) in known else -1.0 if (b, a) in known else 0.0
        for i, a in enumerate(names)
        for b in names[i + 1 :]
    ]
    return np.array(found)
