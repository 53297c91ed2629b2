"""Noise that belongs to a document: a hash of the seed and the document's id, whatever the order, shard or worker."""

from collections.abc import Sequence
from hashlib import blake2b
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from posbench.types import Float64, Strings, strings

Keys = NDArray[np.uint64]


def hashes(texts: Strings | Sequence[str]) -> Keys:
    """The first 64 bits of BLAKE2b of each text's UTF-8 bytes, uint64[N]: the same on every machine."""
    whole = strings(texts)
    data, ends = whole.buffers()[2], np.frombuffer(whole.buffers()[1], np.int64)[: len(whole) + 1].tolist()
    view = memoryview(b"" if data is None else data)
    digests = b"".join(blake2b(view[a:b], digest_size=8).digest() for a, b in pairwise(ends))
    return np.frombuffer(digests, "<u8").astype(np.uint64)


def of_hashes(ids: Keys, seed: int) -> Keys:
    """The keys of documents whose ids have these hashes, under a seed: uint64[N]."""
    return stream(ids, f"seed {int(seed)}")


def keys(ids: Strings | Sequence[str], seed: int) -> Keys:
    """One key an id: ``of_hashes`` of its hash.

    Args:
        ids: string[N], each id once; equal ids get equal keys.
        seed: any integer.

    Returns:
        uint64[N], uniform over 64 bits.
    """
    return of_hashes(hashes(ids), seed)


def stream(base: Keys, name: str) -> Keys:
    """Further keys from the same ones, one stream a name: as good as independent of ``base`` and of other names.

    The finaliser of SplitMix64 (Steele, Lea and Flood 2014, "Fast splittable pseudorandom number generators") on the
    key plus an offset that is the hash of the name.
    """
    offset = int.from_bytes(blake2b(name.encode(), digest_size=8).digest(), "little")
    z = base + np.uint64(offset)
    z = (z ^ (z >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    z = (z ^ (z >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return np.asarray(z ^ (z >> np.uint64(31)), np.uint64)


def uniform(base: Keys) -> Float64:
    """Keys as numbers strictly between 0 and 1, evenly spaced: (the upper 52 bits + 1/2) / 2^52."""
    return np.asarray(((base >> np.uint64(12)) + 0.5) * 2.0**-52)


def gumbel(base: Keys) -> Float64:
    """Standard Gumbel noise of each key, float64[N], from -3.6 to 36.8: never infinite.

    The k largest of log w + Gumbel are a sample of k without replacement with probabilities in proportion to w, drawn
    one after another (Vieira 2014; Kool, van Hoof and Welling 2019, arXiv 1903.06059).
    """
    return np.asarray(-np.log(-np.log(uniform(base))))
