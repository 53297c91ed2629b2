"""What each part of a document adds to a score, as a curve over the document: per pair, then over all pairs.

The curve of one pair is PosIR's (arXiv 2601.08363, visualize.py): magnitudes cut at their 99th percentile, divided by
it, read at 100 points by linear interpolation. Mass by fifths and the centroid come from the same cut magnitudes, all
of them: each unit holds an equal width of what the model reads, so that an even saliency gives .2 and .5 exactly.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import ArrayLike

from posbench import bias, stats
from posbench.types import Float64, Int32, Report

POINTS = 100
FIFTHS = ("0-20%", "20-40%", "40-60%", "60-80%", "80-100%")
MASS = tuple(f"mass:{fifth}" for fifth in FIFTHS)
REST = tuple(f"rest:{fifth}" for fifth in FIFTHS)
MEASURES = ("centroid", *MASS, "centroid:rest", *REST, "first", "read")
"""Of each pair: ``rest`` is without the first unit, ``first`` its share before the cut at the 99th percentile, ``read``
the share of the document's characters that the model reads."""

_CUT = 99


@dataclass(frozen=True)
class Attribution:
    """What each unit (token or segment) of one document adds to its score for one query.

    ``values`` float[n], signed or a norm; ``spans`` int32[n, 2], the characters of each unit; ``score`` of the whole
    document, ``baseline`` of what it is compared with (NaN where the method has none).
    """

    values: Float64
    spans: Int32
    score: float
    baseline: float = float("nan")

    @property
    def usable(self) -> bool:
        """Whether there is a curve: two units or more, and something after the first."""
        return len(self.values) > 1 and bool(np.abs(self.values[1:]).max() > 0)


def magnitudes(values: ArrayLike) -> Float64:
    """|values| cut at their 99th percentile and divided by it: float64[n] in [0, 1]."""
    size = np.abs(np.asarray(values, np.float64))
    top = float(np.percentile(size, _CUT)) or float(size.max())
    return np.minimum(size, top) / top


def curve(size: Float64) -> Float64:
    """Magnitudes at 100 points from the first unit to the last: float64[100]."""
    return np.interp(np.linspace(0, 1, POINTS), np.linspace(0, 1, len(size)), size)


def masses(size: Float64, parts: int = len(FIFTHS)) -> Float64:
    """The share of all magnitude in each of some equal parts: float64[parts], sum 1; a unit on an edge is divided."""
    below = np.concatenate([[0.0], np.cumsum(size)]) / size.sum()
    return np.diff(np.interp(np.linspace(0, 1, parts + 1), np.arange(len(below)) / len(size), below))


def centroid(size: Float64) -> float:
    """The mean place of the magnitude, 0 the start and 1 the end of what is read."""
    return float(size @ (np.arange(len(size)) + 0.5) / len(size) / size.sum())


def row(found: Attribution, doc_chars: int, evidence: tuple[int, int] | None) -> dict[str, Any]:
    """The measures and columns of one pair.

    Args:
        found: a usable attribution.
        doc_chars: characters of the whole document.
        evidence: first and end character of the evidence, or None where that is not known for this document.

    Returns:
        ``MEASURES``; ``curve`` float[100]; ``units`` (how many); ``score``, ``baseline``, ``attributed`` (the sum of
        the signed values); ``evidence`` (its mean magnitude over all units' mean; NaN where it is not read,
        None where it is not known).
    """
    size, rest = magnitudes(found.values), magnitudes(found.values[1:])
    raw = np.abs(found.values)
    end = int(found.spans[:, 1].max())
    return {
        "centroid": centroid(size),
        **dict(zip(MASS, masses(size).tolist(), strict=True)),
        "centroid:rest": centroid(rest),
        **dict(zip(REST, masses(rest).tolist(), strict=True)),
        "first": float(raw[0] / raw.sum()),
        "read": end / doc_chars,
        "curve": curve(size),
        "units": len(size),
        "score": found.score,
        "baseline": found.baseline,
        "attributed": float(np.sum(found.values)),
        "evidence": _lift(size, found.spans, evidence),
    }


def _lift(size: Float64, spans: Int32, evidence: tuple[int, int] | None) -> float | None:
    if evidence is None:
        return None
    inside = (spans[:, 1] > evidence[0]) & (spans[:, 0] < evidence[1])
    return float(size[inside].mean() / size.mean()) if inside.any() else float("nan")


