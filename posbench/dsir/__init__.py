"""Data selection with importance resampling: features of texts, weights towards a target, and selections by them."""

from posbench.dsir.features import Features, FeatureSpec, featurise, ngrams

__all__ = ["FeatureSpec", "Features", "featurise", "ngrams"]
