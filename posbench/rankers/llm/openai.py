"""Any server that speaks OpenAI's protocol: hosted models, vLLM, llama.cpp, and others.

Chats go to ``/chat/completions``, plain texts and given targets to ``/completions``. What the protocol of OpenAI lacks
(constraints, an opening of the answer, log-probabilities of a given text) needs ``dialect = "vllm"``, whose fields are
those of vLLM's documented server: structured_outputs, continue_final_message, chat_template_kwargs, echo, and
logprob_token_ids. Prefix-cache hits are told by a server that runs with --enable-prompt-tokens-details.
"""

import os
from collections.abc import Callable, Mapping, Sequence
from functools import cached_property
from pathlib import Path
from typing import Any

import msgspec

from posbench.errors import BackendError, MissingPartError, UsageError
from posbench.rankers import weights
from posbench.rankers.llm.calls import Answer, Answers, Constraint, Finish, Request, Sampling, Token
from posbench.rankers.llm.gather import gather
from posbench.rankers.llm.gguf import unpacked
from posbench.rankers.llm.tokens import FILES, Tokens
from posbench.rankers.llm.transport import Malformed, Refused, Transport
from posbench.reranking import Backend

_TOO_LONG = ("context_length", "context length", "maximum context", "too long", "max_model_len", "exceeds the")
# vLLM gives an answer what room there is, and says this where there is none.
_NO_ROOM = "max_tokens must be at least 1"


