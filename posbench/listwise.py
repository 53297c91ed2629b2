"""The recipe of rerankers that read many candidates at once."""

from typing import Literal

import msgspec

from posbench.reranking import Backend

STRATEGIES = ("full", "sliding", "top-down", "consistency", "multipass")


class ListwiseRecipe(msgspec.Struct, forbid_unknown_fields=True, frozen=True, tag_field="kind", tag="listwise"):
    """A language model that ranks a list of candidates, at once or in windows (``rankers/listwise/strategies.py``).

    ``strategy``: "full" is all in one prompt (FullRank), "sliding" windows from the tail to the head (RankGPT),
    "top-down" partitions against a pivot (TDPart), "consistency" several shuffled lists aggregated, "multipass"
    complete lists as training labels.
    """

    description: str
    licence: str
    backend: Backend
    prompt: str = "listwise"  # a name in rankers/prompts/, or a file (relative ones start at the recipe's own)
    protocol: str = ""  # what it is called in results, where it is not the published one
    strategy: Literal["full", "sliding", "top-down", "consistency", "multipass"] = "full"
    window: int = 20  # candidates of a prompt; sliding, top-down, multipass
    step: int = 10  # between windows; sliding, multipass
    passes: int = 1  # sliding
    pivot: int = 10  # top-down: rank in the first window (at most its last) that others are compared with
    samples: int = 3  # consistency: orders
    seed: int = 0  # of their shuffles
    top: int = 0  # identifiers an answer gives; what is not among them keeps its order; 0: all
    constrained: Literal["auto", "yes", "no"] = "auto"  # hold answers to valid rankings: auto is where that is possible
    reasoning_tokens: int = 0  # that an answer may have before its ranking
    query_tokens: int = 0  # cut off behind them; 0: nothing
    document_words: int = 0
    document_tokens: int = 0
    asks: int = 1  # times a prompt is asked until the answer is well formed
    temperature: float = 0.7  # of all but the first
    parameters: str = ""
    aliases: tuple[str, ...] = ()
    citation: str = ""

    def __post_init__(self) -> None:
        if self.window < 2 or not 1 <= self.step <= self.window:
            raise ValueError(f"window {self.window}, step {self.step}; expected 2 or more, and 1 to the window")
        if min(self.passes, self.samples, self.asks, self.pivot) < 1:
            raise ValueError("passes, samples, asks and pivot are 1 or more")
        limits = (self.top, self.query_tokens, self.document_words, self.document_tokens, self.reasoning_tokens)
        if min(*limits, self.seed) < 0:
            raise ValueError("top, query_tokens, document_words, document_tokens, reasoning_tokens and seed: 0 or more")
        if self.constrained == "yes" and self.reasoning_tokens:
            raise ValueError("constrained answers have no room for reasoning; say constrained = no")
        if self.top and self.strategy == "top-down":
            raise ValueError("top-down needs the place of the pivot, so whole rankings: top = 0")
