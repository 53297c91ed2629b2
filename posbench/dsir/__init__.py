"""Data selection with importance resampling: features of texts, weights towards a target, and selections by them.

By array, in memory, without posbench's other parts:

    from posbench import dsir
    raw, target = dsir.featurise(texts), dsir.featurise(wanted)
    rows = dsir.choose("greedy", raw, target, 1000, dsir.keys(ids, seed=0)).rows

Out of core: ``sources`` and ``pool`` read and featurise, ``select`` selects.
"""

from posbench.dsir.divergence import kl, kl_reduction
from posbench.dsir.features import Features, FeatureSpec, featurise, ngrams
from posbench.dsir.noise import keys
from posbench.dsir.scorers import Settings
from posbench.dsir.selectors import Chosen, choose
from posbench.dsir.weights import distribution, effective_size, log_ratio, temperature

__all__ = [
    "Chosen",
    "FeatureSpec",
    "Features",
    "Settings",
    "choose",
    "distribution",
    "effective_size",
    "featurise",
    "keys",
    "kl",
    "kl_reduction",
    "log_ratio",
    "ngrams",
    "temperature",
]