class OpenAIBackend:
    """A recipe's server."""

    def __init__(self, recipe: Backend, cache: Path) -> None:
        self.recipe, self._cache = recipe, cache
        self._transport: Transport | None = None
        self._lack = "and the recipe names none: add [[backend.source]]"

    @property
    def context(self) -> int:
        """As the recipe says; 0 where it does not."""
        return self.recipe.context

    @cached_property
    def _files(self) -> weights.Weights | None:
        """The tokenizer's files, None where the recipe names none or they cannot be had."""
        try:
            return weights.find(self.recipe.source, self.recipe.model, FILES) if self.recipe.source else None
        except MissingPartError as error:
            self._lack = f"which is not to be had: {error}"
            return None

    @cached_property
    def tokens(self) -> Tokens | None:
        """The tokenizer of the recipe's source, None where it is not to be had."""
        if self._files is None:
            return None
        return Tokens(unpacked(self._files, self._cache), self.recipe.template_args)

    def describe(self) -> Mapping[str, Any]:
        """The server (or what the recipe says it is), the model's name, its tokenizer, and the template's arguments."""
        recipe = self.recipe
        return {
            "engine": "openai",
            "served_by": recipe.identity or recipe.url,
            "model": recipe.model,
            "dialect": recipe.dialect,
            "tokenizer": dict(self._files.identity)
            if self._files
            else "the server's: a token is taken as 4 characters",
            "template_args": recipe.template_args,
        }

    def faults(self) -> Mapping[str, int]:
        """Faults of transport by kind."""
        return dict(sorted(self._transport.faults.items())) if self._transport else {}

    def answers(self, requests: Sequence[Request], sampling: Sampling) -> Answers:
        """Answers as they come, ``concurrency`` at one time; see ``calls.Backend``."""
        for request in requests:
            self._check(request)
        transport = self._transport = self._transport or self._made()
        transport.start()
        yield from gather(
            lambda row: self._answer(transport, requests[row], sampling),
            len(requests),
            self.recipe.concurrency,
            transport.stop,
            transport.abandon,
        )

    def _made(self) -> Transport:
        recipe, key = self.recipe, ""
        if recipe.key_env:
            key = os.environ.get(recipe.key_env, "").strip()
            if not key:
                raise MissingPartError(f"{recipe.model} needs a key: set the environment variable {recipe.key_env}")
            if not (key.isascii() and key.isprintable()):  # http.client would show it in its complaint
                raise UsageError(f"the key in {recipe.key_env} has a line break or a character outside ASCII")
        return Transport(recipe.url, key, recipe.timeout, recipe.retries, recipe.backoff)

    def _check(self, request: Request) -> None:
        """Refuses what the server's protocol cannot say."""
        if self.recipe.dialect == "vllm":
            return
        wanted = {"a constraint": request.constraint, "a target": request.target}
        wanted |= {"an opening of the answer": request.opening if request.messages else ""}
        for name, value in wanted.items():
            if value:
                raise UsageError(
                    f'OpenAI\'s protocol has no place for {name}; if the server is vLLM say dialect = "vllm"'
                )

    def _answer(self, transport: Transport, request: Request, sampling: Sampling) -> Answer:
        answer = self._asked(transport, request, sampling)
        also = self._unnamed(answer, sampling)
        if also:
            # The server names either the most probable tokens or given ones, so these take a second request.
            one = msgspec.structs.replace(sampling, max_tokens=1, temperature=0.0, top=1)
            named = self._asked(transport, msgspec.structs.replace(request, constraint=None), one, also)
            _add(answer.tokens[0], named.tokens, sampling.also)
            counts = ("prompt_tokens", "answer_tokens", "reused_tokens")
            answer = msgspec.structs.replace(
                answer, **{name: getattr(answer, name) + getattr(named, name) for name in counts}
            )
        return answer

    def _unnamed(self, answer: Answer, sampling: Sampling) -> list[int]:
        """The wanted tokens, where one of them is not among the most probable at the answer's first place."""
        if self.recipe.dialect != "vllm" or self.tokens is None or not answer.tokens or sampling.after:
            return []
        named = {text for text, _ in answer.tokens[0].top} | {answer.tokens[0].text}
        ids = {text: self.tokens.target(text) for text in sampling.also}
        single = {text: found[0] for text, found in ids.items() if len(found) == 1}
        return [] if named.issuperset(single) else list(single.values())

    def _asked(self, transport: Transport, request: Request, sampling: Sampling, named: Sequence[int] = ()) -> Answer:
        chat = bool(request.messages) and not request.target
        path = "/chat/completions" if chat else "/completions"
        content = {"model": self.recipe.model, **self._sampled(sampling, request, chat)}
        if chat:
            content |= self._chat(request, sampling)
        else:
            content |= self._text(request, sampling)
        if request.constraint:
            content["structured_outputs"] = _structured(request.constraint)
        if named:
            content["logprob_token_ids"] = list(named)
        try:
            if chat:
                return transport.post(path, content, read_chat)
            return transport.post(path, content, read_target(self._target_at(request)) if request.target else read_text)
        except Refused as refused:
            if refused.status in (400, 413, 422) and any(
                word in str(refused).lower() for word in (*_TOO_LONG, _NO_ROOM)
            ):
                return Answer("", "too_long")
            what = "refuses the key" if refused.status in (401, 403) else "refuses the request"
            raise BackendError(f"{self.recipe.model}: the server {what}: HTTP {refused.status}: {refused}") from None

    def _sampled(self, sampling: Sampling, request: Request, chat: bool) -> dict[str, Any]:
        # OpenAI's newer models refuse max_tokens in chats; other servers know that name best.
        limit = "max_completion_tokens" if chat and self.recipe.dialect == "openai" else "max_tokens"
        content: dict[str, Any] = {"temperature": sampling.temperature, limit: sampling.max_tokens}
        if sampling.temperature > 0:
            content |= {"top_p": sampling.top_p, "seed": sampling.seed + request.sample}
        if sampling.stop:
            content["stop"] = list(sampling.stop)
        return content

    def _chat(self, request: Request, sampling: Sampling) -> dict[str, Any]:
        turns = [{"role": message.role, "content": message.content} for message in request.messages]
        content: dict[str, Any] = {"messages": turns}
        if sampling.top:
            content |= {"logprobs": True, "top_logprobs": sampling.top}
        if self.recipe.template_args:
            content["chat_template_kwargs"] = self.recipe.template_args
        if request.opening:
            turns.append({"role": "assistant", "content": request.opening})
            content |= {"continue_final_message": True, "add_generation_prompt": False}
        return content

    def _text(self, request: Request, sampling: Sampling) -> dict[str, Any]:
        if not request.target:
            return {"prompt": request.text + request.opening} | ({"logprobs": sampling.top} if sampling.top else {})
        tokens = self._own_tokens()
        prompt = tokens.ids([request])[0] + tokens.target(request.target)
        return {"prompt": prompt, "echo": True, "logprobs": 1, "max_tokens": 1}

    def _target_at(self, request: Request) -> tuple[int, int]:
        tokens = self._own_tokens()
        return len(tokens.ids([request])[0]), len(tokens.target(request.target))

    def _own_tokens(self) -> Tokens:
        if self.tokens is None:
            raise MissingPartError(f"{self.recipe.model}: a given text needs the model's tokenizer, {self._lack}")
        return self.tokens


