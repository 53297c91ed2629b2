"""What a strategy will cost, without a call: its prompts are filled and counted, and every window keeps its order."""

from collections.abc import Mapping, Sequence
from typing import Any

import msgspec

from posbench.listwise import ListwiseRecipe
from posbench.rankers.listwise import known
from posbench.rankers.listwise.ranker import Listed, ListwiseRanker
from posbench.rankers.llm.calls import Answer, Answers, Backend, Request, Sampling
from posbench.rankers.llm.tokens import Tokens


class _Counting:
    """Repeats the order shown, and counts as another backend would; by words where it has no tokenizer."""

    def __init__(self, backend: Backend) -> None:
        self._backend = backend

    @property
    def context(self) -> int:
        return self._backend.context

    @property
    def tokens(self) -> Tokens | None:
        return self._backend.tokens

    def describe(self) -> Mapping[str, Any]:
        return {}

    def faults(self) -> Mapping[str, int]:
        return {}

    def answers(self, requests: Sequence[Request], sampling: Sampling) -> Answers:
        del sampling
        said = [known.copying(request) for request in requests]
        if self.tokens is not None:
            read, written = [len(ids) for ids in self.tokens.ids(requests)], self.tokens.count(said)
        else:
            prompts = [" ".join([*(turn.content for turn in one.messages), one.text]) for one in requests]
            read, written = ([len(text.split()) for text in texts] for texts in (prompts, said))
        counts = enumerate(zip(said, read, written, strict=True))
        yield [(row, Answer(text, "stop", prompt, own)) for row, (text, prompt, own) in counts]


def tokens(recipe: ListwiseRecipe, backend: Backend, lists: Sequence[Listed]) -> float:
    """Tokens of prompts and whole answers that reranking a list will take, on average over some.

    What a strategy asks may depend on answers (top-down): this counts it for a list that is in order already.
    """
    free = msgspec.structs.replace(recipe, constrained="no", asks=1)
    ranker = ListwiseRanker(free, cache=None, backend=_Counting(backend))
    return sum(sum(one.tokens) for one in ranker.rerank(lists)) / max(1, len(lists))
