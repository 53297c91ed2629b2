"""What stands around the evidence: sentences of the same collection that answer no query of the set.

No sentence comes from a document that is relevant to any chosen query, copies any of their evidence (5-grams, see
``copies``), or holds the text of its own queries' answers. One that is mostly digits and signs (tables) is none.
"""

import unicodedata
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import pyarrow as pa

from posbench.compose.copies import Copies, normalised
from posbench.compose.evidence import Chosen, Passage
from posbench.compose.plan import TOLERANCE, Filler
from posbench.compose.segments import join, segments
from posbench.errors import UsageError
from posbench.types import Collection, Int32, Int64, Run

Count = Callable[[Sequence[str]], Int32]
"""Tokens of each text, without prompt and special tokens."""

_AIM = TOLERANCE - 0.01  # leaves room for tokens that join across sentences
_SOURCES = 500  # documents that are tried to fill one composed document
_ROUNDS = 4
_GROUPS = ("group", "domain")


@dataclass(frozen=True)
class _Sentences:
    """The usable sentences of one document, the tokens of each, and the same normalised, for comparison."""

    texts: list[str]
    tokens: list[int]
    plain: list[str]


class Pool:
    """The filler of one collection, read and counted document by document as it is needed."""

    def __init__(
        self, collection: Collection, chosen: Chosen, kind: Filler, count: Count, seed: int, candidates: Run | None
    ) -> None:
        self._collection = collection
        self._count = count
        self._seed = seed
        self._kind = kind
        self._candidates = candidates
        self._copies = Copies([passage.text for passage in chosen.passages])
        self._free = ~chosen.relevant
        self._clean = np.flatnonzero(self._free)
        self._known: dict[int, _Sentences] = {}
        self._groups = _groups(collection) if kind == "topic" else None
        self.copies = 0  # sentences left out because they copy evidence
        self.elsewhere = 0  # documents whose own topic or hits did not fill them
        if not len(self._clean):
            raise UsageError(f"{collection.name}: all its documents are relevant to the queries; choose fewer queries")
        if kind == "hard" and candidates is None:
            raise UsageError("hard filler needs a ranking of the documents for each query")

    def around(self, number: int, passage: Passage, tokens: int) -> list[str] | None:
        """The sentences to stand around a passage, in order, or None where no filling of that length is found.

        Args:
            number: of the passage, for the random generator.
            passage: the evidence.
            tokens: what the composed document is to have, within ``TOLERANCE``.
        """
        preferred = self._preferred(number, passage)
        filling = _Filling(self._count, [passage.text], tokens)
        answers = [answer for answer in map(normalised, passage.answers) if answer != normalised(passage.text)]
        pieces = self._fill(filling, self._order(number, preferred), answers)
        if pieces is not None and self._kind != "random" and filling.documents > len(preferred):
            self.elsewhere += 1
        return pieces

    def alone(self, number: int, tokens: int) -> list[str] | None:
        """A document of filler only."""
        return self._fill(_Filling(self._count, [], tokens), self._order(number, np.empty(0, np.int64)), [])

    def _fill(self, filling: "_Filling", order: Iterator[int], answers: Sequence[str]) -> list[str] | None:
        for _ in range(_ROUNDS):
            if filling.full():
                return filling.pieces()
            for doc in order:
                filling.add(self._sentences(doc), answers)
                if filling.left <= filling.slack or filling.documents >= _SOURCES:
                    break
            filling.recount()
        return filling.pieces() if filling.full() else None

    def _order(self, number: int, preferred: Int64) -> Iterator[int]:
        """The preferred documents, then all others in an order of the passage's own."""
        yield from preferred.tolist()
        seen = set(preferred.tolist())
        rng = np.random.default_rng([self._seed, 1, number])
        yield from (doc for doc in rng.permutation(self._clean).tolist() if doc not in seen)

    def _preferred(self, number: int, passage: Passage) -> Int64:
        if self._kind == "topic":
            assert self._groups is not None
            same = self._clean[self._groups[self._clean] == self._groups[passage.doc]]
            return np.random.default_rng([self._seed, 0, number]).permutation(same)
        if self._kind == "hard":
            assert self._candidates is not None
            found = self._candidates.docs[list(passage.queries)].T.ravel()  # by rank, queries in turn
            found = found[found >= 0].astype(np.int64)
            first = np.sort(np.unique(found, return_index=True)[1])
            found = found[first]
            return np.asarray(found[self._free[found]], np.int64)
        return np.empty(0, np.int64)

    def _sentences(self, doc: int) -> _Sentences:
        if doc not in self._known:
            text = self._collection.docs[doc].as_py()
            parts = [part for part in (text[a:b].strip() for a, b in segments(text)) if _is_prose(part)]
            kept = [part for part in parts if not self._copies.holds(part)]
            self.copies += len(parts) - len(kept)
            tokens = self._count(kept).tolist() if kept else []
            self._known[doc] = _Sentences(kept, tokens, [normalised(part) for part in kept])
        return self._known[doc]


def _is_prose(text: str) -> bool:
    """Whether most characters but white space are letters or the marks that go with them."""
    kinds = [unicodedata.category(character)[0] for character in text if not character.isspace()]
    return 2 * sum(kind in "LM" for kind in kinds) > len(kinds)


class _Filling:
    """One document as it fills: what must be in it, then sentences as long as they fit."""

    def __init__(self, count: Count, fixed: list[str], tokens: int) -> None:
        self._count = count
        self._fixed = fixed
        self._target = tokens
        self._pieces: list[str] = []
        self.slack = _AIM * tokens
        self.left = float(tokens)
        self.documents = 0
        self.recount()

    def add(self, sentences: _Sentences, answers: Sequence[str]) -> None:
        """Takes the sentences of one document, in order, that fit and hold none of the answers."""
        self.documents += 1
        for text, tokens, plain in zip(sentences.texts, sentences.tokens, sentences.plain, strict=True):
            if self.left <= self.slack:
                return
            if tokens <= self.left and not any(answer in plain for answer in answers):
                self._pieces.append(text)
                self.left -= tokens

    def recount(self) -> None:
        """Sets right what is left by the tokens of the whole text, which may differ from its sentences' sum."""
        self.left = self._target - float(self._count([join([*self._fixed, *self._pieces])[0]])[0])

    def full(self) -> bool:
        """Whether the length is within the tolerance."""
        return bool(self._pieces) and abs(self.left) <= TOLERANCE * self._target

    def pieces(self) -> list[str]:
        """The sentences."""
        return self._pieces


def _groups(collection: Collection) -> Int64:
    """The topic of each document, as a number: int64[D].

    Raises:
        UsageError: the documents have no labels that say so.
    """
    for name in _GROUPS:
        if name in collection.doc_labels:
            column = collection.doc_labels[name].cast(pa.large_string()).dictionary_encode("encode")
            return np.asarray(column.indices.to_numpy(zero_copy_only=False), np.int64)
    found = ", ".join(collection.doc_labels) or "none"
    raise UsageError(
        f"{collection.name}: topic filler needs documents with labels {' or '.join(_GROUPS)}; found {found}; "
        "use --filler random or hard"
    )
