"""What goes to a language model and what comes back. Every backend speaks these types.

They are small and packed (``msgspec``), since a run makes hundreds of thousands of them and keeps them in the cache.
"""

from collections.abc import Generator, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Literal, Protocol, TypeAlias

import msgspec

if TYPE_CHECKING:
    from posbench.rankers.llm.tokens import Tokens


class Message(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """One turn of a chat: ``role`` is system, user or assistant."""

    role: str
    content: str


class Constraint(msgspec.Struct, frozen=True, array_like=True):
    """What an answer must be: one of some texts, a ranking, a match of a regular expression, a word of a grammar, JSON.

    ``value`` is the texts; how many identifiers there are, 1 to n, and how many of them are ranked; the expression; the
    grammar as the engine reads it; or the JSON schema as text. Rankings are for engine transformers alone: for others
    ``listwise.grammars`` says them as grammars.
    """

    kind: Literal["choice", "ranking", "regex", "grammar", "json"]
    value: tuple[str, ...]


class Request(msgspec.Struct, frozen=True, array_like=True):
    """One prompt.

    Attributes:
        messages: a chat; or
        text: a text as it is, without a chat template.
        opening: how the answer begins; the model goes on from there, and the opening is not part of the answer.
        target: a text given as the answer: nothing is generated, its tokens' log-probabilities are the answer.
        constraint: what the answer must be.
        sample: which of several answers to the same prompt; shifts the seed.
    """

    messages: tuple[Message, ...] = ()
    text: str = ""
    opening: str = ""
    target: str = ""
    constraint: Constraint | None = None
    sample: int = 0


class Sampling(msgspec.Struct, frozen=True, array_like=True):
    """How answers are drawn: greedily unless there is a temperature.

    ``top`` is how many of the most probable tokens each place of the answer names, ``also`` tokens (as text) that it
    names wherever the backend can, ``after`` a text: only tokens behind its last occurrence are kept (see ``pruned``),
    which makes a long reasoning answer small.
    """

    max_tokens: int = 16
    temperature: float = 0.0
    top_p: float = 1.0
    seed: int = 0
    stop: tuple[str, ...] = ()
    top: int = 0
    also: tuple[str, ...] = ()
    after: str = ""


class Token(msgspec.Struct, array_like=True, gc=False):
    """One token of an answer, its natural log-probability, and (text, log-probability) of others at its place."""

    text: str
    logprob: float
    top: tuple[tuple[str, float], ...] = ()


Finish = Literal["stop", "length", "target", "filtered", "too_long"]


class Answer(msgspec.Struct, array_like=True):
    """What a model said.

    Attributes:
        text: the answer, without the opening.
        finish: "stop" (by itself or at a stop text), "length" (cut at ``max_tokens``), "target" (nothing generated),
            or why there is none: "filtered" by the server, "too_long" a prompt.
        prompt_tokens: of the prompt as the model read it, chat template and opening included; where a server
            or vLLM was asked twice for one answer, to name wanted tokens, these counts are of both requests.
        answer_tokens: generated.
        reused_tokens: of the prompt, found in a prefix cache; 0 too where the backend does not say.
        tokens: of the answer or the target, where log-probabilities were asked for or come anyway.
        mass: the probability that the tokens a constraint allows had together, its mean over the answer's places; None
            without a constraint, and where the engine does not say.
    """

    text: str
    finish: Finish
    prompt_tokens: int = 0
    answer_tokens: int = 0
    reused_tokens: int = 0
    tokens: tuple[Token, ...] = ()
    mass: float | None = None

    @property
    def missing(self) -> bool:
        """Whether the model gave no answer at all."""
        return self.finish in ("filtered", "too_long")


Answers: TypeAlias = Generator[list[tuple[int, Answer]], None, None]
"""Answers as they come; whoever stops reading closes it, and the calls under way are given up."""


class Backend(Protocol):
    """What answers requests.

    ``context`` is the tokens that prompt and answer may have together (0: unknown) and ``tokens`` the model's own
    tokenizer (None: not here); both may load the model's files.
    """

    @property
    def context(self) -> int:
        """Tokens of prompt and answer together, 0 where unknown."""
        ...

    @property
    def tokens(self) -> "Tokens | None":
        """The model's own tokenizer and chat template, None where they are not here."""
        ...

    def describe(self) -> Mapping[str, Any]:
        """All that the answers depend on, as JSON, without loading the model. No key, no price."""
        ...

    def answers(self, requests: Sequence[Request], sampling: Sampling) -> Answers:
        """Answers as they come, as (index of the request, answer), in lists of those that came together.

        A fault of transport is never an answer: it is tried again and then raised, after what came was given out.

        Raises:
            BackendError: the model does not answer.
            UsageError: the backend cannot do what a request asks for.
        """
        ...

    def faults(self) -> Mapping[str, int]:
        """Faults of transport so far, by kind; all were tried again."""
        ...


_LAST = 16  # tokens that are kept where the marker does not occur


def pruned(answer: Answer, after: str) -> Answer:
    """An answer with only the tokens behind the last occurrence of ``after``, or its last 16 where there is none.

    A token that holds the end of the marker and more is kept: what follows the marker is in it.
    """
    if not after or not answer.tokens:
        return answer
    found = "".join([token.text for token in answer.tokens]).rfind(after)
    if found < 0:
        return msgspec.structs.replace(answer, tokens=answer.tokens[-_LAST:])
    at = first = 0
    for first, token in enumerate(answer.tokens):
        at += len(token.text)
        if at > found + len(after):
            return msgspec.structs.replace(answer, tokens=answer.tokens[first:])
    return msgspec.structs.replace(answer, tokens=())
