"""What everything but the model costs in pointwise reranking: a backend that answers at once, then the cache of calls.

1,000 queries x 100 candidates of about 100 words through prompt building, exact token accounting with a chat template,
the cache, parsing and scoring (ERank's published score). Wanted: 50,000 pairs a minute on two cores, and the same again
from the cache in a tenth of the time that this allows.
"""

import argparse
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np

from posbench.rankers.pointwise import PointwiseRanker
from posbench.reranking import Backend, PointwiseRecipe
from posbench.sources import Source
from posbench.types import Collection, Qrels, Run, strings

WANTED = 50_000  # pairs a minute
STARTS, ENDS = "ba ce di fo gu ha ji ko lu me no pa re si".split(), "n rt st l mp nd rk ss t x lder ving".split()


def tokenizer_in(folder: Path, texts: list[str]) -> None:
    """Writes a byte-level BPE tokenizer of 8,000 pieces with a chat template."""
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
    from transformers import PreTrainedTokenizerFast

    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer, tokenizer.decoder = pre_tokenizers.ByteLevel(add_prefix_space=False), decoders.ByteLevel()
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    pieces = trainers.BpeTrainer(
        vocab_size=8000, initial_alphabet=alphabet, special_tokens=["<s>", "</s>"], show_progress=False
    )
    tokenizer.train_from_iterator(texts, pieces)
    fast: Any = PreTrainedTokenizerFast
    whole = fast(tokenizer_object=tokenizer, bos_token="<s>", eos_token="</s>")
    whole.chat_template = (
        "{% for m in messages %}<s>{{ m.role }}\n{{ m.content }}</s>\n{% endfor %}"
        "{% if add_generation_prompt %}<s>assistant\n{% endif %}"
    )
    whole.save_pretrained(str(folder))
    (folder / "config.json").write_text('{"max_position_embeddings": 8192}')


def collection(queries: int, documents: int, rng: np.random.Generator) -> Collection:
    """Random words."""
    words = [f"{a}{b}" for a in STARTS for b in ENDS]

    def text(n: int) -> str:
        return " ".join(rng.choice(words, n))

    none = np.empty(0, np.int32)
    return Collection(
        name="bench",
        doc_ids=strings([f"d{number}" for number in range(documents)]),
        docs=strings([text(100) for _ in range(documents)]),
        query_ids=strings([f"q{number}" for number in range(queries)]),
        queries=strings([text(10) for _ in range(queries)]),
        qrels=Qrels.from_pairs(none, none, none, queries),
    )


def main() -> None:
    """Prints seconds and pairs a minute, fresh and from the cache."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--queries", type=int, default=1000)
    parser.add_argument("--depth", type=int, default=100)
    args = parser.parse_args()
    rng = np.random.default_rng(0)
    found = collection(args.queries, 5000, rng)
    docs = np.stack([rng.choice(5000, args.depth, replace=False) for _ in range(args.queries)])
    candidates = Run.ranked(docs, np.zeros(docs.shape), found.doc_order)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        tokenizer_in(folder / "model", found.docs.to_pylist()[:500])
        recipe = PointwiseRecipe(
            description="answers at once",
            licence="",
            method="graded",
            prompt="erank",
            query_tokens=2048,
            document_tokens=2048,
            answer_tokens=1024,
            backend=Backend(
                engine="instant",
                reply="<think>some reasoning</think><answer>7</answer>",
                source=(Source(path=str(folder / "model")),),
                context=8192,
            ),
        )
        allowed = docs.size / WANTED * 60
        for what in ("fresh", "cached"):
            ranker = PointwiseRanker(recipe, cache=folder)
            start, cpu = time.perf_counter(), time.process_time()
            ranker.rank(found, candidates)
            seconds, cpu = time.perf_counter() - start, time.process_time() - cpu
            cost = ranker.facts()["cost"]
            sys.stdout.write(
                f"{what}: {seconds:.1f} s ({cpu:.1f} s of processor time), {docs.size / seconds * 60:,.0f} pairs a "
                f"minute, {seconds / allowed:.3f} of the time allowed for fresh ones; {cost['cached']:,} of "
                f"{cost['calls']:,} calls known, {cost['prompt_tokens']:,} tokens counted\n"
            )


if __name__ == "__main__":
    main()
