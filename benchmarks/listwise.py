"""What everything but the model costs in full-list reranking: a backend that answers at once, then the cache of calls.

1,000 lists of 100 candidates of about 100 words through prompt building, exact token accounting with a chat template,
the cache, parsing and scoring. Wanted: 300 lists a minute on two cores, and the same again from the cache in a tenth of
the time that this allows.
"""

import argparse
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
from reranking import collection, tokenizer_in

from posbench.evaluate import evaluate
from posbench.listwise import ListwiseRecipe
from posbench.rankers.listwise import known
from posbench.rankers.listwise.ranker import ListwiseRanker
from posbench.rankers.llm.instant import InstantBackend
from posbench.reranking import Backend
from posbench.sources import Source
from posbench.types import Run

WANTED = 300  # lists a minute


def main() -> None:
    """Prints seconds and lists a minute, fresh and from the cache."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--queries", type=int, default=1000)
    parser.add_argument("--depth", type=int, default=100)
    args = parser.parse_args()
    rng = np.random.default_rng(0)
    found = collection(args.queries, 5000, rng)
    docs = np.stack([rng.choice(5000, args.depth, replace=False) for _ in range(args.queries)])
    candidates = Run.ranked(docs, -np.tile(np.arange(args.depth), (args.queries, 1)), found.doc_order)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        tokenizer_in(folder / "model", found.docs.to_pylist()[:500])
        backend = Backend(engine="instant", source=(Source(path=str(folder / "model")),), context=1 << 17)
        recipe = ListwiseRecipe(description="answers at once", licence="", backend=backend, document_words=100)
        allowed = args.queries / WANTED * 60
        for what in ("fresh", "cached"):
            answering = InstantBackend(backend, folder, known.copying, name="copying")
            ranker = ListwiseRanker(recipe, cache=folder, backend=answering)
            start, cpu = time.perf_counter(), time.process_time()
            evaluate(found, ranker.rank(found, candidates), ("nDCG@10",))
            seconds, cpu = time.perf_counter() - start, time.process_time() - cpu
            cost = ranker.facts()["cost"]
            sys.stdout.write(
                f"{what}: {seconds:.1f} s ({cpu:.1f} s of processor time), {args.queries / seconds * 60:,.0f} lists a "
                f"minute, {seconds / allowed:.3f} of the time allowed for fresh ones; {cost['cached']:,} of "
                f"{cost['calls']:,} calls known, {cost['prompt_tokens']:,} tokens counted\n"
            )


if __name__ == "__main__":
    main()
