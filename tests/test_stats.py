import numpy as np
import pytest

from posbench import stats
from posbench.types import Qrels


def test_queries_that_share_a_relevant_document_are_one_cluster():
    n = 40
    docs = np.r_[0, 0, np.arange(1, n - 1)]
    qrels = Qrels.from_pairs(np.arange(n), docs, np.ones(n), n)
    clusters, kind = stats.clusters_of(qrels)
    assert kind == "document"
    assert clusters[0] == clusters[1]
    assert len(set(clusters.tolist())) == n - 1


def test_judged_irrelevant_documents_do_not_tie_queries_together():
    qrels = Qrels.from_pairs([0, 1, 1] + list(range(2, 30)), [0, 0, 1] + list(range(2, 30)), [1, 0, 1] + [1] * 28, 30)
    assert len(set(stats.clusters_of(qrels)[0].tolist())) == 30


def test_where_all_hang_together_queries_are_resampled():
    qrels = Qrels.from_pairs(np.arange(20), np.zeros(20), np.ones(20), 20)
    clusters, kind = stats.clusters_of(qrels)
    assert kind == "query"
    assert clusters.tolist() == list(range(20))


def test_resamples_draw_each_stratum_as_often_as_it_has_clusters():
    clusters = np.repeat(np.arange(30), 2)
    strata = np.repeat([0] * 10 + [1] * 20, 2)
    weights = np.concatenate(list(stats.resamples(clusters, strata, replicates=500, seed=1)))
    assert weights.shape == (500, 30)
    assert (weights[:, :10].sum(1) == 10).all()
    assert np.allclose(weights[:, 10:].sum(1), 20)
    assert abs(weights.mean(0) - 1).max() < 0.2


def test_the_seed_decides():
    values, clusters = np.random.default_rng(0).random((50, 2)), np.arange(50)
    first = stats.mean_intervals(values, clusters, seed=3)
    assert np.array_equal(first, stats.mean_intervals(values, clusters, seed=3))
    assert not np.array_equal(first, stats.mean_intervals(values, clusters, seed=4))


def test_intervals_of_clustered_values_cover_the_truth():
    """Nominal 95% over 300 simulated collections; resampling queries instead of documents covers far less."""
    rng = np.random.default_rng(0)
    hit, naive = 0, 0
    for trial in range(300):
        clusters = np.repeat(np.arange(60), 4)
        values = (rng.normal(0, 1, 60)[clusters] + rng.normal(0, 0.5, 240))[:, None]
        low, high = stats.mean_intervals(values, clusters, replicates=400, seed=trial)
        hit += low[0] <= 0 <= high[0]
        low, high = stats.mean_intervals(values, np.arange(240), replicates=400, seed=trial)
        naive += low[0] <= 0 <= high[0]
    assert 0.91 <= hit / 300 <= 0.98
    assert naive / 300 < 0.8


def test_columns_may_be_parts_of_the_queries():
    values = np.array([[1.0, np.nan], [3.0, 5.0], [2.0, np.nan]])
    low, high = stats.mean_intervals(values, np.arange(3))
    assert 1.0 <= low[0] <= 2.0 <= high[0] <= 3.0
    assert low[1] == high[1] == 5.0
    low, high = stats.mean_intervals(np.full((3, 1), np.nan), np.arange(3))
    assert np.isnan([low, high]).all()


@pytest.mark.parametrize("size", [1, 70_000])
def test_replicate_means_of_any_size(size):
    means = stats.replicate_means(np.ones((size, 1)), np.arange(size), replicates=300)
    assert means.shape == (300, 1)
    assert np.allclose(means, 1)
