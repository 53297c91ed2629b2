"""Data selection with importance resampling: features of texts, weights towards a target, and selections by them."""

from posbench.dsir.features import Features, FeatureSpec, featurise

__all__ = ["FeatureSpec", "Features", "featurise"]
