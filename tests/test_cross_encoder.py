"""Folders of cross-encoders as rerankers."""

import json

import pytest

from posbench import rankers
from posbench.cli import main
from posbench.errors import UsageError
from posbench.reranking import PointwiseRecipe, Rerank

torch, transformers = pytest.importorskip("torch"), pytest.importorskip("transformers")
DATASET = "posir-mini/eng/biomedicine"


@pytest.fixture
def folder(tmp_path):
    """Makes the folder of a tiny random BERT with as many labels as wanted."""

    def make(labels):
        words = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "blood", "is", "where", "bees", "the", "ice", "in"]
        (tmp_path / "vocab.txt").write_text("\n".join(words))
        shape = {"hidden_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 16}
        config = transformers.BertConfig(
            vocab_size=len(words), max_position_embeddings=64, num_labels=labels, initializer_range=1.0, **shape
        )
        torch.manual_seed(1)
        transformers.BertTokenizer(str(tmp_path / "vocab.txt")).save_pretrained(str(tmp_path / "bert"))
        transformers.BertForSequenceClassification(config).save_pretrained(str(tmp_path / "bert"))
        return tmp_path / "bert"

    return make


def test_the_folder_of_a_cross_encoder_is_a_reranker(folder, tmp_path, capsys):
    how = ["eval", "--model", "bm25", "--dataset", DATASET, "--rerank", str(folder(1)), "--depth", "3", "--json"]
    assert main([*how, "--out", str(tmp_path / "o"), "--cache", str(tmp_path / "c")]) == 0
    said = json.loads(capsys.readouterr().out)
    assert said["ranker"] == "bm25>bert@3"
    assert said["rerank"]["reranker"]["weights"] == f"weights from the folder {tmp_path / 'bert'}"
    assert said["rerank"]["facts"]["answers"] == {"cut": 180}  # no document of that domain has less than 64 tokens
    assert said["rerank"]["facts"]["cost"]["prompt_tokens"] == 180 * 64
    assert said["measures"]["nDCG@10"] != said["rerank"]["measures"]["first"]["nDCG@10"]


def test_a_folder_that_holds_no_cross_encoder_says_what_it_holds(folder, tmp_path):
    with pytest.raises(UsageError, match=r"says BertForSequenceClassification with 3 labels; expected \.\.\.ForSeq"):
        rankers.reranked("bm25", rankers.resolve("bm25")[1], Rerank(str(folder(3))))
    (tmp_path / "empty").mkdir()
    with pytest.raises(UsageError, match=r"is no model folder: its config\.json cannot be read"):
        rankers.reranked("bm25", rankers.resolve("bm25")[1], Rerank(str(tmp_path / "empty")))
    _, recipe = rankers.reranked("bm25", rankers.resolve("bm25")[1], Rerank(str(folder(1))))
    assert isinstance(recipe.rerank, PointwiseRecipe)
