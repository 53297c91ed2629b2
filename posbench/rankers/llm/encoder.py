"""Models that read a prompt and say one word or one number: encoder-decoders such as T5, and cross-encoders.

They answer the same requests as language models do, so that cache and books are the same.
"""

from collections.abc import Iterator, Mapping, Sequence
from functools import cached_property
from typing import Any

from posbench.errors import UsageError
from posbench.rankers import weights
from posbench.rankers.llm.calls import Answer, Answers, Request, Sampling, Token
from posbench.rankers.llm.tokens import Tokens
from posbench.rankers.quiet import quiet
from posbench.reranking import Backend
from posbench.versions import installed

_BATCH_TOKENS = {"cpu": 4096, "cuda": 1 << 16}
_NUMBERS_FROM = ("torch", "transformers", "sentence-transformers", "tokenizers")


class _Local:
    """What both have in common: weights, batches of similar length, no faults of transport."""

    def __init__(self, recipe: Backend, device: str) -> None:
        self.recipe, self.device = recipe, device
        self.weights = weights.find(recipe.source, recipe.model or recipe.engine)

    def describe(self) -> Mapping[str, Any]:
        """Weights, length, precision, and the versions of the packages that compute."""
        return {
            "engine": self.recipe.engine,
            "weights": dict(self.weights.identity),
            "context": self.recipe.context,
            "precision": "float32" if self.device == "cpu" else "bfloat16",
            "engine_args": self.recipe.engine_args,
            "versions": installed(_NUMBERS_FROM),
        }

    def faults(self) -> Mapping[str, int]:
        """None: nothing is sent anywhere."""
        return {}

    @property
    def context(self) -> int:
        """As the recipe says, 0 where it does not."""
        return self.recipe.context

    @cached_property
    def tokens(self) -> Tokens:
        """The model's tokenizer."""
        return Tokens(self.weights.path)

    def _batches(self, lengths: Sequence[int]) -> Iterator[list[int]]:
        """Rows of similar length, padded to no more than the budget."""
        budget = self.recipe.batch_tokens or _BATCH_TOKENS["cpu" if self.device == "cpu" else "cuda"]
        rows: list[int] = []
        for row in sorted(range(len(lengths)), key=lambda row: lengths[row]):
            if rows and (len(rows) + 1) * lengths[row] > budget:
                yield rows
                rows = []
            rows.append(row)
        if rows:
            yield rows

    def _arguments(self) -> dict[str, Any]:
        quiet()
        import torch

        return {"dtype": torch.float32 if self.device == "cpu" else torch.bfloat16, **self.recipe.engine_args}


class Seq2SeqBackend(_Local):
    """An encoder-decoder: the first token of its answer to a plain text, and the alternatives to it."""

    def answers(self, requests: Sequence[Request], sampling: Sampling) -> Answers:
        """One token each; see ``calls.Backend``."""
        import torch

        for request in requests:
            if request.messages or request.opening or request.target or request.constraint or sampling.max_tokens > 1:
                raise UsageError("engine seq2seq answers a plain [text] with one token: method binary")
        ids = self.tokens.ids(requests)
        also = [found[0] for text in sampling.also if len(found := self.tokens.target(text)) == 1]
        room = self.context or max(map(len, ids), default=0)
        yield [(row, Answer("", "too_long", len(one))) for row, one in enumerate(ids) if len(one) > room]
        fits = [row for row, one in enumerate(ids) if len(one) <= room]
        with torch.inference_mode():
            for batch in self._batches([len(ids[row]) for row in fits]):
                rows = [fits[place] for place in batch]
                logs = self._first([ids[row] for row in rows])
                yield [
                    (row, self._answer(one, len(ids[row]), sampling.top, also))
                    for row, one in zip(rows, logs, strict=True)
                ]

    def _first(self, prompts: Sequence[list[int]]) -> Any:
        """Log-probabilities of the first token of each answer: [n, vocabulary]."""
        import torch

        model = self._model
        width = max(map(len, prompts))
        ids = torch.full((len(prompts), width), model.config.pad_token_id or 0)
        mask = torch.zeros_like(ids)
        for place, prompt in enumerate(prompts):
            ids[place, : len(prompt)], mask[place, : len(prompt)] = torch.tensor(prompt), 1
        start = torch.full((len(prompts), 1), model.config.decoder_start_token_id, device=self.device)
        out = model(ids.to(self.device), attention_mask=mask.to(self.device), decoder_input_ids=start)
        return torch.log_softmax(out.logits[:, -1].float(), -1).cpu()

    def _answer(self, logs: Any, length: int, top: int, also: Sequence[int]) -> Answer:
        values, best = logs.topk(min(max(1, top), len(logs)))
        chosen = dict(zip(best.tolist(), values.tolist(), strict=True)) | {token: float(logs[token]) for token in also}
        words = tuple((self.tokens.word(token), min(0.0, value)) for token, value in chosen.items())
        return Answer(words[0][0], "length", length, 1, 0, (Token(*words[0], words),))

    @cached_property
    def _model(self) -> Any:
        from transformers import AutoModelForSeq2SeqLM

        auto: Any = AutoModelForSeq2SeqLM
        return auto.from_pretrained(str(self.weights.path), **self._arguments()).to(self.device).eval()


class CrossEncoderBackend(_Local):
    """A sentence-transformers CrossEncoder: the text of an answer is the number, before any activation.

    A request holds two messages, the query's and the document's. What is longer than the context is cut by the model's
    own tokenizer, the longer of the two first.
    """

    def answers(self, requests: Sequence[Request], sampling: Sampling) -> Answers:
        """One number each; see ``calls.Backend``."""
        import torch

        pairs = [(request.messages[0].content, request.messages[1].content) for request in requests]
        model = self._model
        lengths = [len(ids) for ids in model.tokenizer(pairs, truncation=False, verbose=False)["input_ids"]]
        room = self.context or int(min(model.tokenizer.model_max_length, max(lengths, default=0)))
        for rows in self._batches([min(length, room) for length in lengths]):
            values = model.predict(
                [pairs[row] for row in rows],
                batch_size=len(rows),
                show_progress_bar=False,
                activation_fn=torch.nn.Identity(),
            )
            yield [
                (row, Answer(repr(float(value)), "length" if lengths[row] > room else "stop", min(lengths[row], room)))
                for row, value in zip(rows, values.reshape(len(rows)).tolist(), strict=True)
            ]

    @cached_property
    def _model(self) -> Any:
        arguments = self._arguments()
        from sentence_transformers import CrossEncoder

        return CrossEncoder(
            str(self.weights.path), device=self.device, max_length=self.context or None, model_kwargs=arguments
        )