def summary(report: Report, *, seed: int = 0) -> dict[str, Any]:
    """Everything that a saliency report shows, JSON-serialisable.

    Returns:
        ``points`` (100 places in [0, 1]), ``mean``, ``low``, ``high``, ``sd`` (the curve over pairs, its interval, the
        spread of pairs); ``mass`` and ``rest``, without the first unit: a figure each fifth; ``centroid``,
        ``centroid_rest``, ``first``, ``read``, ``evidence``: a figure each. A figure is ``mean``, ``interval`` and,
        where there is an even value to compare with, ``even`` and ``p`` (``p_holm`` over the five fifths): two-sided,
        from the same resamples. ``interval`` and ``p`` are None with fewer than 10 documents. ``completeness``: mean
        and largest error of the sum of the attributions against the score, or None; ``pairs``, ``documents``,
        ``evidence_read`` (pairs whose evidence is read, at least in part; None
        where it is known of none) and ``verdict``, plain sentences.
    """
    table = report.queries
    curves = np.stack(table["curve"].to_numpy(zero_copy_only=False)).astype(np.float64)
    figures = np.stack([*(report.values(name) for name in MEASURES), table["evidence"].to_numpy()], axis=1)
    values = np.concatenate([curves, figures], axis=1)
    clusters = np.unique(bias.codes(table, "dataset") * len(table) + bias.codes(table, "doc_id"), return_inverse=True)[
        1
    ]
    domain = "domain" if "domain" in table.column_names else "dataset"
    documents = int(clusters.max()) + 1
    drawn = stats.replicate_means(values, clusters.astype(np.int64), bias.codes(table, domain), seed=seed)
    low, high = stats.percentile_interval(drawn)
    sure = documents >= bias.MIN_QUERIES

    def figure(name: str, even: float | None = None) -> dict[str, Any]:
        at = POINTS + [*MEASURES, "evidence"].index(name)
        some = ~np.isnan(values[:, at])
        enough = len(np.unique(clusters[some])) >= bias.MIN_QUERIES
        found: dict[str, Any] = {
            "mean": float(values[some, at].mean()) if some.any() else None,
            "interval": [float(low[at]), float(high[at])] if enough else None,
        }
        if even is not None:
            found |= {"even": even, "p": _two_sided(drawn[:, at], even) if enough else None}
        return found

    known = len(table) - table["evidence"].null_count
    even_first = float((1 / table["units"].to_numpy()).mean())
    content: dict[str, Any] = {
        **{name: report.header.get(name) for name in ("method", "selection")},
        "pairs": len(table),
        "documents": documents,
        "points": np.linspace(0, 1, POINTS).tolist(),
        "mean": curves.mean(0).tolist(),
        "low": low[:POINTS].tolist() if sure else None,
        "high": high[:POINTS].tolist() if sure else None,
        "sd": curves.std(0).tolist(),
        "mass": _family([figure(name, 1 / len(FIFTHS)) for name in MASS]),
        "rest": _family([figure(name, 1 / len(FIFTHS)) for name in REST]),
        "centroid": figure("centroid", 0.5),
        "centroid_rest": figure("centroid:rest", 0.5),
        "first": figure("first", even_first),
        "read": figure("read"),
        "evidence": figure("evidence", 1.0),
        "evidence_read": None if known == 0 else int(np.count_nonzero(~np.isnan(figures[:, -1]))),
        "completeness": _completeness(table),
    }
    return content | {"verdict": _verdict(content)}


def _two_sided(drawn: Float64, even: float) -> float:
    """Twice the smaller share of resamples on either side of the even value, at least 2 / (B + 1)."""
    drawn = drawn[~np.isnan(drawn)]
    beyond = min(np.count_nonzero(drawn <= even), np.count_nonzero(drawn >= even))
    return float(min(1.0, 2 * (beyond + 1) / (len(drawn) + 1)))


def _family(fifths: list[dict[str, Any]]) -> list[dict[str, Any]]:
    if fifths[0]["p"] is not None:
        for found, p in zip(fifths, stats.holm([found["p"] for found in fifths]), strict=True):
            found["p_holm"] = p
    return fifths


def _completeness(table: pa.Table) -> dict[str, float] | None:
    """How far the sums of the attributions lie from score - baseline; None for methods that do not promise it."""
    baseline = table["baseline"].to_numpy()
    if np.isnan(baseline).all():
        return None
    error = np.abs(table["attributed"].to_numpy() - (table["score"].to_numpy() - baseline))
    return {"mean_error": float(error.mean()), "max_error": float(error.max())}


def _verdict(content: Mapping[str, Any]) -> list[str]:
    found = []
    for name, what in (("centroid", "all units"), ("centroid_rest", "without the first unit")):
        figure = content[name]
        if figure["p"] is None:
            return [f"{content['documents']} documents are too few for intervals; {bias.MIN_QUERIES} are needed"]
        if figure["p"] >= 0.05:
            found.append(f"{what}: no lean to the start or the end that can be told from an even saliency")
            continue
        side = "start" if figure["mean"] < 0.5 else "end"
        found.append(f"{what}: saliency leans to the {side} of what is read (centroid {figure['mean']:.3f}, even .5)")
    return found
