"""The listwise-derived reward of ERank's training (arXiv 2509.00520, section 3.3), as a diagnostic of pointwise scores.

A pointwise reranker scores each document alone; the reward judges each score by its place among all scores of the
query. The paper's text gives the four cases; its display formula, and with it the size of the penalties and of the
error, was not read: **the constants here are posbench's own**, and rewards are no figures to set beside the paper's.
"""

from dataclasses import dataclass
from math import isfinite
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from posbench.errors import UsageError
from posbench.types import Float64


@dataclass(frozen=True)
class Constants:
    """The constants that bear on a run's reward: those of ``listwise_reward`` that need neither answers nor references.

    ``penalty`` is 0 or more; ``outranks`` is "worst" or "best".
    """

    penalty: float = 1.0
    outranks: Literal["worst", "best"] = "worst"

    def __post_init__(self) -> None:
        if not (isfinite(self.penalty) and self.penalty >= 0):
            raise UsageError(f"reward penalty={self.penalty:g}; expected a number, 0 or more")


def constants(text: str) -> Constants:
    """The constants in a text such as "penalty=2,outranks=best"; what it does not name is as usual.

    Raises:
        UsageError: it names others, or a value is none of theirs.
    """
    given = dict(part.partition("=")[::2] for part in text.replace(" ", "").split(",") if part)
    if unknown := sorted(set(given) - {"penalty", "outranks"}):
        raise UsageError(
            f"reward {', '.join(unknown)}; expected penalty=X and outranks=worst|best, for example "
            "penalty=2,outranks=best (a run has neither missing scores nor references for other constants to weigh)"
        )
    try:
        penalty = float(given.get("penalty", Constants.penalty))
    except ValueError as error:
        raise UsageError(f"reward penalty={given['penalty']}; expected a number, 0 or more") from error
    outranks = given.get("outranks", Constants.outranks)
    if outranks not in ("worst", "best"):
        raise UsageError(f"reward outranks={outranks}; expected worst or best")
    return Constants(penalty, "best" if outranks == "best" else "worst")


def listwise_reward(
    scores: Float64,
    positives: NDArray[np.bool_],
    reference: Float64 | None = None,
    *,
    penalty: float = 1.0,
    format_penalty: float = 1.0,
    error_weight: float = 0.01,
    outranks: Literal["worst", "best"] = "worst",
) -> Float64:
    """The reward of each score.

    All scores of the query are ranked together, equal ones by the smallest rank of them. A positive earns the
    reciprocal of its rank. A negative with a smaller rank than the worst positive's loses ``penalty``; any other loses
    ``error_weight`` times the squared distance to its document's reference. A missing score has no rank and loses
    ``format_penalty``.

    Args:
        scores: float64[N, G], G scores for each of N documents of one query; NaN where an answer has none.
        positives: bool[N], the relevant documents.
        reference: float64[N], the score that a document should have (ERank: the tuned model's before reinforcement);
            None, or NaN for a document: the error is 0.
        penalty: for a negative above a positive, 0 or more.
        format_penalty: for a missing score, 0 or more.
        error_weight: of the squared error, 0 or more; 0.01 makes it at most 1 on the scale from 0 to 10.
        outranks: the positive that a negative must stand above to be penalised, the worst ranked or the best.

    Returns:
        float64[N, G], at most 1.

    Raises:
        UsageError: the shapes do not fit, a score is infinite, or a constant is negative.
    """
    values = np.asarray(scores, np.float64)
    if values.ndim != 2 or len(values) != len(positives) or (reference is not None and len(reference) != len(values)):
        raise UsageError(f"scores {values.shape}, positives {np.shape(positives)}; expected [N, G], [N] and [N]")
    if np.isinf(values).any() or min(penalty, format_penalty, error_weight) < 0:
        raise UsageError("a score is infinite or a constant negative; expected finite scores, constants of 0 or more")
    ranks = min_ranks(values)
    good = np.broadcast_to(np.asarray(positives, bool)[:, None], values.shape)
    placed = ranks[good & ~np.isnan(ranks)]
    limit = 0.0 if not len(placed) else placed.max() if outranks == "worst" else placed.min()
    wanted = np.full(len(values), np.nan) if reference is None else np.asarray(reference, np.float64)
    error = np.nan_to_num(values - wanted[:, None]) ** 2
    reward = np.where(good, 1 / ranks, np.where(ranks < limit, -penalty, -error_weight * error))
    return np.where(np.isnan(values), -format_penalty, reward)


def min_ranks(values: Float64) -> Float64:
    """The rank of each value among all, the largest first: 1 + how many are larger; NaN stays, and counts for none."""
    known = np.sort(values[~np.isnan(values)])
    larger = len(known) - np.searchsorted(known, values, side="right")
    return np.where(np.isnan(values), np.nan, larger + 1.0)