def _add(token: Token, named: Sequence[Token], wanted: Sequence[str]) -> None:
    """Adds the wanted tokens that another answer names at its first place; an older server names others there."""
    have = {text for text, _ in token.top}
    found = named[0].top if named else ()
    token.top = (*token.top, *(one for one in found if one[0] in wanted and one[0] not in have))


def _structured(constraint: Constraint) -> dict[str, Any]:
    value: Any = list(constraint.value) if constraint.kind == "choice" else constraint.value[0]
    return {constraint.kind: value}


def read_chat(content: Any) -> Answer:
    """An answer of ``/chat/completions``.

    Raises:
        Malformed: it is none.
    """
    choice = content["choices"][0]
    message = choice["message"]
    finish = _finish(choice)
    text = message.get("content")
    thought = message.get("reasoning_content") or message.get("reasoning")
    if thought:  # a server may take the reasoning out of the answer
        text = f"<think>{thought}</think>{text or ''}"
    if not isinstance(text, str):
        if message.get("refusal") or finish == "filtered":
            return Answer("", "filtered", *_usage(content))
        raise Malformed("no text")
    listed = (choice.get("logprobs") or {}).get("content") or ()
    tokens = [
        Token(one["token"], _log(one["logprob"]), tuple((o["token"], _log(o["logprob"])) for o in one["top_logprobs"]))
        for one in listed
    ]
    return Answer(text, finish, *_usage(content), tuple(tokens))


def read_text(content: Any) -> Answer:
    """An answer of ``/completions``.

    Raises:
        Malformed: it is none.
    """
    choice = content["choices"][0]
    if not isinstance(choice["text"], str):
        raise Malformed("no text")
    return Answer(choice["text"], _finish(choice), *_usage(content), _text_tokens(choice.get("logprobs")))


def read_target(place: tuple[int, int]) -> Callable[[Any], Answer]:
    """A reader of echoed prompts: the log-probabilities of ``place[1]`` tokens from ``place[0]`` on."""

    def read(content: Any) -> Answer:
        found = _text_tokens(content["choices"][0]["logprobs"], place)
        if len(found) != place[1]:
            raise Malformed("an echo that is too short")
        return Answer("", "target", place[0], 0, _usage(content)[2], found)

    return read


def _text_tokens(listed: Any, place: tuple[int, int] | None = None) -> tuple[Token, ...]:
    if not listed:
        return ()
    part = slice(place[0], sum(place)) if place else slice(None)
    tops = listed.get("top_logprobs") or [{}] * len(listed["tokens"])
    rows = zip(listed["tokens"][part], listed["token_logprobs"][part], tops[part], strict=True)
    return tuple(
        Token(token, _log(value), tuple((t, _log(v)) for t, v in (top or {}).items())) for token, value, top in rows
    )


def _log(value: Any) -> float:
    """A log-probability; servers write -9999 or null for what is impossible."""
    number = float(value)
    if not number <= 1e-3:
        raise Malformed("a log-probability above 0")
    return min(0.0, number)


def _finish(choice: Any) -> Finish:
    said = choice.get("finish_reason")
    if said == "content_filter":
        return "filtered"
    if said not in ("stop", "length"):
        raise Malformed(f"finish_reason {said!r}")
    return "length" if said == "length" else "stop"


def _usage(content: Any) -> tuple[int, int, int]:
    """Tokens of the prompt and of the answer, and those of the prompt that a prefix cache held."""
    usage = content["usage"]
    details = usage.get("prompt_tokens_details") or {}
    return int(usage["prompt_tokens"]), int(usage.get("completion_tokens") or 0), int(details.get("cached_tokens") or 0)
