"""A language model's own tokenizer and chat template: what counts, cuts and renders prompts exactly."""

import json
from collections.abc import Mapping, Sequence
from functools import cached_property
from hashlib import sha256
from pathlib import Path
from typing import Any

from posbench.errors import UsageError
from posbench.rankers.llm.calls import Request

_NFC = 3  # bytes of UTF-8 that one can become in normalisation form C (Unicode FAQ), and in form KC
_NFKC = 11
FILES = (
    "tokenizer*",
    "special_tokens*",
    "added_tokens*",
    "vocab*",
    "merges*",
    "chat_template*",
    "config.json",
    "*.model",
)
_MARKS = 16  # tokens that a tokenizer may put around a text


class Tokens:
    """The tokenizer in a model folder.

    Args:
        folder: with the tokenizer's files, as transformers writes them.
        template_args: for the chat template.
    """

    def __init__(self, folder: Path, template_args: Mapping[str, Any] | None = None) -> None:
        from transformers import AutoTokenizer

        auto: Any = AutoTokenizer
        self.own = auto.from_pretrained(str(folder))
        self._args = dict(template_args or {})
        self._fast = self.own.backend_tokenizer
        marks = (self.own.bos_token_id, self.own.eos_token_id, 0)
        self._mark: int = next(mark for mark in marks if mark is not None)

    @property
    def template(self) -> str:
        """A hash of the chat template, "" where the model has none: 16 hexadecimal digits."""
        found = self.own.chat_template
        return sha256(json.dumps(found).encode()).hexdigest()[:16] if found else ""

    def render(self, request: Request) -> str:
        """A prompt as the model reads it: the chat template around the messages, then the opening of the answer.

        Raises:
            UsageError: the request is a chat and the model has no chat template.
        """
        if not request.messages:
            return request.text + request.opening
        if not self.own.chat_template:
            raise UsageError("this model has no chat template: give a prompt of plain text ([text] in the prompt file)")
        turns = [{"role": message.role, "content": message.content} for message in request.messages]
        text: str = self.own.apply_chat_template(turns, tokenize=False, add_generation_prompt=True, **self._args)
        return text + request.opening

    def ids(self, requests: Sequence[Request]) -> list[list[int]]:
        """The tokens of each prompt, without its target."""
        chats = [bool(request.messages) for request in requests]
        texts = [self.render(request) for request in requests]
        found: list[list[int]] = [[]] * len(texts)
        for chat in set(chats):  # a chat template writes the special tokens itself
            rows = [row for row, is_chat in enumerate(chats) if is_chat == chat]
            encoded = self._fast.encode_batch_fast([texts[row] for row in rows], add_special_tokens=not chat)
            for row, one in zip(rows, encoded, strict=True):
                found[row] = one.ids or [self._mark]  # a model reads at least one token
        return found

    def target(self, text: str) -> list[int]:
        """The tokens of a text that goes on from a prompt."""
        return list(self._fast.encode(text, add_special_tokens=False).ids)

    def count(self, texts: Sequence[str]) -> list[int]:
        """Tokens of each text alone, without special tokens."""
        return [len(one.ids) for one in self._fast.encode_batch_fast(list(texts), add_special_tokens=False)]

    def cut(self, text: str, limit: int) -> str:
        """The longest beginning of a text that ends with a token and has at most ``limit`` of them."""
        offsets = self._fast.encode(text, add_special_tokens=False).offsets
        if len(offsets) <= limit:
            return text
        return text[: offsets[limit - 1][1]] if limit > 0 else ""

    def most(self, text: str) -> int:
        """A number of tokens that the text cannot exceed, at once: a token has at least one byte once normalised."""
        return len(text.encode()) * self._growth + _MARKS

    def overhead(self, request: Request) -> int:
        """What the chat template adds to a request's own texts, in tokens at most."""
        bare = [type(message)(message.role, "") for message in request.messages]
        empty = Request(messages=tuple(bare), opening=request.opening)
        return self.most(self.render(empty)) if bare else self.most(request.opening)

    def word(self, token: int) -> str:
        """A token as text."""
        text: str = self._fast.decode([token], skip_special_tokens=False)
        return text

    def text(self, tokens: Sequence[int]) -> str:
        """Tokens as text, special ones left out."""
        text: str = self._fast.decode(list(tokens), skip_special_tokens=True)
        return text

    @cached_property
    def _growth(self) -> int:
        normalizer = self._fast.normalizer
        if normalizer is None:
            return 1
        return _NFC if type(normalizer).__name__ == "NFC" else _NFKC
