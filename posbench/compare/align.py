"""Puts the per-query values of several reports into the same order of queries."""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from posbench import bias, pmrr
from posbench.errors import DataError, UsageError
from posbench.manifest import selection_text
from posbench.types import Float64, Int64, Report, Strings, index_of, strings

_BETWEEN = "\x1f"  # joins dataset and query id to one key; no id holds it
_PLACE = ("doc_id", "span_start", "span_end", "doc_chars", "doc_tokens")


@dataclass(frozen=True)
class Aligned:
    """Reports over the same queries in the same order.

    ``values`` float64[Q, R, M]; ``clusters`` int64[Q], the document of each query's evidence where it is known, else
    the query itself, and ``strata`` int64[Q], its domain; ``left_out`` the queries that not all reports have, by name.
    """

    names: tuple[str, ...]
    measures: tuple[str, ...]
    reports: tuple[Report, ...]
    values: Float64
    clusters: Int64
    strata: Int64
    resampled: str
    left_out: Mapping[str, int]
    notes: tuple[str, ...]


def align(reports: Mapping[str, Report], measures: Sequence[str] = (), *, common: bool = False) -> Aligned:
    """Lines up the reports by dataset and query id.

    Args:
        reports: at least two, by the name that each is shown with.
        measures: which; empty: all that every report has.
        common: compare over the queries that all share, rather than refuse reports that differ in them.

    Raises:
        UsageError: fewer than two reports, a measure that one lacks, queries that not all share, or a selection beside
            what is not the same selection.
        DataError: a query stands twice in a report, or a value is not a number.
    """
    if len(reports) < 2:
        raise UsageError(f"found {len(reports)} result to compare; expected two or more")
    _refuse_mixed(reports)
    names = tuple(reports)
    chosen = _measures(reports, measures)
    keys = {name: _keys(name, report) for name, report in reports.items()}
    shared, left_out = _shared(keys, common)
    lined = tuple(
        replace(report, queries=report.queries.take(pa.array(index_of(keys[name], shared))))
        for name, report in reports.items()
    )
    values = np.stack([[report.values(measure) for measure in chosen] for report in lined]).transpose(2, 0, 1)
    _refuse_nan(values, names, chosen, shared)
    clusters, kind = clusters_of(lined[0].queries)
    strata = strata_of(lined[0].queries)
    return Aligned(names, chosen, lined, values, clusters, strata, kind, left_out, _notes(reports))


def same_places(aligned: Aligned) -> bool:
    """Whether all reports say the same of where the evidence stands."""
    tables = [report.queries for report in aligned.reports]
    columns = [name for name in _PLACE if name in tables[0].column_names]
    return bool(columns) and all(
        set(columns) <= set(table.column_names)
        and all(table[name].combine_chunks().equals(tables[0][name].combine_chunks()) for name in columns)
        for table in tables[1:]
    )


def _measures(reports: Mapping[str, Report], wanted: Sequence[str]) -> tuple[str, ...]:
    every = [set(report.measures) for report in reports.values()]
    shared = [name for name in next(iter(reports.values())).measures if all(name in some for some in every)]
    for measure in wanted:
        for name, report in reports.items():
            if measure not in report.measures:
                raise UsageError(
                    f"{name} has no measure {measure!r}; it has {', '.join(report.measures)}; "
                    f"`posbench eval --measures {measure}` adds it"
                )
    if not wanted and not shared:
        found = "; ".join(f"{name}: {', '.join(report.measures)}" for name, report in reports.items())
        raise UsageError(f"the results share no measure ({found}); `posbench eval --measures` adds some")
    return tuple(wanted) or tuple(shared)


def keys_of(queries: pa.Table) -> Strings:
    """What tells the queries of a report apart: dataset and id."""
    columns = [queries[column].cast(pa.string()) for column in ("dataset", "query_id")]
    return strings(pc.binary_join_element_wise(*columns, _BETWEEN))


def _keys(name: str, report: Report) -> Strings:
    keys = keys_of(report.queries)
    distinct = pc.count_distinct(keys).as_py()
    if distinct != len(keys):
        raise DataError(f"{name}: {len(keys) - distinct:,} of {len(keys):,} queries stand twice; expected each once")
    return keys


def _shared(keys: Mapping[str, Strings], common: bool) -> tuple[Strings, dict[str, int]]:
    """The keys that all have, in the order of the first, and how many further ones each has."""
    shared = next(iter(keys.values()))
    for other in keys.values():
        shared = shared.filter(pc.is_in(shared, value_set=other))
    left_out = {name: len(column) - len(shared) for name, column in keys.items() if len(column) > len(shared)}
    if left_out and not (common and len(shared)):
        counts = ", ".join(f"{name} {len(column):,}" for name, column in keys.items())
        advice = "--common compares over those" if len(shared) else "compare results of one dataset"
        raise UsageError(f"the results differ in their queries ({counts}; {len(shared):,} shared by all); {advice}")
    return shared, left_out


def _refuse_nan(values: Float64, names: Sequence[str], measures: Sequence[str], keys: Strings) -> None:
    wrong = np.argwhere(~np.isfinite(values))
    if len(wrong):
        q, r, m = wrong[0]
        query = keys[int(q)].as_py().split(_BETWEEN)[-1]
        raise DataError(
            f"{names[r]}: {measures[m]} of query {query!r} is {values[q, r, m]}; expected a finite number; "
            "leave the measure out with --measures"
        )


def strata_of(table: pa.Table) -> Int64:
    """What queries are resampled within: their domain where it is known, else their dataset."""
    return bias.codes(table, "domain" if "domain" in table.column_names else "dataset")


def clusters_of(table: pa.Table) -> tuple[Int64, str]:
    """Queries whose evidence is in one document belong together; a query without evidence stands alone."""
    n = len(table)
    alone = np.arange(n, dtype=np.int64)
    if "source_doc" in table.column_names:  # composed: the same queries stand in every part
        return bias.codes(table, "source_doc"), "document"
    topics = pmrr.topics(table)
    if topics is not None:
        return topics, "topic"
    if "doc_id" not in table.column_names:
        return alone, "query"
    known = ~table["doc_id"].is_null().to_numpy()
    document = bias.codes(table, "dataset") * (n + 1) + bias.codes(table, "doc_id")
    unit = np.where(known, document, -1 - alone)
    return np.unique(unit, return_inverse=True)[1].astype(np.int64), "document" if known.any() else "query"


def _refuse_mixed(reports: Mapping[str, Report]) -> None:
    """A selection is another dataset than the full collection, though its queries stand in both."""
    datasets = {name: report.header.get("dataset", {}) for name, report in reports.items()}
    if not any("selection" in dataset for dataset in datasets.values()) or len(_contents(reports)) < 2:
        return
    found = "; ".join(
        f"{name} on {selection_text(dataset) or 'the whole of ' + str(dataset.get('name', '?'))}"
        for name, dataset in datasets.items()
    )
    raise UsageError(
        f"scores on a selection do not compare with scores on anything else ({found}); compare results of one"
    )


def _contents(reports: Mapping[str, Report]) -> Counter[tuple[str, ...]]:
    """The fingerprints of what each report's ranker searched, counted."""
    return Counter(
        tuple(part.get("fingerprint", "") for part in report.header.get("dataset", {}).get("parts", ()))
        for report in reports.values()
    )


def _notes(reports: Mapping[str, Report]) -> tuple[str, ...]:
    """What a reader should know of the results beside their figures."""
    if len(_contents(reports)) < 2:
        return ()
    return (
        "the results were computed on collections of different content: differences are of ranker and collection "
        "together",
    )
