"""Where the tokens of a text stand: what every encoder with a subword tokenizer says of texts, before and after a cut.

A subclass embeds, and tokenises for this module.
"""

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from typing import Any, Literal

import numpy as np

from posbench.recipe import Encode
from posbench.types import Int32

Role = Literal["query", "document"]


def prompts_of(encode: Encode, own: Mapping[str, str | None]) -> dict[Role, str]:
    """The recipe's prompts or, for a model without a recipe, those that its own files name."""
    if encode.max_tokens:
        return {"query": encode.query_prompt, "document": encode.document_prompt}
    return {"query": own.get("query") or "", "document": own.get("document") or own.get("passage") or ""}


class Tokens(ABC):
    """Counts tokens and tells their characters; ``max_tokens`` is the cut."""

    def __init__(self, encode: Encode, prompts: Mapping[Role, str], max_tokens: int) -> None:
        self.prompts, self.suffix, self.max_tokens = prompts, encode.suffix, max_tokens

    @abstractmethod
    def _tokenize(self, texts: list[str], *, truncation: bool, spans: bool = False) -> Mapping[str, Any]:
        """``input_ids`` and, with ``spans``, ``offset_mapping`` and ``special_tokens_mask``: a list each text."""

    def _whole(self, text: str, role: Role) -> str:
        return self.prompts[role] + text + self.suffix

    def lengths(self, texts: Sequence[str], role: Role) -> Int32:
        """Tokens of each text with its prompt and special tokens, before any cut."""
        found = self._tokenize([self._whole(text, role) for text in texts], truncation=False)["input_ids"]
        return np.array([len(ids) for ids in found], np.int32)

    def kept_chars(self, text: str, role: Role) -> int:
        """The end of the last token that is kept, in characters of the text."""
        spans = self._tokenize([self._whole(text, role)], truncation=True, spans=True)["offset_mapping"][0]
        return min(len(text), max(0, max((end for _, end in spans), default=0) - len(self.prompts[role])))

    def offsets(self, text: str, role: Role) -> Int32:
        """Where the tokens stand, without prompt, suffix and special tokens."""
        first, last = len(self.prompts[role]), len(self.prompts[role]) + len(text)
        found = self._tokenize([self._whole(text, role)], truncation=False, spans=True)
        spans = np.array(found["offset_mapping"][0], np.int32).reshape(-1, 2)
        own = (np.array(found["special_tokens_mask"][0]) == 0) & (spans[:, 1] > first) & (spans[:, 0] < last)
        return np.asarray(np.clip(spans[own] - first, 0, len(text)), np.int32)
