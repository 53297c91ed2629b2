"""A causal language model in this process, by transformers."""

from collections.abc import Mapping, Sequence
from functools import cached_property
from pathlib import Path
from typing import Any

from posbench.rankers.llm.batches import Batch, plan
from posbench.rankers.llm.calls import Answer, Answers, Finish, Request, Sampling
from posbench.rankers.llm.constrain import Holder
from posbench.rankers.llm.decode import Decoder, Row
from posbench.rankers.llm.local import LocalModel
from posbench.rankers.quiet import quiet
from posbench.reranking import Backend

_BATCH_TOKENS = {"cpu": 2048, "cuda": 1 << 16}


class TransformersBackend(LocalModel):
    """A recipe's model on one device, in float32 on a CPU and in bfloat16 on a GPU."""

    ENGINE = "transformers"
    NUMBERS_FROM = ("torch", "transformers", "tokenizers")

    def __init__(self, recipe: Backend, cache: Path, device: str) -> None:
        super().__init__(recipe, cache)
        self.device = device

    def describe(self) -> Mapping[str, Any]:
        """As ``LocalModel`` has it, with the precision."""
        return {**super().describe(), "precision": "float32" if self.device == "cpu" else "bfloat16"}

    def answers(self, requests: Sequence[Request], sampling: Sampling) -> Answers:
        """Answers batch by batch; see ``calls.Backend``."""
        rows = self._rows(requests, sampling)
        room = self.context
        long = [n for n, row in enumerate(rows) if room and _length(row, sampling) > room]
        if long:
            yield [(n, Answer("", "too_long", len(rows[n].prompt))) for n in long]
        gone = set(long)
        budget = self.recipe.batch_tokens or _BATCH_TOKENS["cpu" if self.device == "cpu" else "cuda"]
        for scored in (True, False):
            mine = [n for n, row in enumerate(rows) if bool(row.target) == scored and n not in gone]
            for batch in plan([[*rows[n].prompt, *rows[n].target] for n in mine], budget):
                numbers = [mine[place] for place in batch.rows]
                self._run([rows[n] for n in numbers], batch, sampling, scored)
                yield [(n, self._answer(rows[n], batch, sampling, place)) for place, n in enumerate(numbers)]

    def _rows(self, requests: Sequence[Request], sampling: Sampling) -> list[Row]:
        tokens = self.tokens
        holder = Holder(tokens, min(self._decoder.ends) if any(request.constraint for request in requests) else 0)
        return [
            Row(
                prompt=prompt,
                target=tokens.target(request.target) if request.target else (),
                allowed=holder.allowed(request.constraint),
                seed=sampling.seed + request.sample,
            )
            for request, prompt in zip(requests, tokens.ids(requests), strict=True)
        ]

    def _run(self, rows: list[Row], batch: Batch, sampling: Sampling, scored: bool) -> None:
        if scored:
            # A target's own tokens must all be read, so the shared beginning ends before the shortest prompt does.
            self._decoder.score(rows, min(batch.shared, min(len(row.prompt) for row in rows) - 1))
        else:
            self._decoder.generate(rows, batch.shared, sampling)

    def _answer(self, row: Row, batch: Batch, sampling: Sampling, place: int) -> Answer:
        reused = batch.shared if place else 0
        if row.target:
            return Answer("", "target", len(row.prompt), 0, reused, tuple(row.tokens))
        own = row.answer[: len(row.tokens)]
        text = self.tokens.text([token for token in own if token not in self._decoder.ends])
        for stop in sampling.stop:
            text = text.split(stop)[0]
        finish: Finish = "stop" if row.finished else "length"
        kept = tuple(row.tokens) if sampling.top or sampling.also else ()
        mass = sum(row.masses) / len(row.masses) if row.masses else None
        return Answer(text, finish, len(row.prompt), len(own), reused, kept, mass)

    @cached_property
    def _decoder(self) -> Decoder:
        quiet()
        import torch
        from transformers import AutoModelForCausalLM

        auto: Any = AutoModelForCausalLM
        dtype = torch.float32 if self.device == "cpu" else torch.bfloat16
        arguments = {"dtype": dtype, **self.recipe.engine_args}
        model = auto.from_pretrained(str(self.folder), **arguments).to(self.device).eval()
        own = model.generation_config.eos_token_id
        ends = own if isinstance(own, list) else [own]
        ends = [end for end in [*ends, self.tokens.own.eos_token_id] if end is not None]
        return Decoder(model, self.tokens, ends, self.device)


def _length(row: Row, sampling: Sampling) -> int:
    return len(row.prompt) + (len(row.target) if row.target else sampling.max_tokens)
