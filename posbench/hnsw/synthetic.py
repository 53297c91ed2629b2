"""Made vectors whose intrinsic dimension and clusters are known. Queries are held out of the same distribution.

Every kind is a set of clusters, each Gaussian in a subspace through its centre: coefficients are standard Gaussian on a
random orthonormal basis, so that a cluster of dimension m has a radius of about sqrt(m). A vector falls into any
cluster with equal chance, and the documents stand in no order. ``single-subspace``, one cluster, is the construction
of Elliott and Clark (ICTIR 2024, arXiv 2405.17813).
"""

import inspect
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from posbench.errors import UsageError, unknown_name
from posbench.hnsw.vectors import VectorSet, normalised
from posbench.types import Float32, Int64


@dataclass(frozen=True)
class Plan:
    """How a set of vectors is made.

    ``width`` of the vectors, ``dimensions`` of the clusters, ``distance`` of the centres from the origin, and whether
    the vectors are brought to ``unit`` length.
    """

    width: int
    dimensions: Sequence[int]
    distance: float
    unit: bool = False


def single_subspace(width: int = 128, dimension: int = 32) -> Plan:
    """One Gaussian in a subspace of ``dimension``, through the origin."""
    return Plan(width, [dimension], 0.0)


def subspaces(
    width: int = 128, number: int = 20, low: int = 4, high: int = 64, spread: float = 10.0, unit: bool = False
) -> Plan:
    """``number`` clusters whose dimensions rise evenly from ``low`` to ``high``, centred ``spread`` from the origin."""
    return Plan(width, [round(m) for m in np.linspace(low, high, max(0, number)).tolist()], spread, unit)


def tight_clusters(width: int = 128, number: int = 200, spread: float = 10.0) -> Plan:
    """``number`` clusters of full dimension, centred ``spread`` times their radius sqrt(width) from the origin."""
    return Plan(width, [width] * number, spread * max(0, width) ** 0.5)


def mixture(width: int = 128, number: int = 20, spread: float = 0.2) -> Plan:
    """As tight clusters, but overlapping: a set on which order should hardly matter."""
    return tight_clusters(width, number, spread)


KINDS: Mapping[str, Callable[..., Plan]] = {
    "single-subspace": single_subspace,
    "subspaces": subspaces,
    "tight-clusters": tight_clusters,
    "mixture": mixture,
}


def generate(kind: str, n: int, queries: int, seed: int, **parameters: Any) -> VectorSet:
    """Vectors of a kind, labelled with their cluster where there are several.

    Args:
        kind: one of ``KINDS``.
        n: documents.
        queries: how many.
        seed: of everything; documents and queries of one seed share their clusters.
        parameters: of the kind's function in this module; the others have their defaults.

    Raises:
        RecipeError: no kind has that name.
        UsageError: a parameter is unknown, of another type or out of range.
    """
    if n < 1 or queries < 0 or seed < 0:
        raise UsageError(f"{n} documents, {queries} queries, seed {seed}; expected 1 or more, and 0 or more each")
    used = _parameters(kind, parameters)
    plan = KINDS[kind](**used)
    _check(kind, plan)
    rng = np.random.default_rng(seed)
    labels = rng.integers(len(plan.dimensions), size=n + queries)
    vectors = _draw(plan, labels, rng)
    if plan.unit:
        vectors = normalised(vectors, kind)
    source = {"kind": kind, "documents": n, "queries": queries, "seed": seed, **used}
    several = len(plan.dimensions) > 1
    return VectorSet(kind, vectors[:n], vectors[n:], "l2", labels[:n] if several else None, source).check()


def _parameters(kind: str, given: Mapping[str, Any]) -> dict[str, Any]:
    """All parameters of a kind, checked against the types of their defaults."""
    if kind not in KINDS:
        raise unknown_name("kind of vectors", kind, KINDS, f"known are {', '.join(KINDS)}")
    used = {name: one.default for name, one in inspect.signature(KINDS[kind]).parameters.items()}
    for name, value in given.items():
        if name not in used:
            raise UsageError(f"{kind} has no parameter {name!r}; it has {', '.join(used)}")
        wanted = type(used[name])
        fits = type(value) is wanted or (wanted is float and type(value) is int)
        if not fits or not np.isfinite(value):
            raise UsageError(f"{kind}: {name} {value!r}; expected {wanted.__name__}")
        used[name] = wanted(value)
    return used


def _check(kind: str, plan: Plan) -> None:
    if not plan.dimensions or plan.distance < 0:
        raise UsageError(f"{kind}: {len(plan.dimensions)} clusters, spread {plan.distance}; expected 1, and 0, or more")
    low, high = min(plan.dimensions), max(plan.dimensions)
    if not 1 <= low <= high <= plan.width:
        raise UsageError(f"{kind}: dimensions {low} to {high}; expected 1 to the width, which is {plan.width}")


def _draw(plan: Plan, labels: Int64, rng: np.random.Generator) -> Float32:
    """One vector for each label, cluster by cluster, so that memory for one cluster is held beside them."""
    vectors = np.empty((len(labels), plan.width), np.float32)
    for cluster, dimension in enumerate(plan.dimensions):
        centre = rng.standard_normal(plan.width)
        centre *= plan.distance / np.linalg.norm(centre)
        basis, _ = np.linalg.qr(rng.standard_normal((plan.width, dimension)))
        rows = np.flatnonzero(labels == cluster)
        vectors[rows] = centre + rng.standard_normal((len(rows), dimension)) @ basis.T
    return vectors
