"""One batch of prompts through a causal language model: generated answers, or the log-probabilities of given ones.

A beginning that all prompts share is read once. Answers are drawn greedily or at a temperature, each row with a random
generator of its own, so that no answer depends on what it is batched with (rounding in the last places apart).
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from inspect import signature
from typing import Any

from posbench.rankers.llm.calls import Sampling, Token
from posbench.rankers.llm.constrain import Allowed
from posbench.rankers.llm.tokens import Tokens


@dataclass
class Row:
    """One prompt and what becomes of it."""

    prompt: Sequence[int]
    target: Sequence[int] = ()
    allowed: Allowed | None = None
    seed: int = 0
    answer: list[int] = field(default_factory=list)
    tokens: list[Token] = field(default_factory=list)
    masses: list[float] = field(default_factory=list)  # of the tokens allowed, at each place
    finished: bool = False


class Decoder:
    """A model and its tokenizer on one device; ``ends`` are the tokens that end an answer."""

    def __init__(self, model: Any, tokens: Tokens, ends: Sequence[int], device: str) -> None:
        self.model, self.tokens, self.ends, self.device = model, tokens, frozenset(ends), device
        self._words: dict[int, str] = {}
        # The argument's name changed within transformers 5.
        self._slot = "cache" if "cache" in signature(model.forward).parameters else "past_key_values"

    def score(self, rows: Sequence[Row], shared: int) -> None:
        """Enters the log-probability of each token of the rows' targets, given prompt and target before it."""
        import torch

        width = max(len(row.target) for row in rows)
        with torch.inference_mode():
            logits = self._read([[*row.prompt, *row.target] for row in rows], shared, width + 1)[0]
            for line, row in zip(logits, rows, strict=True):
                n = len(row.target)
                logs = torch.log_softmax(line[-n - 1 : -1].float(), -1)
                values = logs.gather(1, torch.tensor(row.target, device=logs.device)[:, None])[:, 0].tolist()
                row.tokens = [Token(self.word(t), min(0.0, v)) for t, v in zip(row.target, values, strict=True)]

    def generate(self, rows: Sequence[Row], shared: int, sampling: Sampling) -> None:
        """Enters an answer in each row."""
        import torch

        also = [ids[0] for text in sampling.also if len(ids := self.tokens.target(text)) == 1]
        with torch.inference_mode():
            logits, cache, mask = self._read([row.prompt for row in rows], shared, 1)
            at = torch.tensor([len(row.prompt) for row in rows], device=self.device)
            going, last = list(rows), logits[:, -1]
            draws = [torch.Generator().manual_seed(row.seed) for row in rows]
            for step in range(sampling.max_tokens):
                self._extend(going, last, draws, sampling, also)
                keep = [place for place, row in enumerate(going) if not row.finished]
                if not keep or step + 1 == sampling.max_tokens:
                    return
                if 2 * len(keep) <= len(going):
                    index = torch.tensor(keep, device=self.device)
                    cache.batch_select_indices(index)
                    at, mask = at[index], mask[index]
                    going, draws = [going[place] for place in keep], [draws[place] for place in keep]
                mask = torch.cat([mask, mask.new_ones(len(going), 1)], 1)
                read = torch.tensor([row.answer[-1] for row in going], device=self.device)[:, None]
                out = self.model(read, attention_mask=mask, position_ids=at[:, None], **{self._slot: cache})
                at, last = at + 1, out.logits[:, -1]

    def _read(self, prompts: Sequence[Sequence[int]], shared: int, keep: int) -> tuple[Any, Any, Any]:
        """Reads prompts, padded on the left: logits of the last ``keep`` places, the cache, and the mask."""
        import torch
        from transformers import DynamicCache

        n = len(prompts)
        cache: Any = DynamicCache(config=self.model.config)
        if shared:
            begin = torch.tensor([list(prompts[0][:shared])], device=self.device)
            self.model(begin, logits_to_keep=1, **{self._slot: cache})
            cache.batch_repeat_interleave(n)
        width = max(map(len, prompts)) - shared
        ids = torch.zeros(n, width, dtype=torch.long)
        mask = torch.zeros(n, width, dtype=torch.long)
        for place, prompt in enumerate(prompts):
            own = len(prompt) - shared
            ids[place, width - own :] = torch.tensor(prompt[shared:])
            mask[place, width - own :] = 1
        position = shared + (mask.cumsum(1) - 1).clamp(min=0)
        mask = torch.cat([mask.new_ones(n, shared), mask], 1).to(self.device)
        out = self.model(
            ids.to(self.device),
            attention_mask=mask,
            position_ids=position.to(self.device),
            logits_to_keep=keep,
            **{self._slot: cache},
        )
        return out.logits, cache, mask

    def _extend(self, rows: list[Row], logits: Any, draws: list[Any], sampling: Sampling, also: list[int]) -> None:
        """Adds one token to each row that goes on."""
        import torch

        logs = torch.log_softmax(logits.float(), -1)
        tops = _named(logs, sampling.top, also)
        for place, row in enumerate(rows):
            if row.finished:
                row.answer.append(next(iter(self.ends), 0))  # a place holder until the row leaves the batch
                continue
            chosen = _draw(_held(logs[place], row), draws[place], sampling)
            named = tuple((self.word(t), v) for t, v in tops[place])
            row.tokens.append(Token(self.word(chosen), min(0.0, float(logs[place, chosen])), named))
            row.answer.append(chosen)
            row.finished = chosen in self.ends or self._stopped(row, sampling.stop)

    def _stopped(self, row: Row, stop: Sequence[str]) -> bool:
        return bool(stop) and any(text in self.tokens.text(row.answer[-64:]) for text in stop)

    def word(self, token: int) -> str:
        """A token as text."""
        if token not in self._words:
            self._words[token] = self.tokens.word(token)
        return self._words[token]


def _named(logs: Any, top: int, also: list[int]) -> list[list[tuple[int, float]]]:
    """The most probable tokens of each row, descending, then those wanted besides: (token, log-probability)."""
    import torch

    if not top and not also:
        return [[] for _ in range(len(logs))]
    values, tokens = torch.topk(logs, min(top, logs.shape[1]), dim=1)
    rows = [list(zip(t, v, strict=True)) for t, v in zip(tokens.tolist(), values.tolist(), strict=True)]
    for row, extra in zip(rows, logs[:, also].tolist(), strict=True):
        have = {token for token, _ in row}
        row += [(token, value) for token, value in zip(also, extra, strict=True) if token not in have]
    return [[(token, min(0.0, value)) for token, value in row] for row in rows]


def _held(logs: Any, row: Row) -> Any:
    """The log-probabilities without what a constraint excludes; enters in the row how probable the rest was."""
    import torch

    if row.allowed is None:
        return logs
    wanted = torch.tensor(row.allowed.after(row.answer), device=logs.device)
    row.masses.append(min(1.0, float(logs[wanted].exp().sum())))
    return torch.full_like(logs, -torch.inf).index_copy(0, wanted, logs[wanted])


def _draw(logs: Any, draw: Any, sampling: Sampling) -> int:
    """The next token."""
    import torch

    if sampling.temperature <= 0:
        return int(logs.argmax())
    share = torch.softmax(logs.double().cpu() / sampling.temperature, -1)
    ranked, order = share.sort(descending=True, stable=True)
    ranked[ranked.cumsum(0) - ranked >= sampling.top_p] = 0
    return int(order[torch.multinomial(ranked, 1, generator=draw)])
